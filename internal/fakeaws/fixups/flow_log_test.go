package fixups_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func TestFlowLogsHaveAPrefixInTheirBucket(t *testing.T) {
	f := newFixture(t, fast)
	_, err := f.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("logs"),
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}})
	f.ok(err)
	for _, destination := range []string{"arn:aws:s3:::logs/network/vpc/", "arn:aws:s3:::logs"} {
		made, err := f.ec2.CreateFlowLogs(ctx, &ec2.CreateFlowLogsInput{ResourceIds: []string{*f.vpc}, ResourceType: types.FlowLogsResourceTypeVpc,
			TrafficType: types.TrafficTypeAll, LogDestinationType: types.LogDestinationTypeS3, LogDestination: &destination})
		f.ok(err)
		if len(made.Unsuccessful) > 0 {
			t.Fatalf("%s: %s", destination, *made.Unsuccessful[0].Error.Message)
		}
		out, err := f.ec2.DescribeFlowLogs(ctx, &ec2.DescribeFlowLogsInput{FlowLogIds: made.FlowLogIds})
		f.ok(err)
		if got := *out.FlowLogs[0].LogDestination; got != destination {
			t.Errorf("the destination is %s, want %s", got, destination)
		}
	}
}

func TestInstancesGetTheirIPv6AddressAtLaunch(t *testing.T) {
	for name, tc := range map[string]struct {
		configure func(*types.InstanceNetworkInterfaceSpecification, string)
		assign    bool // the subnet does
		want      int
	}{
		"an address": {func(i *types.InstanceNetworkInterfaceSpecification, cidr string) {
			i.Ipv6Addresses = []types.InstanceIpv6Address{{Ipv6Address: aws.String(cidr + "10")}}
		}, true, 1},
		"none":                          {func(*types.InstanceNetworkInterfaceSpecification, string) {}, false, 0},
		"that which the subnet assigns": {func(*types.InstanceNetworkInterfaceSpecification, string) {}, true, 1},
		"none of those that the subnet assigns": {func(i *types.InstanceNetworkInterfaceSpecification, _ string) {
			i.Ipv6AddressCount = aws.Int32(0)
		}, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, fast)
			vpc, err := f.ec2.AssociateVpcCidrBlock(ctx, &ec2.AssociateVpcCidrBlockInput{VpcId: f.vpc, AmazonProvidedIpv6CidrBlock: aws.Bool(true)})
			f.ok(err)
			cidr := *vpc.Ipv6CidrBlockAssociation.Ipv6CidrBlock
			cidr = cidr[:len(cidr)-len("/56")]
			_, err = f.ec2.AssociateSubnetCidrBlock(ctx, &ec2.AssociateSubnetCidrBlockInput{SubnetId: f.subnet, Ipv6CidrBlock: aws.String(cidr + "/64")})
			f.ok(err)
			_, err = f.ec2.ModifySubnetAttribute(ctx, &ec2.ModifySubnetAttributeInput{SubnetId: f.subnet, AssignIpv6AddressOnCreation: &types.AttributeBooleanValue{Value: &tc.assign}})
			f.ok(err)
			in := f.input("10.0.2.10")
			in.SubnetId, in.PrivateIpAddress, in.SecurityGroupIds = nil, nil, nil
			in.NetworkInterfaces = []types.InstanceNetworkInterfaceSpecification{{DeviceIndex: aws.Int32(0), SubnetId: f.subnet, PrivateIpAddress: aws.String("10.0.2.10"),
				Groups: []string{*f.securityID}}}
			tc.configure(&in.NetworkInterfaces[0], cidr)
			_, err = f.ec2.RunInstances(ctx, in)
			f.ok(err)
			got := f.instances()[0].NetworkInterfaces[0].Ipv6Addresses
			if len(got) != tc.want || name == "an address" && *got[0].Ipv6Address != cidr+"10" {
				t.Errorf("the IPv6 addresses are %v", got)
			}
		})
	}
}
