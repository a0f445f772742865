package storage

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// volumeAtFault has the attribute that causes an error of CreateVolume, by code.
var volumeAtFault = map[string]string{
	"InvalidZone.NotFound":           "availability_zone",
	"InvalidSnapshot.NotFound":       "snapshot_id",
	"InvalidSnapshotID.Malformed":    "snapshot_id",
	"IncorrectState":                 "snapshot_id", // the snapshot is not complete
	"InvalidParameterCombination":    "size_gib",
	"VolumeLimitExceeded":            "size_gib",
	"MaxIOPSLimitExceeded":           "iops",
	"VolumeTypeNotAvailableInRegion": "availability_zone",
	"InvalidKmsKey.InvalidState":     "kms_key_id",
	"KMSKeyNotAccessibleFault":       "kms_key_id",
}

// findByName returns the volumes that the provider created under name, without
// those that are being deleted.
func (r *volumeResource) findByName(ctx context.Context, name string) ([]ec2types.Volume, error) {
	var found []ec2types.Volume
	pages := ec2.NewDescribeVolumesPaginator(r.Client.EC2, &ec2.DescribeVolumesInput{Filters: base.NamedFilters(name)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, v := range page.Volumes {
			if lives(v) {
				found = append(found, v)
			}
		}
	}
	return found, nil
}

func lives(v ec2types.Volume) bool {
	return v.State != ec2types.VolumeStateDeleting && v.State != ec2types.VolumeStateDeleted && v.State != ec2types.VolumeStateError
}

// adoptable returns whether one of the volumes with the model's name can be
// adopted, or nil if there are none.
func (m *volumeModel) adoptable(volumes []ec2types.Volume) *base.Found {
	if len(volumes) == 0 {
		return nil
	}
	v := volumes[0]
	found := &base.Found{ID: aws.ToString(v.VolumeId), Claim: base.EC2Claim(v.Tags), InUse: attachedTo(v)}
	switch {
	case len(volumes) > 1:
		found.Conflict = fmt.Sprintf("%d volumes have this name", len(volumes))
	case !m.AvailabilityZone.IsUnknown() && aws.ToString(v.AvailabilityZone) != m.AvailabilityZone.ValueString():
		found.Conflict = "its zone is " + aws.ToString(v.AvailabilityZone)
	case !m.SizeGiB.IsUnknown() && int64(aws.ToInt32(v.Size)) > m.SizeGiB.ValueInt64():
		found.Conflict = fmt.Sprintf("%d GiB", aws.ToInt32(v.Size))
	case m.SnapshotID.ValueString() != "" && aws.ToString(v.SnapshotId) != m.SnapshotID.ValueString():
		found.Conflict = "not created from " + m.SnapshotID.ValueString()
	case !aws.ToBool(v.Encrypted):
		found.Conflict = "not encrypted"
	}
	return found
}

// creation returns how the volume is adopted or created.
func (r *volumeResource) creation(m volumeModel) base.Creation {
	return base.Creation{Kind: volumeTypeName, Name: m.Name.ValueString(), Write: base.WriteEC2ClaimOf(r.Client.EC2),
		Find: func(ctx context.Context) (*base.Found, error) {
			volumes, err := r.findByName(ctx, m.Name.ValueString())
			return m.adoptable(volumes), err
		},
		Create: func(ctx context.Context, claim base.Claim) (string, error) { return r.create(ctx, m, claim) }}
}

// create creates the volume. It does not use a client token derived from the name,
// because for a day AWS would return the first volume even if it was deleted.
func (r *volumeResource) create(ctx context.Context, m volumeModel, claim base.Claim) (string, error) {
	out, err := r.Client.EC2.CreateVolume(ctx, &ec2.CreateVolumeInput{
		AvailabilityZone:  m.AvailabilityZone.ValueStringPointer(),
		VolumeType:        m.volumeType(),
		Size:              int32Of(m.SizeGiB),
		Iops:              int32Of(m.IOPS),
		Throughput:        int32Of(m.ThroughputMiBps),
		Encrypted:         aws.Bool(true),
		KmsKeyId:          base.Optional(m.KMSKeyID.ValueString()),
		SnapshotId:        base.Optional(m.SnapshotID.ValueString()),
		TagSpecifications: base.TagOnCreate(ec2types.ResourceTypeVolume, append(r.tags(m), claim.Tag())),
	})
	if err != nil {
		return "", base.AtAttributeForCode(err, volumeAtFault)
	}
	return aws.ToString(out.VolumeId), nil
}

// claimed returns a volume as the holder of its claim.
func (r *volumeResource) claimed(v ec2types.Volume) base.Claimed {
	id := aws.ToString(v.VolumeId)
	return base.Claimed{Kind: volumeTypeName, ID: id, Tag: base.EC2Claim(v.Tags), Write: base.WriteEC2Claim(r.Client.EC2, id),
		Reread: func(ctx context.Context) (string, bool, error) {
			v, err := r.find(ctx, id)
			if err != nil || v == nil {
				return "", false, err
			}
			return base.EC2Claim(v.Tags), true, nil
		}}
}

func (r *volumeResource) tags(m volumeModel) []ec2types.Tag {
	return base.EC2Tags(m.Name.ValueString(), m.TagsAll, scheduleTag(m))
}

func (r *volumeResource) arn(ctx context.Context, id string) (string, error) {
	return base.EC2ARN(ctx, r.Client, "volume/"+id)
}

// find returns a volume, or nil if it is deleted or being deleted.
func (r *volumeResource) find(ctx context.Context, id string) (*ec2types.Volume, error) {
	v, exists, err := r.Describe.Volumes.Get(ctx, id)
	if err != nil || !exists || v.State == ec2types.VolumeStateDeleting || v.State == ec2types.VolumeStateDeleted {
		return nil, err
	}
	return &v, nil
}

// converge changes a volume to match the model; hadSchedule reports whether it had a
// snapshot schedule before.
func (r *volumeResource) converge(ctx context.Context, m *volumeModel, hadSchedule bool) error {
	v, err := r.awaitUsable(ctx, m.ID.ValueString())
	if err != nil {
		return err
	}
	err = base.ParallelAll(ctx,
		func(ctx context.Context) error {
			return base.SetEC2Tags(ctx, r.Client.EC2, m.ID.ValueString(), v.Tags, r.tags(*m), m.managed)
		},
		func(ctx context.Context) error { return r.modify(ctx, v, *m) },
		func(ctx context.Context) error { return r.convergeSchedule(ctx, *m, hadSchedule) },
	)
	if err != nil {
		return err
	}
	arn, err := r.arn(ctx, m.ID.ValueString())
	m.setComputed(v, arn)
	return err
}

// awaitUsable waits until a volume can be attached. Some errors of the create, such
// as an unusable key, only show in its state.
func (r *volumeResource) awaitUsable(ctx context.Context, id string) (ec2types.Volume, error) {
	var usable ec2types.Volume
	err := awswait.Until(ctx, awswait.CreatedVisible, func(ctx context.Context) (bool, string, error) {
		v, err := r.find(ctx, id)
		switch {
		case err != nil:
			return false, "", err
		case v == nil:
			return false, "unknown to EC2", nil
		case v.State == ec2types.VolumeStateError:
			return false, "", errors.New("EC2 failed to create the volume; if kms_key_id is set, check that the key is enabled and that its policy allows EBS to use it")
		}
		usable = *v
		return v.State == ec2types.VolumeStateAvailable || v.State == ec2types.VolumeStateInUse, string(v.State), nil
	})
	return usable, err
}

// modify changes size, performance and type in place.
func (r *volumeResource) modify(ctx context.Context, v ec2types.Volume, m volumeModel) error {
	if !m.differs(v) {
		return nil
	}
	err := Modify(ctx, r.Client.EC2, *v.VolumeId, m.modification())
	return base.AtAttributeForCode(err, map[string]string{"InvalidParameterValue": "size_gib", "MaxIOPSLimitExceeded": "iops", "UnsupportedOperation": "type"})
}
