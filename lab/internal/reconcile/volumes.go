//go:build linux

package reconcile

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/xeroops/xeroops/lab/internal/machine"
)

const gibibyte = 1 << 30

// isRoot reports whether an attachment is that of an instance's root volume, which in
// the lab is the machine's overlay file system and not a block device.
func (a *account) isRoot(attachment types.VolumeAttachment) bool {
	device := aws.ToString(attachment.Device)
	for _, i := range a.instances {
		if *i.InstanceId == aws.ToString(attachment.InstanceId) && device == aws.ToString(i.RootDeviceName) {
			return true
		}
	}
	return isRootDevice(device)
}

// isRootDevice reports whether device is the root device of Debian's or moto's images.
func isRootDevice(device string) bool { return device == "/dev/xvda" || device == "/dev/sda1" }

// dataVolumes returns the device names of an instance's volumes, without the root
// volume, by volume id.
func (a *account) dataVolumes(instanceID string) map[string]string {
	all := map[string]string{}
	for _, v := range a.volumes {
		for _, at := range v.Attachments {
			if aws.ToString(at.InstanceId) == instanceID && at.State != types.VolumeAttachmentStateDetached && !a.isRoot(at) {
				all[*v.VolumeId] = aws.ToString(at.Device)
			}
		}
	}
	return all
}

// makeVolumes creates the files of new volumes and grows those of enlarged ones.
func (r *Reconciler) makeVolumes(ctx context.Context, a *account) error {
	var errs []error
	for _, v := range a.volumes {
		if len(v.Attachments) > 0 && a.isRoot(v.Attachments[0]) {
			continue
		}
		id, size := *v.VolumeId, int64(aws.ToInt32(v.Size))*gibibyte
		r.mu.Lock()
		have, known := r.volumes[id]
		r.mu.Unlock()
		var err error
		switch {
		case !known && aws.ToString(v.SnapshotId) != "":
			err = r.Volumes.CreateFrom(ctx, id, *v.SnapshotId, size)
		case !known:
			err = r.Volumes.Create(id, size)
		case size > have:
			err = r.Volumes.Grow(id, size)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		r.mu.Lock()
		r.volumes[id] = size
		r.mu.Unlock()
	}
	return errors.Join(errs...)
}

// dropVolumes removes the files of volumes that the account no longer has and that no
// machine uses.
func (r *Reconciler) dropVolumes(a *account) error {
	wanted := map[string]bool{}
	for _, v := range a.volumes {
		wanted[*v.VolumeId] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for id := range r.volumes {
		if wanted[id] || r.userOf(id) != "" {
			continue
		}
		if err := r.Volumes.Delete(id); err != nil {
			errs = append(errs, err)
			continue
		}
		delete(r.volumes, id)
		delete(r.forced, id)
	}
	return errors.Join(errs...)
}

// userOf returns the id of the instance whose machine has a volume, or an empty
// string. The caller holds r.mu.
func (r *Reconciler) userOf(volumeID string) string {
	for id, i := range r.instances {
		i.mu.Lock()
		has := i.attached[volumeID]
		i.mu.Unlock()
		if has {
			return id
		}
	}
	return ""
}

// loop attaches a loop device to a volume for this instance.
func (i *instance) loop(volumeID string) (machine.Volume, error) {
	device, err := i.r.Volumes.Attach(volumeID)
	if err != nil {
		return machine.Volume{}, err
	}
	i.mu.Lock()
	i.attached[volumeID] = true
	i.mu.Unlock()
	return machine.Volume{ID: volumeID, Device: device}, nil
}

// changeVolumes attaches and detaches volumes of the running machine.
func (i *instance) changeVolumes(m machine.Machine) error {
	i.mu.Lock()
	wanted := i.volumes
	var attach, detach []string
	for id := range wanted {
		if !i.attached[id] {
			attach = append(attach, id)
		}
	}
	for id := range i.attached {
		if _, ok := wanted[id]; !ok {
			detach = append(detach, id)
		}
	}
	i.mu.Unlock()
	var errs []error
	for _, id := range detach {
		errs = append(errs, i.detach(m, id))
	}
	for _, id := range attach {
		v, err := i.loop(id)
		if err == nil {
			err = m.Attach(v)
		}
		if err != nil && !errors.Is(err, machine.ErrNotRunning) {
			errs = append(errs, err, i.release(id))
		}
	}
	return errors.Join(errs...)
}

func (i *instance) detach(m machine.Machine, id string) error {
	i.r.mu.Lock()
	force := i.r.forced[id]
	i.r.mu.Unlock()
	if err := m.Detach(id, force); err != nil && !errors.Is(err, machine.ErrNotRunning) {
		return fmt.Errorf("detach %s from %s: %w", id, i.id, err)
	}
	err := i.release(id)
	i.r.Trigger() // another instance may be waiting for it
	return err
}

// release detaches a volume's loop device.
func (i *instance) release(id string) error {
	if err := i.r.Volumes.Detach(id); err != nil {
		return err
	}
	i.mu.Lock()
	delete(i.attached, id)
	i.mu.Unlock()
	return nil
}

func (i *instance) releaseVolumes() error {
	i.mu.Lock()
	var ids []string
	for id := range i.attached {
		ids = append(ids, id)
	}
	i.mu.Unlock()
	var errs []error
	for _, id := range ids {
		errs = append(errs, i.release(id))
	}
	return errors.Join(errs...)
}

// snapshot copies a volume while the machine that has it is frozen. The snapshot of a
// root volume is stored as an image under the snapshot's id.
func (r *Reconciler) snapshot(ctx context.Context, volumeID, snapshotID string) error {
	if owner := r.rootOwner(volumeID); owner != "" {
		err := r.capture(ctx, owner, snapshotID, false, func(context.Context) error { return nil })
		if err == nil {
			r.mu.Lock()
			r.images[snapshotID] = image{}
			r.mu.Unlock()
		}
		return err
	}
	r.mu.Lock()
	user := r.instances[r.userOf(volumeID)]
	r.mu.Unlock()
	if user == nil {
		return r.Volumes.Snapshot(ctx, volumeID, snapshotID)
	}
	return user.do(ctx, func(ctx context.Context) error {
		return user.whileFrozen(func() error { return r.Volumes.Snapshot(ctx, volumeID, snapshotID) })
	})
}

// whileFrozen calls f with the machine, if it is on, frozen.
func (i *instance) whileFrozen(f func() error) error {
	m := i.on()
	if m == nil {
		return f()
	}
	if err := m.Freeze(); err != nil {
		if errors.Is(err, machine.ErrNotRunning) {
			return f()
		}
		return err
	}
	err := f()
	return errors.Join(err, m.Thaw())
}

// rootOwner returns the id of the instance whose root volume this is, or an empty
// string.
func (r *Reconciler) rootOwner(volumeID string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range r.account.volumes {
		if *v.VolumeId == volumeID && len(v.Attachments) > 0 && r.account.isRoot(v.Attachments[0]) {
			return aws.ToString(v.Attachments[0].InstanceId)
		}
	}
	return ""
}
