package ebs

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// shareImages lets other accounts and organizations launch the image. Accounts
// also get its snapshots, which they need to copy it.
func (b *build) shareImages(ctx context.Context) error {
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
		i := b.images[region]
		_, err := change(ctx, i.ec2.ModifyImageAttribute, &ec2.ModifyImageAttributeInput{
			ImageId: aws.String(i.id), LaunchPermission: &types.LaunchPermissionModifications{Add: launch}})
		if err != nil {
			return fmt.Errorf("%s in %s: %w", i.id, region, err)
		}
		for _, id := range i.snapshots {
			if len(volume) == 0 {
				break
			}
			_, err := change(ctx, i.ec2.ModifySnapshotAttribute, &ec2.ModifySnapshotAttributeInput{
				SnapshotId: aws.String(id), CreateVolumePermission: &types.CreateVolumePermissionModifications{Add: volume}})
			if err != nil {
				return fmt.Errorf("snapshot %s in %s: %w", id, region, err)
			}
		}
	}
	return nil
}

// deprecateImages sets when the images are no longer offered to others.
func (b *build) deprecateImages(ctx context.Context) error {
	if b.config.deprecateAt.IsZero() {
		return nil
	}
	for _, region := range b.regions() {
		i := b.images[region]
		_, err := change(ctx, i.ec2.EnableImageDeprecation, &ec2.EnableImageDeprecationInput{
			ImageId: aws.String(i.id), DeprecateAt: aws.Time(b.config.deprecateAt)})
		if err != nil {
			return fmt.Errorf("%s in %s: %w", i.id, region, err)
		}
	}
	return nil
}
