package ebs

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"golang.org/x/sync/errgroup"

	"github.com/xeroops/xeroops/internal/awswait"
)

// copyImages copies the image to the other regions, at the same time: each
// copy moves the whole of the snapshots.
func (b *build) copyImages(ctx context.Context) error {
	source := b.images[b.aws.Region]
	group, ctx := errgroup.WithContext(ctx)
	for _, region := range b.regions()[1:] {
		to := b.images[region]
		group.Go(func() error {
			var err error
			if to.id, err = b.copyImage(ctx, source, to, to.name); err != nil {
				return fmt.Errorf("to %s: %w", to.region, err)
			}
			b.say("Image: %s in %s", to.id, to.region)
			return b.awaitImage(ctx, to)
		})
	}
	return group.Wait()
}

// copyImage starts the copy of an image, within a region or to another.
func (b *build) copyImage(ctx context.Context, from, to *image, name string) (id string, err error) {
	in := &ec2.CopyImageInput{
		ClientToken: aws.String(token(b.id, to.region+name)), Name: aws.String(name), Description: b.description(),
		SourceImageId: aws.String(from.id), SourceRegion: aws.String(from.region), TagSpecifications: b.imageTags(),
	}
	if key := b.config.RegionKMSKeyIDs[to.region]; key != "" && from.region != to.region {
		in.Encrypted, in.KmsKeyId = aws.Bool(true), aws.String(key)
	}
	to.tried = true
	out, err := change(ctx, to.ec2.CopyImage, in)
	to.outcomeUnknown = awswait.OutcomeUnknown(err)
	if err != nil {
		return "", err
	}
	return aws.ToString(out.ImageId), nil
}
