package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/provider/internal/base"
)

// Values of type.
const (
	typePublic  = "public"
	typePrivate = "private"
)

type subnetModel struct {
	ID               types.String   `tfsdk:"id"`
	ARN              types.String   `tfsdk:"arn"`
	Name             types.String   `tfsdk:"name"`
	VPCID            types.String   `tfsdk:"vpc_id"`
	Type             types.String   `tfsdk:"type"`
	CIDR             types.String   `tfsdk:"cidr"`
	IPv6CIDR         types.String   `tfsdk:"ipv6_cidr"`
	AvailabilityZone types.String   `tfsdk:"availability_zone"`
	RouteTableID     types.String   `tfsdk:"route_table_id"`
	Drift            types.Set      `tfsdk:"drift"`
	Tags             types.Map      `tfsdk:"tags"`
	TagsAll          types.Map      `tfsdk:"tags_all"`
	Timeouts         timeouts.Value `tfsdk:"timeouts"`

	managed base.ManagedTags // of an update; not in the state
}

// subnetParts is the actual state of a subnet and its parts. A missing part is nil.
type subnetParts struct {
	subnet   *ec2types.Subnet
	table    *ec2types.RouteTable  // its own
	endpoint *ec2types.VpcEndpoint // the VPC's endpoint for S3

	// The following are set only for create and repair.
	gatewayID          string // the VPC's internet gateway, or ""
	foreignAssociation string // id of the association with another route table, or ""
}

// nameInVPC returns a name that is unique among the subnets of all VPCs.
func (m *subnetModel) nameInVPC() string { return m.VPCID.ValueString() + "/" + m.Name.ValueString() }

// setIDs sets the ids of existing parts, and null for others: Terraform discards a
// state with unknown values if the create fails.
func (m *subnetModel) setIDs(found *subnetParts) {
	m.ID = types.StringPointerValue(found.subnet.SubnetId)
	m.ARN = types.StringPointerValue(found.subnet.SubnetArn)
	m.RouteTableID = types.StringNull()
	if found.table != nil {
		m.RouteTableID = types.StringPointerValue(found.table.RouteTableId)
	}
}

func (m *subnetModel) fromAWS(found *subnetParts, settings base.TagSettings) {
	actual := base.FlattenEC2Tags(found.subnet.Tags)
	m.setIDs(found)
	m.Name = types.StringValue(actual[base.TagName])
	m.VPCID = types.StringPointerValue(found.subnet.VpcId)
	m.CIDR = types.StringPointerValue(found.subnet.CidrBlock)
	m.IPv6CIDR = ipv6FromAWS(*found.subnet, m.IPv6CIDR)
	m.AvailabilityZone = types.StringPointerValue(found.subnet.AvailabilityZone)
	if m.Type.IsNull() { // imported
		m.Type = types.StringValue(found.typeByRoutes())
	}
	m.Drift = base.Drift(found.drift(m.Type.ValueString()))
	m.Tags, m.TagsAll = settings.TagsFromAWS(actual, m.Tags, m.TagsAll)
}

// typeByRoutes returns the type of an imported subnet, by its routes.
func (p *subnetParts) typeByRoutes() string {
	if p.table != nil && slices.ContainsFunc(p.table.Routes, leadsToInternetGateway) {
		return typePublic
	}
	return typePrivate
}

// drift returns how a subnet of the given type differs from what the provider
// creates.
func (p *subnetParts) drift(subnetType string) []string {
	var found []string
	if aws.ToBool(p.subnet.MapPublicIpOnLaunch) {
		found = append(found, "instances get public addresses at launch")
	}
	if aws.ToBool(p.subnet.AssignIpv6AddressOnCreation) {
		found = append(found, "instances get IPv6 addresses at launch")
	}
	if p.table == nil {
		return append(found, "the route table is missing")
	}
	if !p.associated() {
		found = append(found, "the subnet is not associated with its route table")
	}
	if !p.hasEndpointRoute() {
		found = append(found, "the route table has no route to the gateway endpoint for S3")
	}
	if subnetType == typePublic && ipv6OfSubnet(*p.subnet) != nil && !p.hasDefaultRoute(everywhereIPv6) {
		found = append(found, "the route table has no working default route for IPv6 to the internet gateway")
	}
	if subnetType == typePublic && !p.hasDefaultRoute(everywhere) {
		found = append(found, "the route table has no working default route to the internet gateway")
	}
	for _, route := range p.breaches(subnetType) {
		found = append(found, fmt.Sprintf("the route table of the private subnet routes %s to %s", destinationOf(route), targetOf(route)))
	}
	return found
}

