package ebs

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/hashicorp/packer-plugin-sdk/multistep"
)

// stepDeprecateImages sets the time from which other accounts no longer see
// the images listed.
type stepDeprecateImages struct{ noCleanup }

// Run implements multistep.Step.
func (s *stepDeprecateImages) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	return run(ctx, state, "set the image's deprecation", func(ctx context.Context, b *build) error {
		if b.config.deprecateAt.IsZero() {
			return nil
		}
		for _, region := range b.regions() {
			i := keyImages.get(state)[region]
			_, err := mutate(ctx, i.ec2.EnableImageDeprecation, &ec2.EnableImageDeprecationInput{
				ImageId: aws.String(i.id), DeprecateAt: aws.Time(b.config.deprecateAt)})
			if err != nil {
				return fmt.Errorf("%s in %s: %w", i.id, region, err)
			}
		}
		return nil
	})
}
