package ebs

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/packer-plugin-sdk/multistep"
)

// stepShareImages lets other accounts and organizations launch the images.
// Accounts may also use the snapshots, which they need to copy an image.
type stepShareImages struct{ noCleanup }

// Run implements multistep.Step.
func (s *stepShareImages) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	return run(ctx, state, "share the image", func(ctx context.Context, b *build) error {
		var launch []types.LaunchPermission
		var volume []types.CreateVolumePermission
		for _, account := range b.config.AMIUsers {
			launch = append(launch, types.LaunchPermission{UserId: aws.String(account)})
			volume = append(volume, types.CreateVolumePermission{UserId: aws.String(account)})
		}
		for _, arn := range b.config.AMIOrgARNs {
			launch = append(launch, types.LaunchPermission{OrganizationArn: aws.String(arn)})
		}
		if len(launch) == 0 {
			return nil
		}
		for _, region := range b.regions() {
			if err := s.share(ctx, keyImages.get(state)[region], launch, volume); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *stepShareImages) share(ctx context.Context, i *image, launch []types.LaunchPermission, volume []types.CreateVolumePermission) error {
	_, err := mutate(ctx, i.ec2.ModifyImageAttribute, &ec2.ModifyImageAttributeInput{
		ImageId: aws.String(i.id), LaunchPermission: &types.LaunchPermissionModifications{Add: launch}})
	if err != nil {
		return fmt.Errorf("%s in %s: %w", i.id, i.region, err)
	}
	if len(volume) == 0 {
		return nil
	}
	for _, id := range i.snapshots {
		_, err := mutate(ctx, i.ec2.ModifySnapshotAttribute, &ec2.ModifySnapshotAttributeInput{
			SnapshotId: aws.String(id), CreateVolumePermission: &types.CreateVolumePermissionModifications{Add: volume}})
		if err != nil {
			return fmt.Errorf("snapshot %s in %s: %w", id, i.region, err)
		}
	}
	return nil
}
