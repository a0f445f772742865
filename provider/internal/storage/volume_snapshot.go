package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-log/tflog"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// tagVolume is the tag of a final snapshot with the id of its volume.
const tagVolume = "xeroops:volume"

// volumeTagRules count tagVolume.
var volumeTagRules = base.TagRules{Extra: 1}

// defaultSnapshotTimeout is the default of final_snapshot_timeout. AWS documents no
// limit; the first snapshot copies all written blocks of the volume.
const defaultSnapshotTimeout = "12h"

// finalSnapshotAge is the maximum age of a complete final snapshot, left by an
// interrupted destroy, that the next destroy uses. One that is still pending is used
// at any age.
const finalSnapshotAge = 24 * time.Hour

// snapshotRate is how long to retry the second snapshot of a volume. EBS rejects it
// for 15 seconds (EC2 API reference, SnapshotCreationPerVolumeRateExceeded).
const snapshotRate = time.Minute

// finalSnapshot ensures that there is a complete snapshot of the volume.
func (r *volumeResource) finalSnapshot(ctx context.Context, m volumeModel, attached time.Time) error {
	timeout, err := time.ParseDuration(m.SnapshotTimeout.ValueString())
	if m.SnapshotTimeout.IsNull() { // state of an earlier version
		timeout, err = time.ParseDuration(defaultSnapshotTimeout)
	}
	if err != nil {
		return base.AtAttribute(path.Root("final_snapshot_timeout"), err)
	}
	id, err := r.findFinalSnapshot(ctx, m.ID.ValueString(), attached)
	if err != nil {
		return fmt.Errorf("find the final snapshot: %w", err)
	}
	if id == "" {
		if id, err = r.createFinalSnapshot(ctx, m, attached); err != nil {
			return fmt.Errorf("create the final snapshot: %w", err)
		}
	}
	err = r.awaitSnapshot(ctx, m.ID.ValueString(), id, timeout)
	var late *awswait.TimeoutError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &late) || ctx.Err() != nil:
		return base.AtAttribute(path.Root("final_snapshot_timeout"), fmt.Errorf("wait for the final snapshot %s of %s: %w; the volume was kept and EBS continues the snapshot, "+
			"so destroy again to wait for the same one, or set a longer final_snapshot_timeout, apply, and destroy again", id, m.ID.ValueString(), err))
	}
	return fmt.Errorf("wait for the final snapshot %s of %s: %w; the volume was kept", id, m.ID.ValueString(), err)
}

// awaitSnapshot waits until a snapshot is complete, and logs its progress. The error
// of a timeout has the progress.
func (r *volumeResource) awaitSnapshot(ctx context.Context, volume, id string, timeout time.Duration) error {
	last := ""
	return awswait.Until(ctx, timeout, func(ctx context.Context) (bool, string, error) {
		out, err := r.Client.EC2.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{SnapshotIds: []string{id}})
		if err != nil || len(out.Snapshots) == 0 {
			return false, "unknown to EC2", awswait.Ignore(err, awswait.IsNotFound)
		}
		s := out.Snapshots[0]
		if progress := aws.ToString(s.Progress); progress != last {
			last = progress
			tflog.Info(ctx, "final snapshot in progress", map[string]any{"volume_id": volume, "snapshot_id": id, "state": string(s.State), "progress": progress})
		}
		if s.State == ec2types.SnapshotStateError {
			return false, "", fmt.Errorf("the snapshot failed: %s", aws.ToString(s.StateMessage))
		}
		return s.State == ec2types.SnapshotStateCompleted, fmt.Sprintf("%s (%s)", s.State, aws.ToString(s.Progress)), nil
	})
}

// findFinalSnapshot returns the id of the final snapshot that an interrupted
// destroy left, or "".
func (r *volumeResource) findFinalSnapshot(ctx context.Context, volume string, attached time.Time) (string, error) {
	pages := ec2.NewDescribeSnapshotsPaginator(r.Client.EC2, &ec2.DescribeSnapshotsInput{
		OwnerIds: []string{"self"}, Filters: []ec2types.Filter{base.Filter("tag:"+tagVolume, volume)}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", err
		}
		for _, s := range page.Snapshots {
			if isFinal(s, attached, time.Now()) {
				return aws.ToString(s.SnapshotId), nil
			}
		}
	}
	return "", nil
}

// isFinal reports whether a snapshot has all writes of a volume that was last attached
// at a time, as far as Terraform knows.
func isFinal(s ec2types.Snapshot, attached, now time.Time) bool {
	started := aws.ToTime(s.StartTime)
	switch {
	case !started.After(attached):
		return false
	case s.State == ec2types.SnapshotStatePending:
		return true
	}
	return s.State == ec2types.SnapshotStateCompleted && now.Sub(started) < finalSnapshotAge
}

func (r *volumeResource) createFinalSnapshot(ctx context.Context, m volumeModel, attached time.Time) (string, error) {
	tooSoon := func(err error) bool { return awswait.HasCode(err, "SnapshotCreationPerVolumeRateExceeded") }
	find := func(ctx context.Context) (*string, error) {
		id, err := r.findFinalSnapshot(ctx, m.ID.ValueString(), attached)
		return base.Optional(id), err
	}
	id, err := awswait.Retry(ctx, snapshotRate, tooSoon, func(ctx context.Context) (*string, error) {
		return base.CreateOnce(ctx, find, func(ctx context.Context, once ...func(*ec2.Options)) (*string, error) {
			out, err := r.Client.EC2.CreateSnapshot(ctx, &ec2.CreateSnapshotInput{
				VolumeId:    m.ID.ValueStringPointer(),
				Description: aws.String("Final snapshot of " + m.Name.ValueString()),
				TagSpecifications: base.TagOnCreate(ec2types.ResourceTypeSnapshot,
					base.EC2Tags(m.Name.ValueString(), m.TagsAll, map[string]string{tagVolume: m.ID.ValueString()})),
			}, once...)
			if err != nil {
				return nil, err
			}
			return out.SnapshotId, nil
		})
	})
	return aws.ToString(id), err
}
