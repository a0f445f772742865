package fixups_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
)

func TestPlacementIsThatOfTheLaunchUntilItChanges(t *testing.T) {
	f := newFixture(t, fixups.Options{PendingFor: time.Nanosecond, StoppingFor: time.Nanosecond})
	for name, strategy := range map[string]types.PlacementStrategy{"spread": types.PlacementStrategySpread, "cluster": types.PlacementStrategyCluster} {
		_, err := f.ec2.CreatePlacementGroup(ctx, &ec2.CreatePlacementGroupInput{GroupName: &name, Strategy: strategy})
		f.ok(err)
	}
	out, err := f.ec2.DescribePlacementGroups(ctx, &ec2.DescribePlacementGroupsInput{Filters: []types.Filter{{Name: aws.String("group-name"), Values: []string{"spread", "none"}}}})
	f.ok(err)
	if got := out.PlacementGroups; len(got) != 1 || *got[0].GroupName != "spread" || got[0].Strategy != types.PlacementStrategySpread {
		t.Fatalf("the groups are %v", got)
	}
	in := f.input("10.0.2.10")
	in.Placement = &types.Placement{GroupName: aws.String("unknown")}
	_, err = f.ec2.RunInstances(ctx, in)
	f.refused(err, "InvalidPlacementGroup.Unknown")
	in.Placement = &types.Placement{GroupName: aws.String("spread"), Tenancy: types.TenancyDedicated}
	_, err = f.ec2.RunInstances(ctx, in)
	f.refused(err, "InvalidParameterCombination")
	in.Placement = &types.Placement{GroupName: aws.String("cluster"), Tenancy: types.TenancyDedicated}
	_, err = f.ec2.RunInstances(ctx, in)
	f.ok(err)
	expect := func(group string, tenancy types.Tenancy) {
		t.Helper()
		if got := f.instances()[0].Placement; aws.ToString(got.GroupName) != group || got.Tenancy != tenancy || *got.AvailabilityZone == "" {
			t.Errorf("the placement is %q, %s, %s", aws.ToString(got.GroupName), got.Tenancy, aws.ToString(got.AvailabilityZone))
		}
	}
	expect("cluster", types.TenancyDedicated)
	id := f.instances()[0].InstanceId
	change := &ec2.ModifyInstancePlacementInput{InstanceId: id, Tenancy: types.HostTenancyDefault}
	_, err = f.ec2.ModifyInstancePlacement(ctx, change)
	f.refused(err, "IncorrectInstanceState")
	_, err = f.ec2.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: []string{*id}})
	f.ok(err)
	f.instances() // stopping becomes stopped
	_, err = f.ec2.ModifyInstancePlacement(ctx, change)
	f.ok(err)
	expect("cluster", types.TenancyDefault)
	for _, group := range []string{"spread", ""} {
		_, err = f.ec2.ModifyInstancePlacement(ctx, &ec2.ModifyInstancePlacementInput{InstanceId: id, GroupName: &group})
		f.ok(err)
		expect(group, types.TenancyDefault)
	}
}

func TestRootVolumesHaveThePerformanceOfTheLaunch(t *testing.T) {
	f := newFixture(t, fast)
	in := f.input("10.0.2.10")
	in.BlockDeviceMappings = []types.BlockDeviceMapping{{DeviceName: aws.String("/dev/xvda"), Ebs: &types.EbsBlockDevice{
		VolumeType: types.VolumeTypeGp3, VolumeSize: aws.Int32(16), Iops: aws.Int32(6000), Throughput: aws.Int32(500)}}}
	_, err := f.ec2.RunInstances(ctx, in)
	f.ok(err)
	out, err := f.ec2.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{VolumeIds: []string{*f.instances()[0].BlockDeviceMappings[0].Ebs.VolumeId}})
	f.ok(err)
	if v := out.Volumes[0]; aws.ToInt32(v.Iops) != 6000 || aws.ToInt32(v.Throughput) != 500 {
		t.Errorf("the root volume has %d IOPS and %d MiB/s", aws.ToInt32(v.Iops), aws.ToInt32(v.Throughput))
	}
}
