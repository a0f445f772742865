package permit_test

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// change is a call that changes existing resources of somebody.
type change struct {
	name string
	call func(context.Context, clients, resources) error
}

func tagged(kind types.ResourceType, tag, value string) types.TagSpecification {
	return types.TagSpecification{ResourceType: kind, Tags: []types.Tag{{Key: &tag, Value: &value}}}
}

var ssh = []types.IpPermission{{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}}}

// changesOfBuilds are in an order in which all can succeed.
var changesOfBuilds = []change{
	{"open a security group", func(ctx context.Context, c clients, r resources) error {
		_, err := c.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: r.group, IpPermissions: ssh})
		return err
	}},
	{"copy an instance to an image", func(ctx context.Context, c clients, r resources) error {
		_, err := c.ec2.CreateImage(ctx, &ec2.CreateImageInput{InstanceId: r.instance, Name: aws.String("copy"), TagSpecifications: []types.TagSpecification{
			tagged(types.ResourceTypeImage, "xeroops:build", "1"), tagged(types.ResourceTypeSnapshot, "xeroops:build", "1")}})
		return err
	}},
	{"share an image", func(ctx context.Context, c clients, r resources) error {
		_, err := c.ec2.ModifyImageAttribute(ctx, &ec2.ModifyImageAttributeInput{ImageId: r.image, LaunchPermission: &types.LaunchPermissionModifications{
			Add: []types.LaunchPermission{{UserId: aws.String("999999999999")}}}})
		return err
	}},
	{"share a snapshot", func(ctx context.Context, c clients, r resources) error {
		_, err := c.ec2.ModifySnapshotAttribute(ctx, &ec2.ModifySnapshotAttributeInput{SnapshotId: r.snapshot, Attribute: types.SnapshotAttributeNameCreateVolumePermission,
			OperationType: types.OperationTypeAdd, UserIds: []string{"999999999999"}})
		return err
	}},
	{"deprecate an image", func(ctx context.Context, c clients, r resources) error {
		_, err := c.ec2.EnableImageDeprecation(ctx, &ec2.EnableImageDeprecationInput{ImageId: r.image, DeprecateAt: aws.Time(time.Now().Add(time.Hour))})
		return err
	}},
	{"deregister an image", func(ctx context.Context, c clients, r resources) error {
		_, err := c.ec2.DeregisterImage(ctx, &ec2.DeregisterImageInput{ImageId: r.image})
		return err
	}},
	{"delete a snapshot", func(ctx context.Context, c clients, r resources) error {
		_, err := c.ec2.DeleteSnapshot(ctx, &ec2.DeleteSnapshotInput{SnapshotId: r.snapshot})
		return err
	}},
	{"stop an instance", func(ctx context.Context, c clients, r resources) error {
		_, err := c.ec2.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: []string{*r.instance}})
		return err
	}},
	{"terminate an instance", func(ctx context.Context, c clients, r resources) error {
		_, err := c.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{*r.instance}})
		return err
	}},
}

