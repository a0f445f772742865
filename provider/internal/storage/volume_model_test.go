package storage

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

func TestVolumeLimits(t *testing.T) {
	null, unknown := types.Int64Null(), types.Int64Unknown()
	number := types.Int64Value
	gp3, io2 := types.StringValue("gp3"), types.StringValue("io2")
	for _, tc := range []struct {
		kind                   types.String
		size, iops, throughput types.Int64
		want                   string
	}{
		{types.StringNull(), number(1), null, null, ""},
		{gp3, number(1), number(3000), number(750), ""},
		{gp3, number(160), number(80000), number(2000), ""},
		{gp3, number(8), number(4000), number(1000), ""},
		{gp3, number(159), number(80000), null, "at most 79500 IOPS"},
		{gp3, number(5), number(3001), null, "at most 3000 IOPS"},
		{gp3, number(5), number(2999), null, "between 3000 and 80000 IOPS"},
		{gp3, number(500), number(80001), null, "between 3000 and 80000 IOPS"},
		{gp3, number(100), null, number(751), "751 MiB/s need 3004 IOPS"},
		{gp3, number(100), null, number(124), "between 125 and 2000 MiB/s"},
		{gp3, number(100), number(7999), number(2000), "2000 MiB/s need 8000 IOPS"},
		{gp3, unknown, number(80000), number(2000), ""},
		{gp3, number(1), unknown, number(2000), ""},
		{gp3, number(1), null, unknown, ""},
		{io2, number(4), number(4000), null, ""},
		{io2, number(256), number(256000), null, ""},
		{io2, number(65536), number(100), null, ""},
		{io2, number(3), number(1000), null, "has 4 to 65536 GiB"},
		{io2, number(4), number(4001), null, "at most 4000 IOPS"},
		{io2, number(1000), number(256001), null, "between 100 and 256000 IOPS"},
		{io2, number(10), number(99), null, "between 100 and 256000 IOPS"},
		{io2, number(10), null, null, "needs iops"},
		{io2, number(10), unknown, null, ""},
		{io2, number(10), number(3000), number(125), "remove throughput_mibps"},
		{types.StringUnknown(), number(1), number(256000), number(125), ""},
	} {
		m := volumeModel{Type: tc.kind, SizeGiB: tc.size, IOPS: tc.iops, ThroughputMiBps: tc.throughput}
		errs := m.checkLimits()
		if tc.want == "" && len(errs) > 0 || tc.want != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), tc.want)) {
			t.Errorf("%s, %s GiB, %s IOPS, %s MiB/s: %v, want %q", tc.kind, tc.size, tc.iops, tc.throughput, errs, tc.want)
		}
	}
}

func TestDefaultsOfUnconfiguredPerformance(t *testing.T) {
	for _, tc := range []struct {
		kind             types.String
		iops, throughput types.Int64
	}{
		{types.StringNull(), types.Int64Value(3000), types.Int64Value(125)},
		{types.StringValue("io2"), types.Int64Null(), types.Int64Null()},
		{types.StringUnknown(), types.Int64Unknown(), types.Int64Unknown()},
	} {
		iops, throughput := (&volumeModel{Type: tc.kind}).defaults()
		if !iops.Equal(tc.iops) || !throughput.Equal(tc.throughput) {
			t.Errorf("%s: %s IOPS, %s MiB/s", tc.kind, iops, throughput)
		}
	}
}

func TestModificationUnderWayIsRecognized(t *testing.T) {
	m := (&volumeModel{Type: types.StringValue("io2"), SizeGiB: types.Int64Value(20), IOPS: types.Int64Value(5000), ThroughputMiBps: types.Int64Null()}).modification()
	latest := ec2types.VolumeModification{TargetVolumeType: ec2types.VolumeTypeIo2, TargetSize: aws.Int32(20), TargetIops: aws.Int32(5000), TargetThroughput: aws.Int32(0)}
	if !m.isTargetOf(latest) {
		t.Error("the modification is not recognized")
	}
	latest.ModificationState = ec2types.VolumeModificationStateFailed
	if m.isTargetOf(latest) {
		t.Error("a failed modification counts")
	}
	latest.ModificationState, latest.TargetIops = "", aws.Int32(4000)
	if m.isTargetOf(latest) {
		t.Error("one to other IOPS counts")
	}
}

func TestCheckShrink(t *testing.T) {
	zoneA, zoneB := types.StringValue("eu-west-1a"), types.StringValue("eu-west-1b")
	state := volumeModel{ID: types.StringValue("vol-1"), SizeGiB: types.Int64Value(40), AvailabilityZone: zoneA}
	for size, want := range map[int64]bool{39: true, 40: false, 41: false} {
		m := volumeModel{SizeGiB: types.Int64Value(size), AvailabilityZone: zoneA}
		if err := m.checkShrink(state); (err != nil) != want {
			t.Errorf("to %d GiB: %v", size, err)
		}
	}
	elsewhere := volumeModel{SizeGiB: types.Int64Value(10), AvailabilityZone: zoneB}
	if err := elsewhere.checkShrink(state); err != nil {
		t.Errorf("a new volume in another zone: %v", err)
	}
	if err := elsewhere.checkShrink(volumeModel{}); err != nil {
		t.Errorf("without a volume so far: %v", err)
	}
}

func TestAdoptableVolumes(t *testing.T) {
	wanted := volumeModel{SizeGiB: types.Int64Value(20), AvailabilityZone: types.StringValue("eu-west-1a"), SnapshotID: types.StringUnknown()}
	fits := func(change func(*ec2types.Volume)) []ec2types.Volume {
		v := ec2types.Volume{VolumeId: aws.String("vol-1"), Size: aws.Int32(20), AvailabilityZone: aws.String("eu-west-1a"), Encrypted: aws.Bool(true)}
		change(&v)
		return []ec2types.Volume{v}
	}
	for want, volumes := range map[string][]ec2types.Volume{
		"": fits(func(v *ec2types.Volume) { v.Size = aws.Int32(10) }),
		"attached to i-1 as /dev/xvdf": fits(func(v *ec2types.Volume) {
			v.Attachments = []ec2types.VolumeAttachment{{InstanceId: aws.String("i-1"), Device: aws.String("/dev/xvdf"), State: ec2types.VolumeAttachmentStateAttached}}
		}),
		"eu-west-1b":               fits(func(v *ec2types.Volume) { v.AvailabilityZone = aws.String("eu-west-1b") }),
		"30 GiB":                   fits(func(v *ec2types.Volume) { v.Size = aws.Int32(30) }),
		"not encrypted":            fits(func(v *ec2types.Volume) { v.Encrypted = nil }),
		"2 volumes have this name": append(fits(func(*ec2types.Volume) {}), fits(func(*ec2types.Volume) {})...),
	} {
		if got := wanted.adoptable(volumes); got.ID != "vol-1" || want == "" && got.Conflict+got.InUse != "" || !strings.Contains(got.Conflict+got.InUse, want) {
			t.Errorf("got %+v, want %q", got, want)
		}
	}
	if wanted.adoptable(nil) != nil {
		t.Error("there is none")
	}
}

func TestSetIDLeavesNothingUnknown(t *testing.T) {
	m := volumeModel{ARN: types.StringUnknown(), KMSKeyID: types.StringUnknown(), SnapshotID: types.StringValue("snap-1")}
	m.setID("vol-1")
	if m.ARN.IsUnknown() || m.KMSKeyID.IsUnknown() || m.SnapshotID.ValueString() != "snap-1" {
		t.Errorf("%+v", m)
	}
}
