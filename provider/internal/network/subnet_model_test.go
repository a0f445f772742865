package network

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/provider/internal/base"
)

func route(to, via string) ec2types.Route {
	r := ec2types.Route{State: ec2types.RouteStateActive}
	switch {
	case strings.HasPrefix(to, "pl-"):
		r.DestinationPrefixListId = &to
	case strings.Contains(to, ":"):
		r.DestinationIpv6CidrBlock = &to
	default:
		r.DestinationCidrBlock = &to
	}
	switch kind, _, _ := strings.Cut(via, "-"); kind {
	case "nat":
		r.NatGatewayId = &via
	case "eni":
		r.NetworkInterfaceId = &via
	case "pcx":
		r.VpcPeeringConnectionId = &via
	case "tgw":
		r.TransitGatewayId = &via
	case "eigw":
		r.EgressOnlyInternetGatewayId = &via
	default:
		r.GatewayId = &via
	}
	return r
}

// sound returns a subnet as the provider creates it, with additional routes.
func sound(more ...ec2types.Route) *subnetParts {
	return &subnetParts{
		subnet: &ec2types.Subnet{SubnetId: aws.String("subnet-1")},
		table: &ec2types.RouteTable{RouteTableId: aws.String("rtb-1"),
			Associations: []ec2types.RouteTableAssociation{{SubnetId: aws.String("subnet-1")}},
			Routes:       append([]ec2types.Route{route("10.0.0.0/16", "local"), route("pl-6da54004", "vpce-1")}, more...)},
		endpoint: &ec2types.VpcEndpoint{RouteTableIds: []string{"rtb-0", "rtb-1"}},
	}
}

func TestRoutesOutOfAPrivateSubnetAreDrift(t *testing.T) {
	for _, tc := range []struct {
		route ec2types.Route
		drift bool
	}{
		{route("0.0.0.0/0", "igw-1"), true},
		{route("0.0.0.0/0", "nat-1"), true},
		{route("0.0.0.0/0", "eni-1"), true},
		{route("0.0.0.0/0", "tgw-1"), true},
		{route("::/0", "eigw-1"), true},
		{route("8.8.8.0/24", "pcx-1"), true},
		{route("0.0.0.0/1", "eni-1"), true},
		{route("10.0.0.0/7", "eni-1"), true}, // includes public addresses
		{route("192.168.0.0/16", "igw-1"), true},
		{route("pl-1", "igw-1"), true},
		{route("10.100.0.0/16", "eni-1"), false}, // the VPN
		{route("172.20.0.0/16", "pcx-1"), false},
		{route("100.64.0.0/10", "tgw-1"), false},
		{route("fd00::/8", "eni-1"), false},
		{route("pl-1", "tgw-1"), false},
	} {
		if got := sound(tc.route).drift(typePrivate); (len(got) > 0) != tc.drift {
			t.Errorf("%s to %s: drift is %q, want some: %v", destinationOf(tc.route), targetOf(tc.route), got, tc.drift)
		}
	}
}

func TestSubnetDrift(t *testing.T) {
	blackhole := route("0.0.0.0/0", "igw-1")
	blackhole.State = ec2types.RouteStateBlackhole
	broken := func(change func(*subnetParts)) *subnetParts {
		p := sound(route("0.0.0.0/0", "igw-1"))
		change(p)
		return p
	}
	for name, tc := range map[string]struct {
		parts *subnetParts
		want  string // "" for none
	}{
		"sound":                   {broken(func(*subnetParts) {}), ""},
		"no default route":        {sound(), "no working default route"},
		"black hole":              {sound(blackhole), "no working default route"},
		"default route elsewhere": {sound(route("0.0.0.0/0", "nat-1")), "no working default route"},
		"no table":                {broken(func(p *subnetParts) { p.table = nil }), "route table is missing"},
		"another's table":         {broken(func(p *subnetParts) { p.table.Associations = nil }), "not associated"},
		"no endpoint":             {broken(func(p *subnetParts) { p.endpoint = nil }), "no route to the gateway endpoint"},
		"endpoint forgot":         {broken(func(p *subnetParts) { p.endpoint.RouteTableIds = nil }), "no route to the gateway endpoint"},
		"public addresses":        {broken(func(p *subnetParts) { p.subnet.MapPublicIpOnLaunch = aws.Bool(true) }), "get public addresses"},
	} {
		got := tc.parts.drift(typePublic)
		if tc.want == "" && len(got) > 0 || tc.want != "" && (len(got) != 1 || !strings.Contains(got[0], tc.want)) {
			t.Errorf("%s: drift is %q, want %q", name, got, tc.want)
		}
	}
}

