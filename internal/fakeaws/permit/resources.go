package permit

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// targets are the parameters that name the existing resources on whose tags or names EC2
// checks an action (Service Authorization Reference, "Actions, resources, and condition
// keys for Amazon EC2"). An association stands for what it associates.
var targets = map[string][]string{
	"AssignIpv6Addresses":                  {"NetworkInterfaceId"},
	"AssociateAddress":                     {"AllocationId", "InstanceId", "NetworkInterfaceId"},
	"AssociateIamInstanceProfile":          {"InstanceId"},
	"AssociateRouteTable":                  {"RouteTableId", "SubnetId"},
	"AssociateSubnetCidrBlock":             {"SubnetId"},
	"AssociateVpcCidrBlock":                {"VpcId"},
	"AttachInternetGateway":                {"InternetGatewayId", "VpcId"},
	"AttachVolume":                         {"InstanceId", "VolumeId"},
	"AuthorizeSecurityGroupEgress":         {"GroupId"},
	"AuthorizeSecurityGroupIngress":        {"GroupId"},
	"CreateImage":                          {"InstanceId"},
	"CreateRoute":                          {"RouteTableId"},
	"CreateSnapshot":                       {"VolumeId"},
	"CreateTags":                           {"ResourceId"},
	"CreateVpcEndpoint":                    {"VpcId", "RouteTableId", "SubnetId", "SecurityGroupId"},
	"DeleteFlowLogs":                       {"FlowLogId"},
	"DeleteInstanceConnectEndpoint":        {"InstanceConnectEndpointId"},
	"DeleteInternetGateway":                {"InternetGatewayId"},
	"DeleteKeyPair":                        {"KeyName"},
	"DeleteNetworkInterface":               {"NetworkInterfaceId"},
	"DeleteRoute":                          {"RouteTableId"},
	"DeleteRouteTable":                     {"RouteTableId"},
	"DeleteSecurityGroup":                  {"GroupId"},
	"DeleteSnapshot":                       {"SnapshotId"},
	"DeleteSubnet":                         {"SubnetId"},
	"DeleteTags":                           {"ResourceId"},
	"DeleteVolume":                         {"VolumeId"},
	"DeleteVpc":                            {"VpcId"},
	"DeleteVpcEndpoints":                   {"VpcEndpointId"},
	"DeregisterImage":                      {"ImageId"},
	"DetachInternetGateway":                {"InternetGatewayId", "VpcId"},
	"DetachVolume":                         {"InstanceId", "VolumeId"},
	"DisassociateAddress":                  {"AssociationId"},
	"DisassociateRouteTable":               {"AssociationId"},
	"DisassociateSubnetCidrBlock":          {"AssociationId"},
	"DisassociateVpcCidrBlock":             {"AssociationId"},
	"EnableImageDeprecation":               {"ImageId"},
	"ModifyImageAttribute":                 {"ImageId"},
	"ModifyInstanceAttribute":              {"InstanceId", "GroupId"},
	"ModifyInstanceCreditSpecification":    {"InstanceCreditSpecification.1.InstanceId"},
	"ModifyInstanceMetadataOptions":        {"InstanceId"},
	"ModifyInstancePlacement":              {"InstanceId"},
	"ModifyNetworkInterfaceAttribute":      {"NetworkInterfaceId", "SecurityGroupId"},
	"ModifySnapshotAttribute":              {"SnapshotId"},
	"ModifySubnetAttribute":                {"SubnetId"},
	"ModifyVolume":                         {"VolumeId"},
	"ModifyVpcAttribute":                   {"VpcId"},
	"ModifyVpcEndpoint":                    {"VpcEndpointId", "AddRouteTableId", "RemoveRouteTableId"},
	"MonitorInstances":                     {"InstanceId"},
	"ReleaseAddress":                       {"AllocationId"},
	"ReplaceIamInstanceProfileAssociation": {"AssociationId"},
	"ReplaceRoute":                         {"RouteTableId"},
	"ReplaceRouteTableAssociation":         {"AssociationId", "RouteTableId"},
	"RevokeSecurityGroupEgress":            {"GroupId"},
	"RevokeSecurityGroupIngress":           {"GroupId"},
	"StartInstances":                       {"InstanceId"},
	"StopInstances":                        {"InstanceId"},
	"TerminateInstances":                   {"InstanceId"},
	"UnassignIpv6Addresses":                {"NetworkInterfaceId"},
	"UnmonitorInstances":                   {"InstanceId"},
}

// creates are the types of the new resources on which EC2 checks an action besides its
// targets, with the tags of the request.
var creates = map[string][]string{
	"CreateImage":       {"image", "snapshot"},
	"CreateSnapshot":    {"snapshot"},
	"CreateVpcEndpoint": {"vpc-endpoint"},
}

// kinds are the types of resources in ARNs, by the prefix of their ids.
var kinds = map[string]string{
	"ami": "image", "eice": "instance-connect-endpoint", "eipalloc": "elastic-ip", "eni": "network-interface", "fl": "vpc-flow-log",
	"i": "instance", "igw": "internet-gateway", "rtb": "route-table", "sg": "security-group", "snap": "snapshot", "subnet": "subnet",
	"vol": "volume", "vpc": "vpc", "vpce": "vpc-endpoint",
}

