package storage

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/provider/internal/base"
)

type volumeModel struct {
	ID               types.String   `tfsdk:"id"`
	ARN              types.String   `tfsdk:"arn"`
	Name             types.String   `tfsdk:"name"`
	AvailabilityZone types.String   `tfsdk:"availability_zone"`
	Type             types.String   `tfsdk:"type"`
	SizeGiB          types.Int64    `tfsdk:"size_gib"`
	IOPS             types.Int64    `tfsdk:"iops"`
	ThroughputMiBps  types.Int64    `tfsdk:"throughput_mibps"`
	KMSKeyID         types.String   `tfsdk:"kms_key_id"`
	SnapshotID       types.String   `tfsdk:"snapshot_id"`
	FinalSnapshot    types.Bool     `tfsdk:"final_snapshot"`
	SnapshotTimeout  types.String   `tfsdk:"final_snapshot_timeout"`
	SnapshotSchedule types.Object   `tfsdk:"snapshot_schedule"`
	Drift            types.Set      `tfsdk:"drift"`
	Tags             types.Map      `tfsdk:"tags"`
	TagsAll          types.Map      `tfsdk:"tags_all"`
	Timeouts         timeouts.Value `tfsdk:"timeouts"`

	managed base.ManagedTags // of an update; not in the state
}

// setID sets the id, and null for all unknown values: Terraform discards a state
// with unknown values if the create fails.
func (m *volumeModel) setID(id string) {
	m.ID, m.ARN = types.StringValue(id), types.StringNull()
	for _, s := range []*types.String{&m.KMSKeyID, &m.SnapshotID} {
		if s.IsUnknown() {
			*s = types.StringNull()
		}
	}
}

func (m *volumeModel) fromAWS(v ec2types.Volume, arn string, settings base.TagSettings) {
	actual := base.FlattenEC2Tags(v.Tags)
	m.setComputed(v, arn)
	m.Name = types.StringValue(actual[base.TagName])
	m.AvailabilityZone = types.StringPointerValue(v.AvailabilityZone)
	m.Type = types.StringValue(string(v.VolumeType))
	m.SizeGiB = types.Int64Value(int64(aws.ToInt32(v.Size)))
	m.IOPS = types.Int64Value(int64(aws.ToInt32(v.Iops)))
	m.ThroughputMiBps = types.Int64Null()
	if v.VolumeType == ec2types.VolumeTypeGp3 {
		m.ThroughputMiBps = types.Int64Value(int64(aws.ToInt32(v.Throughput)))
	}
	if m.FinalSnapshot.IsNull() { // imported
		m.FinalSnapshot = types.BoolValue(true)
	}
	if m.SnapshotTimeout.IsNull() { // imported, or created by an earlier version
		m.SnapshotTimeout = types.StringValue(defaultSnapshotTimeout)
	}
	m.Drift = base.NoDrift()
	m.Tags, m.TagsAll = settings.TagsFromAWS(actual, m.Tags, m.TagsAll)
}

// setComputed sets the values that AWS chose.
func (m *volumeModel) setComputed(v ec2types.Volume, arn string) {
	m.ID = types.StringPointerValue(v.VolumeId)
	m.ARN = types.StringValue(arn)
	m.KMSKeyID = types.StringPointerValue(v.KmsKeyId)
	m.SnapshotID = types.StringNull()
	if id := aws.ToString(v.SnapshotId); id != "" {
		m.SnapshotID = types.StringValue(id)
	}
}

// checkShrink returns an error if the volume would become smaller, which EBS does
// not support.
func (m *volumeModel) checkShrink(state volumeModel) error {
	replaced := m.AvailabilityZone != state.AvailabilityZone || m.SnapshotID != state.SnapshotID || m.KMSKeyID != state.KMSKeyID
	if replaced || m.SizeGiB.IsUnknown() || m.SizeGiB.ValueInt64() >= state.SizeGiB.ValueInt64() {
		return nil
	}
	return base.AtAttribute(path.Root("size_gib"), fmt.Errorf(
		"%s has %d GiB, and EBS cannot shrink a volume; set size_gib to %[2]d or more, or create a smaller volume with another name and copy the data",
		state.ID.ValueString(), state.SizeGiB.ValueInt64()))
}

// differs reports whether the volume has to be modified to match the model.
func (m *volumeModel) differs(v ec2types.Volume) bool {
	return v.VolumeType != m.volumeType() || int64(aws.ToInt32(v.Size)) != m.SizeGiB.ValueInt64() || int64(aws.ToInt32(v.Iops)) != m.IOPS.ValueInt64() ||
		!m.ThroughputMiBps.IsNull() && int64(aws.ToInt32(v.Throughput)) != m.ThroughputMiBps.ValueInt64()
}

// attachedTo returns a text with the instance that a volume is attached to, or "".
func attachedTo(v ec2types.Volume) string {
	for _, a := range v.Attachments {
		if a.State != ec2types.VolumeAttachmentStateDetached {
			return fmt.Sprintf("attached to %s as %s", aws.ToString(a.InstanceId), aws.ToString(a.Device))
		}
	}
	return ""
}

// int32Of returns a value for AWS, or nil if it is null. Validators keep it within
// 32 bits.
func int32Of(v types.Int64) *int32 {
	if v.IsNull() {
		return nil
	}
	return aws.Int32(int32(v.ValueInt64()))
}
