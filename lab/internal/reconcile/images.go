//go:build linux

package reconcile

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/xeroops/xeroops/lab/internal/machine"
)

// image locates the content of an image, or of a root volume's snapshot: the base
// layers, the image store under its own id, or another image's content.
type image struct {
	base    bool
	content string // id of the image that it is a copy of
	dropped bool   // the account no longer has it
	volumes []imageVolume
}

// layers returns the layers that an instance of an image boots from.
func (r *Reconciler) layers(id string) ([]string, error) {
	r.mu.Lock()
	i, known := r.images[id]
	r.mu.Unlock()
	switch {
	case !known:
		return nil, fmt.Errorf("image %s has no content in the lab: create it with CreateImage, or register it from the snapshot of a root volume", id)
	case i.base:
		return r.BaseLayers, nil
	case i.content != "":
		return r.layers(i.content)
	}
	return r.Images.Layers(id)
}

// copied records that an image or snapshot is a copy of source. Without content in
// the lab, source is ignored.
func (r *Reconciler) copied(id, source string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if from, known := r.images[source]; known && from.base {
		r.images[id] = image{base: true}
	} else if known {
		r.images[id] = image{content: source, volumes: from.volumes}
	}
}

// recordImage records an image whose content is in the image store, and that its root
// volume's snapshot has the same content.
func (r *Reconciler) recordImage(made types.Image, volumes []imageVolume) {
	id := aws.ToString(made.ImageId)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.images[id] = image{volumes: volumes}
	if snapshot := rootSnapshot(made); snapshot != "" {
		r.images[snapshot] = image{content: id}
	}
}

// captureImage creates an image from an instance's root disk, and snapshots of its
// data volumes. With reboot, a running machine is shut down meanwhile, as on EC2.
func (r *Reconciler) captureImage(ctx context.Context, instanceID, imageID string, reboot bool) error {
	volumes, err := r.snapshotsFor(ctx, instanceID, imageID)
	if err != nil {
		return err
	}
	err = r.capture(ctx, instanceID, imageID, reboot, func(ctx context.Context) error {
		for _, v := range volumes {
			if err := r.Volumes.Snapshot(ctx, v.volume, v.snapshot); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	out, err := r.EC2.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{imageID}})
	if err != nil {
		return fmt.Errorf("read image %s: %w", imageID, err)
	}
	for _, i := range out.Images {
		r.recordImage(i, volumes)
		if err := r.cacheImage(ctx, i, r.imageOf(instanceID)); err != nil { // the image itself is complete
			r.Log.Warn("caching the image failed", "image_id", imageID, "error", err)
		}
	}
	return nil
}

// imageOf returns the id of the image that an instance was launched from.
func (r *Reconciler) imageOf(instanceID string) string {
	i, err := r.find(instanceID)
	if err != nil {
		return ""
	}
	return aws.ToString(i.latest().ImageId)
}

// capture stores a copy of an instance's root disk under the id of an image or
// snapshot. It calls also while the machine is still off or frozen.
func (r *Reconciler) capture(ctx context.Context, instanceID, id string, reboot bool, also func(context.Context) error) error {
	i, err := r.find(instanceID)
	if err != nil {
		return err
	}
	err = i.do(ctx, func(ctx context.Context) error {
		if reboot {
			if err := i.powerOff(ctx); err != nil { // converge starts the machine again
				return err
			}
		}
		layers, err := r.layers(aws.ToString(i.latest().ImageId))
		if err != nil {
			return err
		}
		return i.whileFrozen(func() error {
			if err := r.Images.Add(id, layers, func(layer string) error { return r.Kind.Capture(ctx, i.id, layer) }); err != nil {
				return err
			}
			return also(ctx)
		})
	})
	if err != nil {
		return fmt.Errorf("capture %s as %s: %w", instanceID, id, err)
	}
	return nil
}

// drop records that the account no longer has an image or snapshot.
func (r *Reconciler) drop(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i, known := r.images[id]; known {
		i.dropped = true
		r.images[id] = i
	}
}

// dropImages removes the content of dropped images that no instance or copy uses.
func (r *Reconciler) dropImages(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	used := map[string]bool{}
	for _, i := range r.instances {
		i.mu.Lock()
		used[aws.ToString(i.wanted.ImageId)] = true
		i.mu.Unlock()
	}
	for id, i := range r.images {
		if i.content != "" && (!i.dropped || used[id]) {
			used[i.content] = true
		}
	}
	var errs []error
	for id, i := range r.images {
		if !i.dropped || used[id] {
			continue
		}
		if !i.base && i.content == "" {
			if err := r.Images.Remove(id); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		delete(r.images, id)
	}
	return errors.Join(errs...)
}

// reboot reboots an instance's machine if it is on.
func (r *Reconciler) reboot(ctx context.Context, id string) error {
	i, err := r.find(id)
	if err != nil {
		return err
	}
	return i.do(ctx, func(context.Context) error {
		m := i.on()
		if m == nil {
			return nil
		}
		if err := m.Reboot(); err != nil && !errors.Is(err, machine.ErrNotRunning) {
			return fmt.Errorf("reboot %s: %w", id, err)
		}
		return nil
	})
}
