package ebs

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/hashicorp/packer-plugin-sdk/multistep"

	"github.com/xeroops/xeroops/internal/awswait"
)

// stepCreateImage creates the image in the build's own region. Its Cleanup
// decides for all regions whether the images stay.
type stepCreateImage struct{}

// Run implements multistep.Step.
func (s *stepCreateImage) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	return run(ctx, state, "create the image", func(ctx context.Context, b *build) error {
		i := keyImages.get(state)[b.aws.Region]
		return ensureImage(ctx, b, i, func(ctx context.Context) error { return s.create(ctx, b, state, i) })
	})
}

func (s *stepCreateImage) create(ctx context.Context, b *build, state multistep.StateBag, i *image) error {
	out, err := mutate(ctx, i.ec2.CreateImage, &ec2.CreateImageInput{
		InstanceId: aws.String(keyInstanceID.get(state)), Name: aws.String(i.name), Description: b.config.description(),
		TagSpecifications: b.imageTags(state),
	})
	if err == nil {
		i.id = aws.ToString(out.ImageId)
		return nil
	}
	if !awswait.HasCode(err, "InvalidAMIName.Duplicate") {
		return err
	}
	// The image is the build's own if the response to an earlier attempt of
	// this call was lost.
	ids, findErr := findImages(ctx, b, i, true)
	if findErr != nil {
		return findErr
	}
	if len(ids) == 0 {
		return err
	}
	i.id = ids[0]
	return nil
}

// Cleanup removes the images, in every region, unless all steps succeeded.
func (s *stepCreateImage) Cleanup(state multistep.StateBag) {
	_, cancelled := state.GetOk(multistep.StateCancelled)
	_, halted := state.GetOk(multistep.StateHalted)
	if !cancelled && !halted {
		keySucceeded.put(state, true)
		return
	}
	cleanUp(state, func(ctx context.Context, b *build) error { return removeImages(ctx, b, keyImages.get(state)) })
}
