package awsclient

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// ec2Call is the type of an EC2 API call.
type ec2Call[In, Out any] func(context.Context, *In, ...func(*ec2.Options)) (*Out, error)

// EC2 has the EC2 calls that this project makes, with the names and signatures of
// the SDK's client. It does not embed that client, because the linker keeps all
// methods of a type that is converted to an interface, and EC2 has over seven
// hundred: a fifth of the provider's size. Add a call here if it is needed.
type EC2 struct {
	AllocateAddress                        ec2Call[ec2.AllocateAddressInput, ec2.AllocateAddressOutput]
	AssignIpv6Addresses                    ec2Call[ec2.AssignIpv6AddressesInput, ec2.AssignIpv6AddressesOutput]
	AssociateAddress                       ec2Call[ec2.AssociateAddressInput, ec2.AssociateAddressOutput]
	AssociateIamInstanceProfile            ec2Call[ec2.AssociateIamInstanceProfileInput, ec2.AssociateIamInstanceProfileOutput]
	AssociateRouteTable                    ec2Call[ec2.AssociateRouteTableInput, ec2.AssociateRouteTableOutput]
	AssociateSubnetCidrBlock               ec2Call[ec2.AssociateSubnetCidrBlockInput, ec2.AssociateSubnetCidrBlockOutput]
	AssociateVpcCidrBlock                  ec2Call[ec2.AssociateVpcCidrBlockInput, ec2.AssociateVpcCidrBlockOutput]
	AttachInternetGateway                  ec2Call[ec2.AttachInternetGatewayInput, ec2.AttachInternetGatewayOutput]
	AttachVolume                           ec2Call[ec2.AttachVolumeInput, ec2.AttachVolumeOutput]
	AuthorizeSecurityGroupEgress           ec2Call[ec2.AuthorizeSecurityGroupEgressInput, ec2.AuthorizeSecurityGroupEgressOutput]
	AuthorizeSecurityGroupIngress          ec2Call[ec2.AuthorizeSecurityGroupIngressInput, ec2.AuthorizeSecurityGroupIngressOutput]
	CopyImage                              ec2Call[ec2.CopyImageInput, ec2.CopyImageOutput]
	CreateFlowLogs                         ec2Call[ec2.CreateFlowLogsInput, ec2.CreateFlowLogsOutput]
	CreateImage                            ec2Call[ec2.CreateImageInput, ec2.CreateImageOutput]
	CreateInstanceConnectEndpoint          ec2Call[ec2.CreateInstanceConnectEndpointInput, ec2.CreateInstanceConnectEndpointOutput]
	CreateInternetGateway                  ec2Call[ec2.CreateInternetGatewayInput, ec2.CreateInternetGatewayOutput]
	CreateRoute                            ec2Call[ec2.CreateRouteInput, ec2.CreateRouteOutput]
	CreateRouteTable                       ec2Call[ec2.CreateRouteTableInput, ec2.CreateRouteTableOutput]
	CreateSecurityGroup                    ec2Call[ec2.CreateSecurityGroupInput, ec2.CreateSecurityGroupOutput]
	CreateSnapshot                         ec2Call[ec2.CreateSnapshotInput, ec2.CreateSnapshotOutput]
	CreateSubnet                           ec2Call[ec2.CreateSubnetInput, ec2.CreateSubnetOutput]
	CreateTags                             ec2Call[ec2.CreateTagsInput, ec2.CreateTagsOutput]
	CreateVolume                           ec2Call[ec2.CreateVolumeInput, ec2.CreateVolumeOutput]
	CreateVpc                              ec2Call[ec2.CreateVpcInput, ec2.CreateVpcOutput]
	CreateVpcEndpoint                      ec2Call[ec2.CreateVpcEndpointInput, ec2.CreateVpcEndpointOutput]
	DeleteFlowLogs                         ec2Call[ec2.DeleteFlowLogsInput, ec2.DeleteFlowLogsOutput]
	DeleteInstanceConnectEndpoint          ec2Call[ec2.DeleteInstanceConnectEndpointInput, ec2.DeleteInstanceConnectEndpointOutput]
	DeleteInternetGateway                  ec2Call[ec2.DeleteInternetGatewayInput, ec2.DeleteInternetGatewayOutput]
	DeleteKeyPair                          ec2Call[ec2.DeleteKeyPairInput, ec2.DeleteKeyPairOutput]
	DeleteRoute                            ec2Call[ec2.DeleteRouteInput, ec2.DeleteRouteOutput]
	DeleteRouteTable                       ec2Call[ec2.DeleteRouteTableInput, ec2.DeleteRouteTableOutput]
	DeleteSecurityGroup                    ec2Call[ec2.DeleteSecurityGroupInput, ec2.DeleteSecurityGroupOutput]
	DeleteSnapshot                         ec2Call[ec2.DeleteSnapshotInput, ec2.DeleteSnapshotOutput]
	DeleteSubnet                           ec2Call[ec2.DeleteSubnetInput, ec2.DeleteSubnetOutput]
	DeleteTags                             ec2Call[ec2.DeleteTagsInput, ec2.DeleteTagsOutput]
	DeleteVolume                           ec2Call[ec2.DeleteVolumeInput, ec2.DeleteVolumeOutput]
	DeleteVpc                              ec2Call[ec2.DeleteVpcInput, ec2.DeleteVpcOutput]
	DeleteVpcEndpoints                     ec2Call[ec2.DeleteVpcEndpointsInput, ec2.DeleteVpcEndpointsOutput]
	DeregisterImage                        ec2Call[ec2.DeregisterImageInput, ec2.DeregisterImageOutput]
	DescribeAddresses                      ec2Call[ec2.DescribeAddressesInput, ec2.DescribeAddressesOutput]
	DescribeAvailabilityZones              ec2Call[ec2.DescribeAvailabilityZonesInput, ec2.DescribeAvailabilityZonesOutput]
	DescribeFlowLogs                       ec2Call[ec2.DescribeFlowLogsInput, ec2.DescribeFlowLogsOutput]
	DescribeIamInstanceProfileAssociations ec2Call[ec2.DescribeIamInstanceProfileAssociationsInput, ec2.DescribeIamInstanceProfileAssociationsOutput]
	DescribeInstanceAttribute              ec2Call[ec2.DescribeInstanceAttributeInput, ec2.DescribeInstanceAttributeOutput]
	DescribeInstanceConnectEndpoints       ec2Call[ec2.DescribeInstanceConnectEndpointsInput, ec2.DescribeInstanceConnectEndpointsOutput]
	DescribeInstanceCreditSpecifications   ec2Call[ec2.DescribeInstanceCreditSpecificationsInput, ec2.DescribeInstanceCreditSpecificationsOutput]
	DescribeInstanceTypes                  ec2Call[ec2.DescribeInstanceTypesInput, ec2.DescribeInstanceTypesOutput]
	DescribeInternetGateways               ec2Call[ec2.DescribeInternetGatewaysInput, ec2.DescribeInternetGatewaysOutput]
	DescribeManagedPrefixLists             ec2Call[ec2.DescribeManagedPrefixListsInput, ec2.DescribeManagedPrefixListsOutput]
	DescribePlacementGroups                ec2Call[ec2.DescribePlacementGroupsInput, ec2.DescribePlacementGroupsOutput]
	DescribeVolumesModifications           ec2Call[ec2.DescribeVolumesModificationsInput, ec2.DescribeVolumesModificationsOutput]
	DescribeVpcAttribute                   ec2Call[ec2.DescribeVpcAttributeInput, ec2.DescribeVpcAttributeOutput]
	DescribeVpcs                           ec2Call[ec2.DescribeVpcsInput, ec2.DescribeVpcsOutput]
	DetachInternetGateway                  ec2Call[ec2.DetachInternetGatewayInput, ec2.DetachInternetGatewayOutput]
	DetachVolume                           ec2Call[ec2.DetachVolumeInput, ec2.DetachVolumeOutput]
	DisassociateAddress                    ec2Call[ec2.DisassociateAddressInput, ec2.DisassociateAddressOutput]
	DisassociateRouteTable                 ec2Call[ec2.DisassociateRouteTableInput, ec2.DisassociateRouteTableOutput]
	DisassociateSubnetCidrBlock            ec2Call[ec2.DisassociateSubnetCidrBlockInput, ec2.DisassociateSubnetCidrBlockOutput]
	DisassociateVpcCidrBlock               ec2Call[ec2.DisassociateVpcCidrBlockInput, ec2.DisassociateVpcCidrBlockOutput]
	EnableImageDeprecation                 ec2Call[ec2.EnableImageDeprecationInput, ec2.EnableImageDeprecationOutput]
	GetEbsDefaultKmsKeyId                  ec2Call[ec2.GetEbsDefaultKmsKeyIdInput, ec2.GetEbsDefaultKmsKeyIdOutput]
	GetEbsEncryptionByDefault              ec2Call[ec2.GetEbsEncryptionByDefaultInput, ec2.GetEbsEncryptionByDefaultOutput]
	ImportKeyPair                          ec2Call[ec2.ImportKeyPairInput, ec2.ImportKeyPairOutput]
	ModifyImageAttribute                   ec2Call[ec2.ModifyImageAttributeInput, ec2.ModifyImageAttributeOutput]
	ModifyInstanceAttribute                ec2Call[ec2.ModifyInstanceAttributeInput, ec2.ModifyInstanceAttributeOutput]
	ModifyInstanceCreditSpecification      ec2Call[ec2.ModifyInstanceCreditSpecificationInput, ec2.ModifyInstanceCreditSpecificationOutput]
	ModifyInstanceMetadataOptions          ec2Call[ec2.ModifyInstanceMetadataOptionsInput, ec2.ModifyInstanceMetadataOptionsOutput]
	ModifyInstancePlacement                ec2Call[ec2.ModifyInstancePlacementInput, ec2.ModifyInstancePlacementOutput]
	ModifyNetworkInterfaceAttribute        ec2Call[ec2.ModifyNetworkInterfaceAttributeInput, ec2.ModifyNetworkInterfaceAttributeOutput]
	ModifySnapshotAttribute                ec2Call[ec2.ModifySnapshotAttributeInput, ec2.ModifySnapshotAttributeOutput]
	ModifySubnetAttribute                  ec2Call[ec2.ModifySubnetAttributeInput, ec2.ModifySubnetAttributeOutput]
	ModifyVolume                           ec2Call[ec2.ModifyVolumeInput, ec2.ModifyVolumeOutput]
	ModifyVpcAttribute                     ec2Call[ec2.ModifyVpcAttributeInput, ec2.ModifyVpcAttributeOutput]
	ModifyVpcEndpoint                      ec2Call[ec2.ModifyVpcEndpointInput, ec2.ModifyVpcEndpointOutput]
	MonitorInstances                       ec2Call[ec2.MonitorInstancesInput, ec2.MonitorInstancesOutput]
	ReleaseAddress                         ec2Call[ec2.ReleaseAddressInput, ec2.ReleaseAddressOutput]
	ReplaceIamInstanceProfileAssociation   ec2Call[ec2.ReplaceIamInstanceProfileAssociationInput, ec2.ReplaceIamInstanceProfileAssociationOutput]
	ReplaceRoute                           ec2Call[ec2.ReplaceRouteInput, ec2.ReplaceRouteOutput]
	ReplaceRouteTableAssociation           ec2Call[ec2.ReplaceRouteTableAssociationInput, ec2.ReplaceRouteTableAssociationOutput]
	RevokeSecurityGroupEgress              ec2Call[ec2.RevokeSecurityGroupEgressInput, ec2.RevokeSecurityGroupEgressOutput]
	RevokeSecurityGroupIngress             ec2Call[ec2.RevokeSecurityGroupIngressInput, ec2.RevokeSecurityGroupIngressOutput]
	RunInstances                           ec2Call[ec2.RunInstancesInput, ec2.RunInstancesOutput]
	StartInstances                         ec2Call[ec2.StartInstancesInput, ec2.StartInstancesOutput]
	StopInstances                          ec2Call[ec2.StopInstancesInput, ec2.StopInstancesOutput]
	TerminateInstances                     ec2Call[ec2.TerminateInstancesInput, ec2.TerminateInstancesOutput]
	UnassignIpv6Addresses                  ec2Call[ec2.UnassignIpv6AddressesInput, ec2.UnassignIpv6AddressesOutput]
	UnmonitorInstances                     ec2Call[ec2.UnmonitorInstancesInput, ec2.UnmonitorInstancesOutput]

	// The following are methods, because the SDK's paginators take an interface.

	describeImages            ec2Call[ec2.DescribeImagesInput, ec2.DescribeImagesOutput]
	describeInstances         ec2Call[ec2.DescribeInstancesInput, ec2.DescribeInstancesOutput]
	describeTypeOfferings     ec2Call[ec2.DescribeInstanceTypeOfferingsInput, ec2.DescribeInstanceTypeOfferingsOutput]
	describeNetworkInterfaces ec2Call[ec2.DescribeNetworkInterfacesInput, ec2.DescribeNetworkInterfacesOutput]
	describeRouteTables       ec2Call[ec2.DescribeRouteTablesInput, ec2.DescribeRouteTablesOutput]
	describeSecurityGroups    ec2Call[ec2.DescribeSecurityGroupsInput, ec2.DescribeSecurityGroupsOutput]
	describeSnapshots         ec2Call[ec2.DescribeSnapshotsInput, ec2.DescribeSnapshotsOutput]
	describeSubnets           ec2Call[ec2.DescribeSubnetsInput, ec2.DescribeSubnetsOutput]
	describeVolumes           ec2Call[ec2.DescribeVolumesInput, ec2.DescribeVolumesOutput]
	describeVpcEndpoints      ec2Call[ec2.DescribeVpcEndpointsInput, ec2.DescribeVpcEndpointsOutput]
}

