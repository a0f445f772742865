//go:build linux

package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/lab/internal/baseimage"
	"github.com/xeroops/xeroops/lab/internal/imagecache"
)

// cacheImage adds a new image to the cache if it has a content digest and consists of
// the base image and one layer.
func (r *Reconciler) cacheImage(ctx context.Context, made types.Image, from string) error {
	id, content := aws.ToString(made.ImageId), tag(made.Tags, cluster.TagContent)
	if content == "" || len(r.volumesOf(id)) > 0 {
		return nil
	}
	if below, err := r.layers(from); err != nil || !slices.Equal(below, r.BaseLayers) {
		return err
	}
	layers, err := r.Images.Layers(id)
	if err != nil {
		return err
	}
	below, err := baseimage.Identity(r.BaseLayers)
	if err != nil {
		return err
	}
	i := imagecache.Image{Content: content, Below: below, Role: tag(made.Tags, cluster.TagRole), Name: aws.ToString(made.Name),
		Description: aws.ToString(made.Description), Tags: tagMap(made.Tags)}
	if snapshot := rootSnapshot(made); snapshot != "" {
		out, err := r.EC2.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{SnapshotIds: []string{snapshot}})
		if err != nil {
			return fmt.Errorf("read the snapshot of %s: %w", id, err)
		}
		for _, s := range out.Snapshots {
			i.SnapshotTags = tagMap(s.Tags)
		}
	}
	return r.Cache.Put(ctx, i, layers[0])
}

// ImportImage registers a cached image with its original name and tags, unless the
// account has it already, and returns its id. The error is imagecache.ErrMissing if
// the cache lacks the image.
func (r *Reconciler) ImportImage(ctx context.Context, content string) (id string, err error) {
	r.importing.Lock()
	defer r.importing.Unlock()
	same, err := r.EC2.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"self"},
		Filters: []types.Filter{{Name: aws.String("tag:" + cluster.TagContent), Values: []string{content}}}})
	if err != nil {
		return "", fmt.Errorf("find image %s: %w", content, err)
	}
	if len(same.Images) > 0 {
		return aws.ToString(same.Images[0].ImageId), nil
	}
	below, err := baseimage.Identity(r.BaseLayers)
	if err != nil {
		return "", err
	}
	err = r.Cache.Get(content, below, func(i imagecache.Image, layer string) (err error) {
		id, err = r.addImage(ctx, i, layer)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("import image: %w", err)
	}
	return id, nil
}

// addImage registers an image as a copy of Debian's. CopyImage is moto's only call
// that makes an image without an instance and keeps the architecture.
func (r *Reconciler) addImage(ctx context.Context, i imagecache.Image, layer string) (string, error) {
	made, err := r.EC2.CopyImage(ctx, &ec2.CopyImageInput{Name: &i.Name, Description: &i.Description,
		SourceImageId: aws.String(moto.BaseImageID), SourceRegion: aws.String(r.EC2.Options().Region)})
	if err != nil {
		return "", fmt.Errorf("register %s: %w", i.Name, err)
	}
	id := aws.ToString(made.ImageId)
	if err := r.fill(ctx, id, i, layer); err != nil {
		r.drop(id)
		_, undone := r.EC2.DeregisterImage(ctx, &ec2.DeregisterImageInput{ImageId: &id})
		return "", errors.Join(fmt.Errorf("register %s: %w", i.Name, err), undone)
	}
	return id, nil
}

// fill gives a registered image its content, and then the tags that it is found by.
func (r *Reconciler) fill(ctx context.Context, id string, i imagecache.Image, layer string) error {
	out, err := r.EC2.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{id}})
	if err != nil {
		return err
	}
	err = r.Images.Add(id, r.BaseLayers, func(to string) error { return imagecache.Copy(ctx, to, layer) })
	if err != nil {
		return err
	}
	for _, made := range out.Images {
		r.recordImage(made, nil)
		if snapshot := rootSnapshot(made); snapshot != "" {
			if err := r.setTags(ctx, snapshot, i.SnapshotTags); err != nil {
				return err
			}
		}
	}
	return r.setTags(ctx, id, i.Tags)
}

func (r *Reconciler) setTags(ctx context.Context, id string, tags map[string]string) error {
	if len(tags) == 0 {
		return nil
	}
	in := &ec2.CreateTagsInput{Resources: []string{id}}
	for key, value := range tags {
		in.Tags = append(in.Tags, types.Tag{Key: aws.String(key), Value: aws.String(value)})
	}
	_, err := r.EC2.CreateTags(ctx, in)
	return err
}

// tagMap returns tags as a map.
func tagMap(tags []types.Tag) map[string]string {
	all := map[string]string{}
	for _, t := range tags {
		all[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return all
}

// rootSnapshot returns the snapshot id of an image's root volume, or an empty string.
func rootSnapshot(i types.Image) string {
	for _, d := range i.BlockDeviceMappings {
		if d.Ebs != nil && isRootDevice(aws.ToString(d.DeviceName)) {
			return aws.ToString(d.Ebs.SnapshotId)
		}
	}
	return ""
}