func TestTypeByRoutes(t *testing.T) {
	var m subnetModel
	m.fromAWS(sound(route("0.0.0.0/0", "igw-1")), base.TagSettings{})
	if m.Type.ValueString() != typePublic {
		t.Errorf("with a route to the internet gateway it is %s", m.Type)
	}
	m = subnetModel{}
	if m.fromAWS(sound(), base.TagSettings{}); m.Type.ValueString() != typePrivate {
		t.Errorf("without one it is %s", m.Type)
	}
}

func TestSubnetWithoutATableHasNoTableID(t *testing.T) {
	p, m := sound(), subnetModel{RouteTableID: types.StringValue("rtb-old")}
	p.table = nil
	if m.setIDs(p); !m.RouteTableID.IsNull() {
		t.Errorf("route_table_id is %s; the plan of a repair would promise it", m.RouteTableID)
	}
}

func TestNeighboursCheck(t *testing.T) {
	tags := []ec2types.Tag{{Key: aws.String(base.TagName), Value: aws.String("app")}, {Key: aws.String(base.TagManagedBy), Value: aws.String("terraform")}}
	near := &neighbours{
		vpc: &ec2types.Vpc{CidrBlock: aws.String("10.0.0.0/16"), CidrBlockAssociationSet: []ec2types.VpcCidrBlockAssociation{
			{CidrBlock: aws.String("10.0.0.0/16"), CidrBlockState: &ec2types.VpcCidrBlockState{State: ec2types.VpcCidrBlockStateCodeAssociated}},
			{CidrBlock: aws.String("10.9.0.0/16"), CidrBlockState: &ec2types.VpcCidrBlockState{State: ec2types.VpcCidrBlockStateCodeAssociated}},
			{CidrBlock: aws.String("10.8.0.0/16"), CidrBlockState: &ec2types.VpcCidrBlockState{State: ec2types.VpcCidrBlockStateCodeDisassociated}},
		}},
		subnets: []ec2types.Subnet{{SubnetId: aws.String("subnet-9"), CidrBlock: aws.String("10.0.1.0/24")},
			{SubnetId: aws.String("subnet-app"), CidrBlock: aws.String("10.0.5.0/24"), Tags: tags}},
	}
	for cidr, want := range map[string]string{
		"10.0.2.0/24": "", "10.9.2.0/24": "", "10.0.5.0/24": "", // the last is that of the subnet to be replaced
		"10.8.2.0/24":  "not within the VPC's range 10.0.0.0/16, 10.9.0.0/16",
		"10.1.0.0/24":  "not within",
		"10.0.0.0/15":  "not within",
		"10.0.0.0/22":  "overlaps 10.0.1.0/24 of subnet-9",
		"10.0.1.16/28": "overlaps 10.0.1.0/24 of subnet-9",
	} {
		err := near.check(subnetModel{Name: types.StringValue("app"), CIDR: types.StringValue(cidr)})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: error is %v, want %q", cidr, err, want)
		}
	}
	if got := near.named("app"); len(got) != 1 || aws.ToString(got[0].SubnetId) != "subnet-app" {
		t.Errorf("named app: %v", got)
	}
}

func TestCIDRBetween(t *testing.T) {
	v := cidrBetween{16, 28}
	var refused []string
	for _, text := range []string{"10.0.0.0/16", "10.0.0.0/28", "10.0.0.0/15", "10.0.0.0/29", "10.0.0.1/24", "10.0.0.0", "fd00::/20", ""} {
		if v.check(text) != nil {
			refused = append(refused, text)
		}
	}
	if want := []string{"10.0.0.0/15", "10.0.0.0/29", "10.0.0.1/24", "10.0.0.0", "fd00::/20", ""}; !slices.Equal(refused, want) {
		t.Errorf("refused %q, want %q", refused, want)
	}
}
