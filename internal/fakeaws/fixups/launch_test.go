package fixups_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

func TestAddressesThatAWSRefusesAreRefused(t *testing.T) {
	w := newWorld(t, fast)
	id := w.run("10.0.2.10")
	for address, code := range map[string]string{
		"10.0.2.10": "InvalidIPAddress.InUse", "10.0.3.10": "InvalidParameterValue", "10.0.2.3": "InvalidParameterValue",
		"10.0.2.255": "InvalidParameterValue", "nonsense": "InvalidParameterValue",
	} {
		_, err := w.ec2.RunInstances(ctx, w.input(address))
		w.refused(err, code)
	}
	w.terminate(id)
	w.run("10.0.2.10") // it is free again
}

func TestAnUnknownGroupImageOrSubnetIsRefused(t *testing.T) {
	w := newWorld(t, fast)
	in := w.input("10.0.2.10")
	in.SecurityGroupIds = []string{"sg-0123456789abcdef0"}
	_, err := w.ec2.RunInstances(ctx, in)
	w.refused(err, "InvalidGroup.NotFound")
	in = w.input("10.0.2.10")
	in.ImageId = aws.String("ami-0123456789abcdef0")
	_, err = w.ec2.RunInstances(ctx, in)
	w.refused(err, "InvalidAMIID.NotFound")
	in = w.input("10.0.2.10")
	in.SubnetId = aws.String("subnet-0123456789abcdef0")
	_, err = w.ec2.RunInstances(ctx, in)
	w.refused(err, "InvalidSubnetID.NotFound")
}

func TestAnInstanceShowsItsGroupsAndItsInterfaceGoesWithIt(t *testing.T) {
	w := newWorld(t, fast)
	id := w.run("10.0.2.10")
	i := w.instances()[0]
	if len(i.SecurityGroups) != 1 || *i.SecurityGroups[0].GroupId != *w.securityID {
		t.Errorf("groups of the instance: %+v", i.SecurityGroups)
	}
	w.terminate(id)
	out, err := w.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{})
	w.ok(err)
	if len(out.NetworkInterfaces) > 0 {
		t.Errorf("%d interfaces are left of a terminated instance", len(out.NetworkInterfaces))
	}
}

func TestTerminationProtectionAtLaunchProtects(t *testing.T) {
	w := newWorld(t, fast)
	in := w.input("10.0.2.10")
	in.DisableApiTermination = aws.Bool(true)
	out, err := w.ec2.RunInstances(ctx, in)
	w.ok(err)
	_, err = w.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{*out.Instances[0].InstanceId}})
	w.refused(err, "OperationNotPermitted")
}