// NewEC2 returns an EC2 that calls client.
func NewEC2(client *ec2.Client) *EC2 {
	return &EC2{
		AllocateAddress:                        client.AllocateAddress,
		AssignIpv6Addresses:                    client.AssignIpv6Addresses,
		AssociateAddress:                       client.AssociateAddress,
		AssociateIamInstanceProfile:            client.AssociateIamInstanceProfile,
		AssociateRouteTable:                    client.AssociateRouteTable,
		AssociateSubnetCidrBlock:               client.AssociateSubnetCidrBlock,
		AssociateVpcCidrBlock:                  client.AssociateVpcCidrBlock,
		AttachInternetGateway:                  client.AttachInternetGateway,
		AttachVolume:                           client.AttachVolume,
		AuthorizeSecurityGroupEgress:           client.AuthorizeSecurityGroupEgress,
		AuthorizeSecurityGroupIngress:          client.AuthorizeSecurityGroupIngress,
		CopyImage:                              client.CopyImage,
		CreateFlowLogs:                         client.CreateFlowLogs,
		CreateImage:                            client.CreateImage,
		CreateInstanceConnectEndpoint:          client.CreateInstanceConnectEndpoint,
		CreateInternetGateway:                  client.CreateInternetGateway,
		CreateRoute:                            client.CreateRoute,
		CreateRouteTable:                       client.CreateRouteTable,
		CreateSecurityGroup:                    client.CreateSecurityGroup,
		CreateSnapshot:                         client.CreateSnapshot,
		CreateSubnet:                           client.CreateSubnet,
		CreateTags:                             client.CreateTags,
		CreateVolume:                           client.CreateVolume,
		CreateVpc:                              client.CreateVpc,
		CreateVpcEndpoint:                      client.CreateVpcEndpoint,
		DeleteFlowLogs:                         client.DeleteFlowLogs,
		DeleteInstanceConnectEndpoint:          client.DeleteInstanceConnectEndpoint,
		DeleteInternetGateway:                  client.DeleteInternetGateway,
		DeleteKeyPair:                          client.DeleteKeyPair,
		DeleteRoute:                            client.DeleteRoute,
		DeleteRouteTable:                       client.DeleteRouteTable,
		DeleteSecurityGroup:                    client.DeleteSecurityGroup,
		DeleteSnapshot:                         client.DeleteSnapshot,
		DeleteSubnet:                           client.DeleteSubnet,
		DeleteTags:                             client.DeleteTags,
		DeleteVolume:                           client.DeleteVolume,
		DeleteVpc:                              client.DeleteVpc,
		DeleteVpcEndpoints:                     client.DeleteVpcEndpoints,
		DeregisterImage:                        client.DeregisterImage,
		DescribeAddresses:                      client.DescribeAddresses,
		DescribeAvailabilityZones:              client.DescribeAvailabilityZones,
		DescribeFlowLogs:                       client.DescribeFlowLogs,
		DescribeIamInstanceProfileAssociations: client.DescribeIamInstanceProfileAssociations,
		DescribeInstanceAttribute:              client.DescribeInstanceAttribute,
		DescribeInstanceConnectEndpoints:       client.DescribeInstanceConnectEndpoints,
		DescribeInstanceCreditSpecifications:   client.DescribeInstanceCreditSpecifications,
		DescribeInstanceTypes:                  client.DescribeInstanceTypes,
		DescribeInternetGateways:               client.DescribeInternetGateways,
		DescribeManagedPrefixLists:             client.DescribeManagedPrefixLists,
		DescribePlacementGroups:                client.DescribePlacementGroups,
		DescribeVolumesModifications:           client.DescribeVolumesModifications,
		DescribeVpcAttribute:                   client.DescribeVpcAttribute,
		DescribeVpcs:                           client.DescribeVpcs,
		DetachInternetGateway:                  client.DetachInternetGateway,
		DetachVolume:                           client.DetachVolume,
		DisassociateAddress:                    client.DisassociateAddress,
		DisassociateRouteTable:                 client.DisassociateRouteTable,
		DisassociateSubnetCidrBlock:            client.DisassociateSubnetCidrBlock,
		DisassociateVpcCidrBlock:               client.DisassociateVpcCidrBlock,
		EnableImageDeprecation:                 client.EnableImageDeprecation,
		GetEbsDefaultKmsKeyId:                  client.GetEbsDefaultKmsKeyId,
		GetEbsEncryptionByDefault:              client.GetEbsEncryptionByDefault,
		ImportKeyPair:                          client.ImportKeyPair,
		ModifyImageAttribute:                   client.ModifyImageAttribute,
		ModifyInstanceAttribute:                client.ModifyInstanceAttribute,
		ModifyInstanceCreditSpecification:      client.ModifyInstanceCreditSpecification,
		ModifyInstanceMetadataOptions:          client.ModifyInstanceMetadataOptions,
		ModifyInstancePlacement:                client.ModifyInstancePlacement,
		ModifyNetworkInterfaceAttribute:        client.ModifyNetworkInterfaceAttribute,
		ModifySnapshotAttribute:                client.ModifySnapshotAttribute,
		ModifySubnetAttribute:                  client.ModifySubnetAttribute,
		ModifyVolume:                           client.ModifyVolume,
		ModifyVpcAttribute:                     client.ModifyVpcAttribute,
		ModifyVpcEndpoint:                      client.ModifyVpcEndpoint,
		MonitorInstances:                       client.MonitorInstances,
		ReleaseAddress:                         client.ReleaseAddress,
		ReplaceIamInstanceProfileAssociation:   client.ReplaceIamInstanceProfileAssociation,
		ReplaceRoute:                           client.ReplaceRoute,
		ReplaceRouteTableAssociation:           client.ReplaceRouteTableAssociation,
		RevokeSecurityGroupEgress:              client.RevokeSecurityGroupEgress,
		RevokeSecurityGroupIngress:             client.RevokeSecurityGroupIngress,
		RunInstances:                           client.RunInstances,
		StartInstances:                         client.StartInstances,
		StopInstances:                          client.StopInstances,
		TerminateInstances:                     client.TerminateInstances,
		UnassignIpv6Addresses:                  client.UnassignIpv6Addresses,
		UnmonitorInstances:                     client.UnmonitorInstances,

		describeImages:            client.DescribeImages,
		describeInstances:         client.DescribeInstances,
		describeTypeOfferings:     client.DescribeInstanceTypeOfferings,
		describeNetworkInterfaces: client.DescribeNetworkInterfaces,
		describeRouteTables:       client.DescribeRouteTables,
		describeSecurityGroups:    client.DescribeSecurityGroups,
		describeSnapshots:         client.DescribeSnapshots,
		describeSubnets:           client.DescribeSubnets,
		describeVolumes:           client.DescribeVolumes,
		describeVpcEndpoints:      client.DescribeVpcEndpoints,
	}
}