// associated returns the ids of the resources that an association associates, or the id
// itself if it is of a resource.
func associated(c *fakeaws.Call, id string) ([]string, error) {
	for prefix, find := range associations {
		if !strings.HasPrefix(id, prefix) {
			continue
		}
		ids, err := find(c.Context(), ec2.NewFromConfig(c.Moto()), id)
		if err != nil {
			return nil, fmt.Errorf("find what %s associates: %w", id, err)
		}
		if len(ids) > 0 {
			return ids, nil
		}
	}
	return []string{id}, nil
}

// associations find what an association associates, by the prefix of its id.
var associations = map[string]func(context.Context, *ec2.Client, string) ([]string, error){
	"rtbassoc-": func(ctx context.Context, client *ec2.Client, id string) (ids []string, err error) {
		out, err := client.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: filter("association.route-table-association-id", id)})
		if err != nil {
			return nil, err
		}
		for _, t := range out.RouteTables {
			ids = append(ids, *t.RouteTableId)
			for _, a := range t.Associations {
				if *a.RouteTableAssociationId == id && a.SubnetId != nil {
					ids = append(ids, *a.SubnetId)
				}
			}
		}
		return ids, nil
	},
	"eipassoc-": func(ctx context.Context, client *ec2.Client, id string) (ids []string, err error) {
		out, err := client.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{Filters: filter("association-id", id)})
		if err != nil {
			return nil, err
		}
		for _, a := range out.Addresses {
			ids = append(ids, *a.AllocationId)
			if a.NetworkInterfaceId != nil {
				ids = append(ids, *a.NetworkInterfaceId)
			}
		}
		return ids, nil
	},
	"iip-assoc-": func(ctx context.Context, client *ec2.Client, id string) (ids []string, err error) {
		out, err := client.DescribeIamInstanceProfileAssociations(ctx, &ec2.DescribeIamInstanceProfileAssociationsInput{AssociationIds: []string{id}})
		if err != nil {
			return nil, err
		}
		for _, a := range out.IamInstanceProfileAssociations {
			ids = append(ids, *a.InstanceId)
		}
		return ids, nil
	},
	"subnet-cidr-assoc-": func(ctx context.Context, client *ec2.Client, id string) (ids []string, err error) {
		out, err := client.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{Filters: filter("ipv6-cidr-block-association.association-id", id)})
		if err != nil {
			return nil, err
		}
		for _, s := range out.Subnets {
			ids = append(ids, *s.SubnetId)
		}
		return ids, nil
	},
	"vpc-cidr-assoc-": func(ctx context.Context, client *ec2.Client, id string) (ids []string, err error) {
		out, err := client.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: filter("ipv6-cidr-block-association.association-id", id)})
		if err != nil {
			return nil, err
		}
		for _, v := range out.Vpcs {
			ids = append(ids, *v.VpcId)
		}
		return ids, nil
	},
}

func filter(name, value string) []types.Filter {
	return []types.Filter{{Name: &name, Values: []string{value}}}
}

// tagsOf returns the tags of a resource as condition keys.
func tagsOf(c *fakeaws.Call, next fakeaws.Handler, id string) (map[string][]string, error) {
	if strings.HasPrefix(id, "eice-") {
		return endpointTags(c, next, id)
	}
	out, err := ec2.NewFromConfig(c.Moto()).DescribeTags(c.Context(), &ec2.DescribeTagsInput{
		Filters: filter("resource-id", id)})
	if err != nil {
		return nil, fmt.Errorf("read the tags of %s: %w", id, err)
	}
	tags := map[string][]string{}
	for _, t := range out.Tags {
		tags["aws:resourcetag/"+lower(aws.ToString(t.Key))] = []string{aws.ToString(t.Value)}
	}
	return tags, nil
}

// endpointTags returns the tags of an EC2 Instance Connect Endpoint: moto has none, but
// a fixup.
func endpointTags(c *fakeaws.Call, next fakeaws.Handler, id string) (map[string][]string, error) {
	tags := map[string][]string{}
	res, err := next(c.With(url.Values{"Action": {"DescribeInstanceConnectEndpoints"}, "Version": {c.Params.Get("Version")}, "InstanceConnectEndpointId.1": {id}}))
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	var out struct {
		Endpoints []struct {
			ID   string `xml:"instanceConnectEndpointId"`
			Tags []struct {
				Key   string `xml:"key"`
				Value string `xml:"value"`
			} `xml:"tagSet>item"`
		} `xml:"instanceConnectEndpointSet>item"`
	}
	if err := xml.NewDecoder(res.Body).Decode(&out); err != nil {
		return nil, fmt.Errorf("read the tags of %s: %w", id, err)
	}
	for _, e := range out.Endpoints {
		if e.ID != id { // the fixup lists all
			continue
		}
		for _, t := range e.Tags {
			tags["aws:resourcetag/"+lower(t.Key)] = []string{t.Value}
		}
	}
	return tags, nil
}
