package ebs

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/awsclient"
	"github.com/xeroops/xeroops/internal/awswait"
)

// image is the build's image in one region.
type image struct {
	ec2            *awsclient.EC2
	region         string
	id             string // "" until EC2 has told it
	name           string
	snapshots      []string
	former         *types.Image // has the name now, and is to be replaced
	tried          bool         // it may exist, whether its id is known or not
	outcomeUnknown bool         // of the call that creates it; it may exist although id is empty
	replaced       bool         // the former image is gone, so this one stays
}

// regions lists the build's own region and those to copy to, in that order.
func (b *build) regions() []string {
	return slices.Compact(append([]string{b.aws.Region}, slices.DeleteFunc(slices.Sorted(slices.Values(b.config.AMIRegions)),
		func(r string) bool { return r == b.aws.Region })...))
}

// checkName looks who has the image's name now, in every region, before
// anything is made: a name is an image's own.
func (b *build) checkName(ctx context.Context) error {
	if b.config.SkipCreateAMI {
		return nil
	}
	for _, region := range b.regions() {
		client := b.aws
		if region != b.aws.Region {
			var err error
			if client, err = b.config.Client(ctx, region); err != nil {
				return err
			}
		}
		i := &image{ec2: client.EC2, region: region, name: b.config.AMIName}
		out, err := client.EC2.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"self"}, Filters: []types.Filter{filter("name", i.name)}})
		if err != nil {
			return err
		}
		if len(out.Images) > 0 {
			if !b.config.ForceDeregister {
				return fmt.Errorf("ami_name %q is taken in %s by %s; choose another name, or set force_deregister",
					i.name, region, aws.ToString(out.Images[0].ImageId))
			}
			i.former = &out.Images[0]
			i.name = temporaryName(i.name, b.id)
		}
		b.images[region] = i
	}
	return nil
}

// temporaryName is what the new image is called until the former one is gone.
func temporaryName(name, id string) string {
	const longest = 128 // of an AMI's name, says CreateImage's reference
	return name[:min(len(name), longest-len(id)-1)] + "-" + id
}

// createImage makes the image of the stopped instance.
func (b *build) createImage(ctx context.Context) error {
	i := b.images[b.aws.Region]
	i.tried = true
	out, err := change(ctx, i.ec2.CreateImage, &ec2.CreateImageInput{
		InstanceId: b.instance.InstanceId, Name: aws.String(i.name), Description: b.description(),
		TagSpecifications: b.imageTags(),
	})
	i.outcomeUnknown = awswait.OutcomeUnknown(err)
	switch {
	case awswait.HasCode(err, "InvalidAMIName.Duplicate"):
		// Ours, if an earlier try of this call lost its answer.
		if err := b.adopt(ctx, i, err); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		i.id = aws.ToString(out.ImageId)
	}
	b.say("Image: %s in %s", i.id, i.region)
	return b.awaitImage(ctx, i)
}

func (b *build) adopt(ctx context.Context, i *image, taken error) error {
	ids, err := b.findImages(ctx, i, true)
	if err != nil {
		return err
	}
	if len(ids) == 0 {
		return taken
	}
	i.id = ids[0]
	return nil
}

// findImages looks for the build's images in the image's region.
func (b *build) findImages(ctx context.Context, i *image, outcomeUnknown bool) (ids []string, err error) {
	err = find(ctx, outcomeUnknown, func(ctx context.Context) (bool, error) {
		out, err := lookup(ctx, i.ec2.DescribeImages, &ec2.DescribeImagesInput{Owners: []string{"self"}, Filters: []types.Filter{b.ofThisBuild()}})
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

func (b *build) description() *string {
	if b.config.AMIDescription == "" {
		return nil
	}
	return aws.String(b.config.AMIDescription)
}

// imageTags are those of the image and its snapshots: what is in it, unless
// the configuration says otherwise.
func (b *build) imageTags() []types.TagSpecification {
	own := map[string]string{"Name": b.config.AMIName}
	return append(b.tagged(types.ResourceTypeImage, own, b.recordTags(), b.config.Tags),
		b.tagged(types.ResourceTypeSnapshot, own, b.recordTags(), b.config.Tags, b.config.SnapshotTags)...)
}

// awaitImage waits until an image can be used, and notes its snapshots.
func (b *build) awaitImage(ctx context.Context, i *image) error {
	return b.await(ctx, fmt.Sprintf("image %s in %s to be available", i.id, i.region), func(ctx context.Context) (bool, string, error) {
		out, err := i.ec2.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{i.id}})
		if awswait.IsNotFound(err) || err == nil && len(out.Images) == 0 {
			return false, "unknown", nil
		}
		if err != nil {
			return false, "", err
		}
		found := out.Images[0]
		switch found.State {
		case types.ImageStateAvailable:
			i.snapshots = snapshotsOf(found)
			return true, "", nil
		case types.ImageStateFailed, types.ImageStateError, types.ImageStateInvalid, types.ImageStateDeregistered:
			reason := ""
			if found.StateReason != nil {
				reason = aws.ToString(found.StateReason.Message)
			}
			return false, "", fmt.Errorf("image %s is %s: %s", i.id, found.State, reason)
		}
		return false, string(found.State), nil
	})
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
func (b *build) summary() string {
	var lines []string
	for _, region := range b.regions() {
		lines = append(lines, region+": "+b.images[region].id)
	}
	return strings.Join(lines, "\n")
}
