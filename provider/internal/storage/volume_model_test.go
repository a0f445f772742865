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
	for _, tc := range []struct {
		size, iops, throughput types.Int64
		want                   string
	}{
		{number(1), null, null, ""},
		{number(1), number(3000), number(750), ""},
		{number(160), number(80000), number(2000), ""},
		{number(8), number(4000), number(1000), ""},
		{number(159), number(80000), null, "at most 79500 IOPS"},
		{number(5), number(3001), null, "at most 3000 IOPS"},
		{number(100), null, number(751), "751 MiB/s need 3004 IOPS"},
		{number(100), number(7999), number(2000), "2000 MiB/s need 8000 IOPS"},
		{unknown, number(80000), number(2000), ""},
		{number(1), unknown, number(2000), ""},
		{number(1), null, unknown, ""},
	} {
		m := volumeModel{SizeGiB: tc.size, IOPS: tc.iops, ThroughputMiBps: tc.throughput}
		errs := m.checkLimits()
		if tc.want == "" && len(errs) > 0 || tc.want != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), tc.want)) {
			t.Errorf("%s GiB, %s IOPS, %s MiB/s: %v, want %q", tc.size, tc.iops, tc.throughput, errs, tc.want)
		}
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
		if got := wanted.adoptable(volumes); got.ID != "vol-1" || want == "" && got.Conflict != "" || !strings.Contains(got.Conflict, want) {
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
