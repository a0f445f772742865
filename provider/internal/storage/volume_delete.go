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
// deletes the volume. In this order, the snapshot has all writes. The timeout is that
// of the first and of the last step each.
func (r *volumeResource) delete(ctx context.Context, m volumeModel, attached time.Time, timeout time.Duration) error {
	v, seen, err := r.awaitDetached(ctx, m.ID.ValueString(), timeout)
	if err == nil && v == nil && hasSchedule(m.SnapshotSchedule) {
		return r.removeSchedule(ctx, m.ID.ValueString())
	}
	if err != nil || v == nil {
		return err
	}
	if seen.After(attached) {
		attached = seen
	}
	if hasSchedule(m.SnapshotSchedule) {
		if err := r.removeSchedule(ctx, m.ID.ValueString()); err != nil {
			return err
		}
	}
	if m.FinalSnapshot.ValueBool() {
		if err := r.finalSnapshot(ctx, m, attached); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err = awswait.Retry(ctx, awswait.DependencyRelease, awswait.IsInUse, func(ctx context.Context) (any, error) {
		return r.Client.EC2.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: v.VolumeId})
	})
	return awswait.Ignore(err, awswait.IsNotFound)
}

// awaitDetached returns the volume once it is detached, or nil if it is deleted,
// and the time at which it was last attached.
func (r *volumeResource) awaitDetached(ctx context.Context, id string, timeout time.Duration) (volume *ec2types.Volume, attached time.Time, _ error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
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
