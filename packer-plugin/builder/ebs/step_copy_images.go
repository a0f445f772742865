package ebs

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/hashicorp/packer-plugin-sdk/multistep"
	"golang.org/x/sync/errgroup"
)

// stepCopyImages copies the image to the other regions, concurrently because
// each copy transfers all snapshots. The Cleanup of stepCreateImage removes
// the copies.
type stepCopyImages struct{ noCleanup }

// Run implements multistep.Step.
func (s *stepCopyImages) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	return run(ctx, state, "copy the image", func(ctx context.Context, b *build) error {
		images := keyImages.get(state)
		source := images[b.aws.Region]
		group, ctx := errgroup.WithContext(ctx)
		for _, region := range b.regions()[1:] {
			group.Go(func() error {
				if err := copyImage(ctx, b, state, source, images[region]); err != nil {
					return fmt.Errorf("to %s: %w", region, err)
				}
				return nil
			})
		}
		return group.Wait()
	})
}

// copyImage copies an image within its region or to another, and waits until
// the copy is available.
func copyImage(ctx context.Context, b *build, state multistep.StateBag, from, to *image) error {
	return ensureImage(ctx, b, to, func(ctx context.Context) error {
		in := &ec2.CopyImageInput{
			ClientToken: aws.String(clientToken(b.id, to.attempts, to.region+to.name)), Name: aws.String(to.name), Description: b.config.description(),
			SourceImageId: aws.String(from.id), SourceRegion: aws.String(from.region), TagSpecifications: b.imageTags(state),
		}
		if key := b.config.RegionKMSKeyIDs[to.region]; key != "" && from.region != to.region {
			in.Encrypted, in.KmsKeyId = aws.Bool(true), aws.String(key)
		}
		out, err := mutate(ctx, to.ec2.CopyImage, in)
		if err != nil {
			return err
		}
		to.id = aws.ToString(out.ImageId)
		return nil
	})
}