// DescribeImages calls the EC2 API of that name.
func (c *EC2) DescribeImages(ctx context.Context, in *ec2.DescribeImagesInput, options ...func(*ec2.Options)) (*ec2.DescribeImagesOutput, error) {
	return c.describeImages(ctx, in, options...)
}

// DescribeInstances calls the EC2 API of that name.
func (c *EC2) DescribeInstances(ctx context.Context, in *ec2.DescribeInstancesInput, options ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
	return c.describeInstances(ctx, in, options...)
}

// DescribeInstanceTypeOfferings calls the EC2 API of that name.
func (c *EC2) DescribeInstanceTypeOfferings(ctx context.Context, in *ec2.DescribeInstanceTypeOfferingsInput, options ...func(*ec2.Options)) (*ec2.DescribeInstanceTypeOfferingsOutput, error) {
	return c.describeTypeOfferings(ctx, in, options...)
}

// DescribeNetworkInterfaces calls the EC2 API of that name.
func (c *EC2) DescribeNetworkInterfaces(ctx context.Context, in *ec2.DescribeNetworkInterfacesInput, options ...func(*ec2.Options)) (*ec2.DescribeNetworkInterfacesOutput, error) {
	return c.describeNetworkInterfaces(ctx, in, options...)
}

// DescribeRouteTables calls the EC2 API of that name.
func (c *EC2) DescribeRouteTables(ctx context.Context, in *ec2.DescribeRouteTablesInput, options ...func(*ec2.Options)) (*ec2.DescribeRouteTablesOutput, error) {
	return c.describeRouteTables(ctx, in, options...)
}