var changesOfApplies = []change{
	{"open a security group", changesOfBuilds[0].call},
	{"open a security group outwards", func(ctx context.Context, c clients, r resources) error {
		_, err := c.ec2.AuthorizeSecurityGroupEgress(ctx, &ec2.AuthorizeSecurityGroupEgressInput{GroupId: r.group, IpPermissions: ssh})
		return err
	}},
	{"change the groups of an interface", func(ctx context.Context, c clients, r resources) error {
		_, err := c.ec2.ModifyNetworkInterfaceAttribute(ctx, &ec2.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: r.eni, Groups: []string{*r.group}})
		return err
	}},
	{"route elsewhere", func(ctx context.Context, c clients, r resources) error {
		_, err := c.ec2.CreateRoute(ctx, &ec2.CreateRouteInput{RouteTableId: r.table, DestinationCidrBlock: aws.String("10.100.0.0/16"), NetworkInterfaceId: r.eni})
		return err
	}},
	{"delete a route", func(ctx context.Context, c clients, r resources) error {
		_, err := c.ec2.DeleteRoute(ctx, &ec2.DeleteRouteInput{RouteTableId: r.table, DestinationCidrBlock: aws.String("10.100.0.0/16")})
		return err
	}},
	{"disconnect a subnet", func(ctx context.Context, c clients, r resources) error {
		_, err := c.ec2.DisassociateRouteTable(ctx, &ec2.DisassociateRouteTableInput{AssociationId: r.association})
		return err
	}},
	{"connect a VPC to the internet", func(ctx context.Context, c clients, r resources) error {
		_, err := c.ec2.AttachInternetGateway(ctx, &ec2.AttachInternetGatewayInput{InternetGatewayId: r.gateway, VpcId: r.vpc})
		return err
	}},
	{"limit a VPC's way to S3", func(ctx context.Context, c clients, r resources) error {
		_, err := c.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcId: r.vpc, RouteTableIds: []string{*r.table}, VpcEndpointType: types.VpcEndpointTypeGateway,
			ServiceName: aws.String("com.amazonaws.eu-west-1.s3"), TagSpecifications: []types.TagSpecification{tagged(types.ResourceTypeVpcEndpoint, "xeroops:managed-by", "terraform")}})
		return err
	}},
	{"give public addresses", func(ctx context.Context, c clients, r resources) error {
		_, err := c.ec2.ModifySubnetAttribute(ctx, &ec2.ModifySubnetAttributeInput{SubnetId: r.subnet, MapPublicIpOnLaunch: &types.AttributeBooleanValue{Value: aws.Bool(true)}})
		return err
	}},
	{"take DNS from a VPC", func(ctx context.Context, c clients, r resources) error {
		_, err := c.ec2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{VpcId: r.vpc, EnableDnsHostnames: &types.AttributeBooleanValue{Value: aws.Bool(false)}})
		return err
	}},
	{"associate an address", func(ctx context.Context, c clients, r resources) error {
		_, err := c.ec2.AssociateAddress(ctx, &ec2.AssociateAddressInput{AllocationId: r.address, InstanceId: r.instance})
		return err
	}},
	{"attach a volume", func(ctx context.Context, c clients, r resources) error {
		_, err := c.ec2.AttachVolume(ctx, &ec2.AttachVolumeInput{VolumeId: r.volume, InstanceId: r.instance, Device: aws.String("/dev/sdf")})
		return err
	}},
	{"copy a volume", func(ctx context.Context, c clients, r resources) error {
		_, err := c.ec2.CreateSnapshot(ctx, &ec2.CreateSnapshotInput{VolumeId: r.volume, TagSpecifications: []types.TagSpecification{tagged(types.ResourceTypeSnapshot, "xeroops:managed-by", "terraform")}})
		return err
	}},
	{"detach a volume", func(ctx context.Context, c clients, r resources) error {
		_, err := c.ec2.DetachVolume(ctx, &ec2.DetachVolumeInput{VolumeId: r.volume})
		return err
	}},
	{"change a volume", func(ctx context.Context, c clients, r resources) error {
		_, err := c.ec2.ModifyVolume(ctx, &ec2.ModifyVolumeInput{VolumeId: r.volume, Size: aws.Int32(6)})
		return err
	}},
	{"lift a protection", func(ctx context.Context, c clients, r resources) error {
		_, err := c.ec2.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: r.instance, DisableApiTermination: &types.AttributeBooleanValue{Value: aws.Bool(false)}})
		return err
	}},
	{"allow IMDSv1", func(ctx context.Context, c clients, r resources) error {
		_, err := c.ec2.ModifyInstanceMetadataOptions(ctx, &ec2.ModifyInstanceMetadataOptionsInput{InstanceId: r.instance, HttpTokens: types.HttpTokensStateOptional})
		return err
	}},
	{"tag it as ours", func(ctx context.Context, c clients, r resources) error {
		_, err := c.ec2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{*r.instance}, Tags: []types.Tag{{Key: aws.String("xeroops:managed-by"), Value: aws.String("terraform")}}})
		return err
	}},
	{"terminate an instance", func(ctx context.Context, c clients, r resources) error {
		_, err := c.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{*r.instance}})
		return err
	}},
}
