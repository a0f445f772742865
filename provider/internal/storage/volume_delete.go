package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// tagVolume is the tag of a final snapshot with the id of its volume.
const tagVolume = "xeroops:volume"

// finalSnapshotAge is the maximum age of a final snapshot, left by an interrupted
// destroy, that the next destroy uses.
const finalSnapshotAge = 24 * time.Hour

// snapshotRate is how long to retry the second snapshot of a volume. EBS rejects it
// for 15 seconds (EC2 API reference, SnapshotCreationPerVolumeRateExceeded).
const snapshotRate = time.Minute

// attachedKey is the private key of the time at which Read last saw the volume
// attached. An older snapshot is not the final one.
const attachedKey = "attached"

type privateState interface {
	GetKey(ctx context.Context, key string) ([]byte, diag.Diagnostics)
	SetKey(ctx context.Context, key string, value []byte) diag.Diagnostics
}

func noteAttachment(ctx context.Context, v ec2types.Volume, private privateState) diag.Diagnostics {
	var diags diag.Diagnostics
	for _, a := range v.Attachments {
		value, err := json.Marshal(aws.ToTime(a.AttachTime))
		if err != nil {
			diags.AddError("Save the attachment of "+aws.ToString(v.VolumeId), err.Error())
			return diags
		}
		diags.Append(private.SetKey(ctx, attachedKey, value)...)
	}
	return diags
}

func lastAttachment(ctx context.Context, private privateState) (time.Time, diag.Diagnostics) {
	var attached time.Time
	value, diags := private.GetKey(ctx, attachedKey)
	if len(value) > 0 {
		if err := json.Unmarshal(value, &attached); err != nil {
			diags.AddError("Read when the volume was attached", err.Error())
		}
	}
	return attached, diags
}

// checkSnapshot returns an error if another snapshot would replace a volume that is
// attached: Terraform destroys the old volume before the node gets the new one.
func (r *volumeResource) checkSnapshot(ctx context.Context, volume, state volumeModel) error {
	if state.ID.IsNull() || volume.SnapshotID.IsUnknown() || volume.SnapshotID.Equal(state.SnapshotID) {
		return nil
	}
	found, err := r.find(ctx, state.ID.ValueString())
	if err != nil || found == nil || attachedTo(*found) == "" {
		return err
	}
	return base.AtAttribute(path.Root("snapshot_id"), fmt.Errorf(
		"%s is %s, and another snapshot would replace it; add another xeroops_volume with that snapshot_id, set the node's volume_id to its id "+
			"and apply, which restarts the node with the new volume; then remove this volume", state.ID.ValueString(), attachedTo(*found)))
}

// delete waits until the volume is detached, creates the final snapshot, and
// deletes the volume. In this order, the snapshot has all writes.
func (r *volumeResource) delete(ctx context.Context, m volumeModel, attached time.Time) error {
	v, seen, err := r.awaitDetached(ctx, m.ID.ValueString())
	if err != nil || v == nil {
		return err
	}
	if seen.After(attached) {
		attached = seen
	}
	if m.FinalSnapshot.ValueBool() {
		if err := r.finalSnapshot(ctx, m, attached); err != nil {
			return err
		}
	}
	_, err = awswait.Retry(ctx, awswait.DependencyRelease, awswait.IsInUse, func(ctx context.Context) (any, error) {
		return r.Client.EC2.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: v.VolumeId})
	})
	return awswait.Ignore(err, awswait.IsNotFound)
}

// awaitDetached returns the volume once it is detached, or nil if it is deleted,
// and the time at which it was last attached.
func (r *volumeResource) awaitDetached(ctx context.Context, id string) (volume *ec2types.Volume, attached time.Time, _ error) {
	err := awswait.Until(ctx, awswait.DependencyRelease, func(ctx context.Context) (_ bool, _ string, err error) {
		if volume, err = r.find(ctx, id); err != nil || volume == nil {
			return true, "", err
		}
		for _, a := range volume.Attachments {
			attached = aws.ToTime(a.AttachTime)
		}
		user := attachedTo(*volume)
		return user == "", user, nil
	})
	var late *awswait.TimeoutError
	if errors.As(err, &late) || errors.Is(err, context.DeadlineExceeded) {
		return nil, attached, fmt.Errorf("%w; destroy the instance or detach the volume, and destroy again", err)
	}
	return volume, attached, err
}

// finalSnapshot ensures that there is a complete snapshot of the volume.
func (r *volumeResource) finalSnapshot(ctx context.Context, m volumeModel, attached time.Time) error {
	id, err := r.findFinalSnapshot(ctx, m.ID.ValueString(), attached)
	if err != nil {
		return fmt.Errorf("find the final snapshot: %w", err)
	}
	if id == "" {
		if id, err = r.createFinalSnapshot(ctx, m, attached); err != nil {
			return fmt.Errorf("create the final snapshot: %w", err)
		}
	}
	err = awswait.Until(ctx, awswait.DependencyRelease, func(ctx context.Context) (bool, string, error) {
		out, err := r.Client.EC2.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{SnapshotIds: []string{id}})
		if err != nil || len(out.Snapshots) == 0 {
			return false, "unknown to EC2", awswait.Ignore(err, awswait.IsNotFound)
		}
		s := out.Snapshots[0]
		if s.State == ec2types.SnapshotStateError {
			return false, "", fmt.Errorf("the snapshot failed: %s", aws.ToString(s.StateMessage))
		}
		return s.State == ec2types.SnapshotStateCompleted, fmt.Sprintf("%s (%s)", s.State, aws.ToString(s.Progress)), nil
	})
	if err != nil {
		return fmt.Errorf("wait for the final snapshot %s: %w; the volume was kept, and the next destroy continues from here", id, err)
	}
	return nil
}

// findFinalSnapshot returns the id of the final snapshot that an interrupted
// destroy left, or "".
func (r *volumeResource) findFinalSnapshot(ctx context.Context, volume string, attached time.Time) (string, error) {
	notBefore := time.Now().Add(-finalSnapshotAge)
	if attached.After(notBefore) {
		notBefore = attached
	}
	pages := ec2.NewDescribeSnapshotsPaginator(r.Client.EC2, &ec2.DescribeSnapshotsInput{
		OwnerIds: []string{"self"}, Filters: []ec2types.Filter{base.Filter("tag:"+tagVolume, volume)}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", err
		}
		for _, s := range page.Snapshots {
			if s.State != ec2types.SnapshotStateError && aws.ToTime(s.StartTime).After(notBefore) {
				return aws.ToString(s.SnapshotId), nil
			}
		}
	}
	return "", nil
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
