package ebs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/packer-plugin-sdk/multistep"

	"github.com/xeroops/xeroops/internal/awsclient"
	"github.com/xeroops/xeroops/internal/awswait"
)

// image is the build's image in one region.
type image struct {
	ec2       *awsclient.EC2
	region    string
	id        string // "" until EC2 has returned it
	name      string
	snapshots []string

	former     *types.Image // has ami_name, and is to be replaced
	replaced   bool         // former is deregistered, so this image stays
	superseded *image       // this image under its temporary name, to be deregistered

	attempts int  // calls that may have created it
	unknown  bool // the outcome of an attempt is unknown
	failed   bool // EC2 could not create it
}

// regions returns the build's own region and then those to copy to.
func (b *build) regions() []string {
	return slices.Compact(append([]string{b.aws.Region}, slices.DeleteFunc(slices.Sorted(slices.Values(b.config.AMIRegions)),
		func(r string) bool { return r == b.aws.Region })...))
}

func (c *Config) description() *string {
	if c.AMIDescription == "" {
		return nil
	}
	return aws.String(c.AMIDescription)
}

// imageTags returns the tags of the image and of its snapshots. Those of the
// configuration override those of the image's record.
func (b *build) imageTags(state multistep.StateBag) []types.TagSpecification {
	own, record := map[string]string{"Name": b.config.AMIName}, keyRecord.get(state).tags()
	return append(b.tags(types.ResourceTypeImage, own, record, b.config.Tags),
		b.tags(types.ResourceTypeSnapshot, own, record, b.config.Tags, b.config.SnapshotTags)...)
}

// ensureImage creates an image, unless an earlier attempt of the step has, and
// waits until it is available. An image that failed is removed first.
func ensureImage(ctx context.Context, b *build, i *image, create func(context.Context) error) error {
	if i.failed {
		if err := removeImage(ctx, b, i); err != nil {
			return err
		}
		i.id, i.failed = "", false
	}
	if i.id == "" {
		i.attempts++
		if err := create(ctx); err != nil {
			i.unknown = i.unknown || awswait.OutcomeUnknown(err)
			return err
		}
		b.say("Image: %s in %s", i.id, i.region)
	}
	return awaitImage(ctx, b, i)
}

// awaitImage waits until an image is available, and records its snapshots.
func awaitImage(ctx context.Context, b *build, i *image) error {
	return b.await(ctx, fmt.Sprintf("image %s in %s to be available", i.id, i.region), func(ctx context.Context) (bool, string, error) {
		out, err := i.ec2.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{i.id}})
		if awswait.IsNotFound(err) || err == nil && len(out.Images) == 0 {
			i.failed = true // unless it is listed later
			return false, "not listed", nil
		}
		if err != nil {
			return false, "", err
		}
		found := out.Images[0]
		i.failed = false
		switch found.State {
		case types.ImageStateAvailable:
			i.snapshots = snapshotsOf(found)
			return true, "", nil
		case types.ImageStateFailed, types.ImageStateError, types.ImageStateInvalid, types.ImageStateDeregistered:
			i.failed = true
			reason := ""
			if found.StateReason != nil {
				reason = aws.ToString(found.StateReason.Message)
			}
			return false, "", fmt.Errorf("image %s is %s: %s", i.id, found.State, reason)
		}
		return false, string(found.State), nil
	})
}

// findImages returns the ids of the build's images in a region.
func findImages(ctx context.Context, b *build, i *image, unknown bool) (ids []string, err error) {
	err = find(ctx, unknown, func(ctx context.Context) (bool, error) {
		out, err := describe(ctx, i.ec2.DescribeImages, &ec2.DescribeImagesInput{Owners: []string{"self"}, Filters: []types.Filter{b.ofThisBuild()}})
		if err != nil {
			return false, err
		}
		for _, found := range out.Images {
			ids = append(ids, aws.ToString(found.ImageId))
		}
		return len(ids) > 0, nil
	})
	return ids, err
}

func snapshotsOf(i types.Image) (ids []string) {
	for _, d := range i.BlockDeviceMappings {
		if d.Ebs != nil && aws.ToString(d.Ebs.SnapshotId) != "" {
			ids = append(ids, *d.Ebs.SnapshotId)
		}
	}
	return ids
}

// summary lists the images, one region a line.
func summary(images []image) string {
	var lines []string
	for _, i := range images {
		lines = append(lines, i.region+": "+i.id)
	}
	return strings.Join(lines, "\n")
}

// removeImages removes the images of a build that did not succeed. An image
// whose former image is deregistered stays: otherwise there would be none.
func removeImages(ctx context.Context, b *build, images map[string]*image) error {
	var errs []error
	for _, region := range b.regions() {
		i := images[region]
		if i == nil || i.attempts == 0 {
			continue
		}
		if i.replaced {
			b.say("Keeping %s in %s, because the image that it replaces is deregistered", i.id, region)
			continue
		}
		if err := removeImage(ctx, b, i); err != nil {
			errs = append(errs, fmt.Errorf("remove the image in %s: %w", region, err))
		}
	}
	return errors.Join(errs...)
}