// DescribeSecurityGroups calls the EC2 API of that name.
func (c *EC2) DescribeSecurityGroups(ctx context.Context, in *ec2.DescribeSecurityGroupsInput, options ...func(*ec2.Options)) (*ec2.DescribeSecurityGroupsOutput, error) {
	return c.describeSecurityGroups(ctx, in, options...)
}

// DescribeSnapshots calls the EC2 API of that name.
func (c *EC2) DescribeSnapshots(ctx context.Context, in *ec2.DescribeSnapshotsInput, options ...func(*ec2.Options)) (*ec2.DescribeSnapshotsOutput, error) {
	return c.describeSnapshots(ctx, in, options...)
}

// DescribeSubnets calls the EC2 API of that name.
func (c *EC2) DescribeSubnets(ctx context.Context, in *ec2.DescribeSubnetsInput, options ...func(*ec2.Options)) (*ec2.DescribeSubnetsOutput, error) {
	return c.describeSubnets(ctx, in, options...)
}

// DescribeVolumes calls the EC2 API of that name.
func (c *EC2) DescribeVolumes(ctx context.Context, in *ec2.DescribeVolumesInput, options ...func(*ec2.Options)) (*ec2.DescribeVolumesOutput, error) {
	return c.describeVolumes(ctx, in, options...)
}

// DescribeVpcEndpoints calls the EC2 API of that name.
func (c *EC2) DescribeVpcEndpoints(ctx context.Context, in *ec2.DescribeVpcEndpointsInput, options ...func(*ec2.Options)) (*ec2.DescribeVpcEndpointsOutput, error) {
	return c.describeVpcEndpoints(ctx, in, options...)
}
