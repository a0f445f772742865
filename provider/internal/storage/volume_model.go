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

// Limits of gp3 (EC2 API reference, CreateVolume; EBS user guide, "General
// Purpose SSD volumes").
const (
	minSizeGiB, maxSizeGiB               = 1, 65536
	minIOPS, maxIOPS                     = 3000, 80000
	minThroughputMiBps, maxThroughputMiB = 125, 2000

	maxIOPSPerGiB        = 500 // above the baseline of 3,000
	iopsPerThroughputMiB = 4   // 0.25 MiB/s per IOPS
)

type volumeModel struct {
	ID               types.String   `tfsdk:"id"`
	ARN              types.String   `tfsdk:"arn"`
	Name             types.String   `tfsdk:"name"`
	AvailabilityZone types.String   `tfsdk:"availability_zone"`
	SizeGiB          types.Int64    `tfsdk:"size_gib"`
	IOPS             types.Int64    `tfsdk:"iops"`
	ThroughputMiBps  types.Int64    `tfsdk:"throughput_mibps"`
	KMSKeyID         types.String   `tfsdk:"kms_key_id"`
	SnapshotID       types.String   `tfsdk:"snapshot_id"`
	FinalSnapshot    types.Bool     `tfsdk:"final_snapshot"`
	Drift            types.Set      `tfsdk:"drift"`
	Tags             types.Map      `tfsdk:"tags"`
	TagsAll          types.Map      `tfsdk:"tags_all"`
	Timeouts         timeouts.Value `tfsdk:"timeouts"`
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

func (m *volumeModel) fromAWS(v ec2types.Volume, arn string, defaultTags map[string]string) {
	actual := base.FlattenEC2Tags(v.Tags)
	m.setComputed(v, arn)
	m.Name = types.StringValue(actual[base.TagName])
	m.AvailabilityZone = types.StringPointerValue(v.AvailabilityZone)
	m.SizeGiB = types.Int64Value(int64(aws.ToInt32(v.Size)))
	m.IOPS = types.Int64Value(int64(aws.ToInt32(v.Iops)))
	m.ThroughputMiBps = types.Int64Value(int64(aws.ToInt32(v.Throughput)))
	if m.FinalSnapshot.IsNull() { // imported
		m.FinalSnapshot = types.BoolValue(true)
	}
	m.Drift = base.NoDrift()
	if v.VolumeType != ec2types.VolumeTypeGp3 {
		m.Drift = base.Drift([]string{fmt.Sprintf("the volume's type is %s instead of gp3", v.VolumeType)})
	}
	m.Tags, m.TagsAll = base.TagsFromAWS(actual, defaultTags, m.Tags)
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

// checkLimits returns an error if the size does not allow the IOPS or the IOPS do
// not allow the throughput. Unset values have gp3's baseline.
func (m *volumeModel) checkLimits() []error {
	var errs []error
	iops, throughput := orBaseline(m.IOPS, minIOPS), orBaseline(m.ThroughputMiBps, minThroughputMiBps)
	if most := max(minIOPS, maxIOPSPerGiB*m.SizeGiB.ValueInt64()); !m.SizeGiB.IsUnknown() && iops > most {
		errs = append(errs, base.AtAttribute(path.Root("iops"), fmt.Errorf(
			"a volume of %d GiB has at most %d IOPS (%d per GiB); reduce iops or increase size_gib", m.SizeGiB.ValueInt64(), most, maxIOPSPerGiB)))
	}
	if !m.IOPS.IsUnknown() && throughput*iopsPerThroughputMiB > iops {
		errs = append(errs, base.AtAttribute(path.Root("throughput_mibps"), fmt.Errorf(
			"%d MiB/s need %d IOPS (%d per MiB/s), but iops is %d; increase iops or reduce throughput_mibps", throughput, throughput*iopsPerThroughputMiB, iopsPerThroughputMiB, iops)))
	}
	return errs
}

// orBaseline returns the value, the baseline if it is null, or 0 if it is unknown,
// which passes every check.
func orBaseline(v types.Int64, baseline int64) int64 {
	if v.IsNull() {
		return baseline
	}
	return v.ValueInt64()
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
	return v.VolumeType != ec2types.VolumeTypeGp3 || int64(aws.ToInt32(v.Size)) != m.SizeGiB.ValueInt64() ||
		int64(aws.ToInt32(v.Iops)) != m.IOPS.ValueInt64() || int64(aws.ToInt32(v.Throughput)) != m.ThroughputMiBps.ValueInt64()
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

func int32Of(v types.Int64) *int32 { return aws.Int32(int32(v.ValueInt64())) } // validated
