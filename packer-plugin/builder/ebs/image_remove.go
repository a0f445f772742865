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

// removeImages takes back the images of a build that did not finish. One that
// replaced a former image stays: there would be none otherwise.
func (b *build) removeImages(ctx context.Context) error {
	if b.finished {
		return nil
	}
	var errs []error
	for _, region := range b.regions() {
		i := b.images[region]
		if i == nil || !i.tried {
			continue
		}
		if i.replaced {
			b.say("%s stays in %s: it replaced a former image", i.id, region)
			continue
		}
		if err := b.removeImage(ctx, i); err != nil {
			errs = append(errs, fmt.Errorf("remove the image in %s: %w", region, err))
		}
	}
	return errors.Join(errs...)
}

func (b *build) removeImage(ctx context.Context, i *image) error {
	ids, err := b.findImages(ctx, i, i.outcomeUnknown)
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
	// Those that no image told of.
	rest, err := lookup(ctx, i.ec2.DescribeSnapshots, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: []types.Filter{b.ofThisBuild()}})
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

// snapshotsShow is how long a new image may take to tell its snapshots.
const snapshotsShow = time.Minute

// awaitSnapshots returns an image's snapshots. A pending image tells them a
// little late; one that is deregistered before leaves them behind unknown.
func awaitSnapshots(ctx context.Context, client *awsclient.EC2, id string) (snapshots []string, err error) {
	err = awswait.Until(ctx, snapshotsShow, func(ctx context.Context) (bool, string, error) {
		out, err := lookup(ctx, client.DescribeImages, &ec2.DescribeImagesInput{ImageIds: []string{id}})
		if awswait.IsNotFound(err) {
			return true, "", nil
		}
		if err != nil || len(out.Images) == 0 {
			return err == nil, "", err
		}
		snapshots = snapshotsOf(out.Images[0])
		return out.Images[0].State != types.ImageStatePending || len(snapshots) > 0, "pending without snapshots", nil
	})
	var slow *awswait.TimeoutError
	if errors.As(err, &slow) {
		return nil, nil // their tag may tell them
	}
	return snapshots, err
}

// deregister removes an image and its snapshots.
func deregister(ctx context.Context, client *awsclient.EC2, id string, snapshots []string) error {
	err := remove(ctx, client.DeregisterImage, &ec2.DeregisterImageInput{ImageId: aws.String(id)})
	if err := awswait.Ignore(err, func(err error) bool { return awswait.HasCode(err, "InvalidAMIID.Unavailable") }); err != nil {
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
