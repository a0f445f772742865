package ebs

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/hashicorp/packer-plugin-sdk/multistep"

	"github.com/xeroops/xeroops/internal/awswait"
)

// stepReplaceFormerImages gives the new image the name of the former one. An
// AMI's name is unique and can't be changed, and the former image must exist
// until the new one is available. So the new image has a temporary name, and is
// copied within its region, which moves no data, once the former one is
// deregistered.
type stepReplaceFormerImages struct{ noCleanup }

// Run implements multistep.Step.
func (s *stepReplaceFormerImages) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	return run(ctx, state, "replace the former image", func(ctx context.Context, b *build) error {
		for _, region := range b.regions() {
			i := keyImages.get(state)[region]
			if i.former == nil {
				continue
			}
			if err := s.replace(ctx, b, state, i); err != nil {
				return fmt.Errorf("in %s: %w", region, err)
			}
		}
		return nil
	})
}

// replace does what is still to do, since the step may be retried.
func (s *stepReplaceFormerImages) replace(ctx context.Context, b *build, state multistep.StateBag, i *image) error {
	former := aws.ToString(i.former.ImageId)
	if !i.replaced {
		b.say("Replacing %s in %s", former, i.region)
		_, err := mutate(ctx, i.ec2.DeregisterImage, &ec2.DeregisterImageInput{ImageId: aws.String(former)})
		if err := awswait.Ignore(err, isGone); err != nil {
			return fmt.Errorf("deregister the former image %s: %w", former, err)
		}
		i.replaced = true
	}
	if i.superseded == nil {
		named := &image{ec2: i.ec2, region: i.region, name: b.config.AMIName}
		if err := copyImage(ctx, b, state, i, named); err != nil {
			return fmt.Errorf("the former image %s is deregistered and the new image is %s (%q): copy it to %q: %w", former, i.id, i.name, named.name, err)
		}
		temporary := *i
		i.id, i.name, i.snapshots, i.superseded = named.id, named.name, named.snapshots, &temporary
	}
	if err := deregister(ctx, i.ec2, i.superseded.id, i.superseded.snapshots); err != nil {
		return err
	}
	if !b.config.ForceDeleteSnapshot {
		return nil
	}
	return deleteSnapshots(ctx, i.ec2, snapshotsOf(*i.former))
}