func (p *subnetParts) associated() bool {
	return slices.ContainsFunc(p.table.Associations, func(a ec2types.RouteTableAssociation) bool {
		return aws.ToString(a.SubnetId) == aws.ToString(p.subnet.SubnetId)
	})
}

func (p *subnetParts) hasEndpointRoute() bool {
	return p.endpoint != nil && slices.Contains(p.endpoint.RouteTableIds, aws.ToString(p.table.RouteTableId))
}

// defaultRouteTo returns the route for everywhere or everywhereIPv6, or nil.
func (p *subnetParts) defaultRouteTo(destination string) *ec2types.Route {
	for _, route := range p.table.Routes {
		if aws.ToString(route.DestinationCidrBlock) == destination || aws.ToString(route.DestinationIpv6CidrBlock) == destination {
			return &route
		}
	}
	return nil
}

// hasDefaultRoute reports whether the default route leads to the VPC's internet
// gateway; a VPC has at most one. A route to a detached gateway has the state
// blackhole.
func (p *subnetParts) hasDefaultRoute(destination string) bool {
	route := p.defaultRouteTo(destination)
	return route != nil && leadsToInternetGateway(*route) && route.State != ec2types.RouteStateBlackhole
}

// breaches returns the routes out of a private subnet: to an internet gateway or to
// public addresses. Other routes, such as the cluster's route for its VPN or a
// peering, are not managed by this resource.
func (p *subnetParts) breaches(subnetType string) []ec2types.Route {
	if subnetType != typePrivate {
		return nil
	}
	var found []ec2types.Route
	for _, route := range p.table.Routes {
		local := aws.ToString(route.GatewayId) == "local"
		toEndpoint := strings.HasPrefix(aws.ToString(route.GatewayId), "vpce-")
		if !local && !toEndpoint && (leadsToInternet(route) || !privateDestination(route)) {
			found = append(found, route)
		}
	}
	return found
}

func leadsToInternetGateway(route ec2types.Route) bool {
	return strings.HasPrefix(aws.ToString(route.GatewayId), "igw-")
}

func leadsToInternet(route ec2types.Route) bool {
	return leadsToInternetGateway(route) || route.NatGatewayId != nil || route.EgressOnlyInternetGatewayId != nil
}

// privateRanges are the ranges of private addresses: RFC 1918, RFC 6598 and RFC
// 4193.
var privateRanges = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("fc00::/7"),
}

// privateDestination reports whether the destination of a route has only private
// addresses. Prefix lists count as private.
func privateDestination(route ec2types.Route) bool {
	if route.DestinationPrefixListId != nil {
		return true
	}
	destination, err := netip.ParsePrefix(destinationOf(route))
	return err == nil && slices.ContainsFunc(privateRanges, func(private netip.Prefix) bool {
		return private.Bits() <= destination.Bits() && private.Contains(destination.Addr())
	})
}

func destinationOf(route ec2types.Route) string {
	for _, d := range []*string{route.DestinationCidrBlock, route.DestinationIpv6CidrBlock, route.DestinationPrefixListId} {
		if d != nil {
			return *d
		}
	}
	return ""
}

func targetOf(route ec2types.Route) string {
	for _, t := range []*string{route.GatewayId, route.NatGatewayId, route.EgressOnlyInternetGatewayId, route.InstanceId,
		route.NetworkInterfaceId, route.TransitGatewayId, route.VpcPeeringConnectionId} {
		if t != nil {
			return *t
		}
	}
	return "an unknown target"
}
