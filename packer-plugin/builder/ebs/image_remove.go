package ebs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/awsclient"
	"github.com/xeroops/xeroops/internal/awswait"
)

// removeImage removes what the build created in the image's region.
func removeImage(ctx context.Context, b *build, i *image) error {
	ids, err := findImages(ctx, b, i, i.unknown)
	if err != nil {
		return err
	}
	if i.id != "" && !slices.Contains(ids, i.id) {
		ids = append(ids, i.id)
	}
	for _, id := range ids {
		b.say("Deregistering %s in %s", id, i.region)
		snapshots, err := awaitSnapshots(ctx, i.ec2, id)
		if err != nil {
			return err
		}
		if err := deregister(ctx, i.ec2, id, snapshots); err != nil {
			return err
		}
	}
	// Snapshots that no image listed.
	rest, err := describe(ctx, i.ec2.DescribeSnapshots, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: []types.Filter{b.ofThisBuild()}})
	if err != nil {
		return err
	}
	for _, s := range rest.Snapshots {
		if err := deleteSnapshots(ctx, i.ec2, []string{aws.ToString(s.SnapshotId)}); err != nil {
			return err
		}
	}
	return nil
}

// snapshotsListed is how long a new image may take to list its snapshots.
const snapshotsListed = time.Minute

// awaitSnapshots returns an image's snapshots. A pending image lists them a
// little later; deregistering it before would leave them behind.
func awaitSnapshots(ctx context.Context, client *awsclient.EC2, id string) (snapshots []string, err error) {
	err = awswait.Until(ctx, snapshotsListed, func(ctx context.Context) (bool, string, error) {
		out, err := describe(ctx, client.DescribeImages, &ec2.DescribeImagesInput{ImageIds: []string{id}})
		if awswait.IsNotFound(err) {
			return true, "", nil
		}
		if err != nil || len(out.Images) == 0 {
			return err == nil, "", err
		}
		snapshots = snapshotsOf(out.Images[0])
		return out.Images[0].State != types.ImageStatePending || len(snapshots) > 0, "pending without snapshots", nil
	})
	var timedOut *awswait.TimeoutError
	if errors.As(err, &timedOut) {
		return nil, nil // the build's tag may still find them
	}
	return snapshots, err
}

// deregister removes an image and its snapshots.
func deregister(ctx context.Context, client *awsclient.EC2, id string, snapshots []string) error {
	if err := remove(ctx, client.DeregisterImage, &ec2.DeregisterImageInput{ImageId: aws.String(id)}); err != nil {
		return fmt.Errorf("deregister %s: %w", id, err)
	}
	return deleteSnapshots(ctx, client, snapshots)
}

func deleteSnapshots(ctx context.Context, client *awsclient.EC2, ids []string) error {
	for _, id := range ids {
		if err := remove(ctx, client.DeleteSnapshot, &ec2.DeleteSnapshotInput{SnapshotId: aws.String(id)}); err != nil {
			return fmt.Errorf("delete snapshot %s: %w", id, err)
		}
	}
	return nil
}
