package fixups_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
)

func TestInvalidAddressesAreRejected(t *testing.T) {
	f := newFixture(t, fast)
	id := f.run("10.0.2.10")
	for address, code := range map[string]string{
		"10.0.2.10": "InvalidIPAddress.InUse", "10.0.3.10": "InvalidParameterValue", "10.0.2.3": "InvalidParameterValue",
		"10.0.2.255": "InvalidParameterValue", "nonsense": "InvalidParameterValue",
	} {
		_, err := f.ec2.RunInstances(ctx, f.input(address))
		f.refused(err, code)
	}
	f.terminate(id)
	f.run("10.0.2.10") // the address is free again
}

func TestAddressOfATerminatedInstanceStaysInUseForAWhile(t *testing.T) {
	f := newFixture(t, fixups.Options{PendingFor: time.Nanosecond, AddressKeptFor: time.Hour})
	f.terminate(f.run("10.0.2.10"))
	_, err := f.ec2.RunInstances(ctx, f.input("10.0.2.10"))
	f.refused(err, "InvalidIPAddress.InUse")
	f.run("10.0.2.11")
	f = newFront(t, f, fixups.Options{PendingFor: time.Nanosecond, AddressKeptFor: shortDelay})
	f.terminate(f.run("10.0.2.12"))
	f.eventually("the address is free", func() bool {
		_, err := f.ec2.RunInstances(ctx, f.input("10.0.2.12"))
		return err == nil
	})
}

func TestUnknownGroupImageOrSubnetIsRejected(t *testing.T) {
	f := newFixture(t, fast)
	in := f.input("10.0.2.10")
	in.SecurityGroupIds = []string{"sg-0123456789abcdef0"}
	_, err := f.ec2.RunInstances(ctx, in)
	f.refused(err, "InvalidGroup.NotFound")
	in = f.input("10.0.2.10")
	in.ImageId = aws.String("ami-0123456789abcdef0")
	_, err = f.ec2.RunInstances(ctx, in)
	f.refused(err, "InvalidAMIID.NotFound")
	in = f.input("10.0.2.10")
	in.SubnetId = aws.String("subnet-0123456789abcdef0")
	_, err = f.ec2.RunInstances(ctx, in)
	f.refused(err, "InvalidSubnetID.NotFound")
}

func TestInstanceShowsItsGroupsAndItsInterfaceIsDeletedWithIt(t *testing.T) {
	f := newFixture(t, fast)
	id := f.run("10.0.2.10")
	i := f.instances()[0]
	if len(i.SecurityGroups) != 1 || *i.SecurityGroups[0].GroupId != *f.securityID {
		t.Errorf("groups of the instance: %+v", i.SecurityGroups)
	}
	f.terminate(id)
	out, err := f.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{})
	f.ok(err)
	if len(out.NetworkInterfaces) > 0 {
		t.Errorf("%d interfaces are left of a terminated instance", len(out.NetworkInterfaces))
	}
}

func TestTerminationProtectionAtLaunch(t *testing.T) {
	f := newFixture(t, fast)
	in := f.input("10.0.2.10")
	in.DisableApiTermination = aws.Bool(true)
	out, err := f.ec2.RunInstances(ctx, in)
	f.ok(err)
	_, err = f.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{*out.Instances[0].InstanceId}})
	f.refused(err, "OperationNotPermitted")
}

func TestTagsOfTheInterfaceAtLaunch(t *testing.T) {
	f := newFixture(t, fast)
	in := f.input("10.0.2.10")
	in.TagSpecifications = []types.TagSpecification{{ResourceType: types.ResourceTypeNetworkInterface, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("core")}}}}
	_, err := f.ec2.RunInstances(t.Context(), in)
	f.ok(err)
	out, err := f.ec2.DescribeNetworkInterfaces(t.Context(), &ec2.DescribeNetworkInterfacesInput{Filters: []types.Filter{filter("private-ip-address", "10.0.2.10")}})
	f.ok(err)
	if len(out.NetworkInterfaces) != 1 || len(out.NetworkInterfaces[0].TagSet) != 1 {
		t.Errorf("interfaces: %+v", out.NetworkInterfaces)
	}
}
