package vpnroute

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/awsclient"
	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/clusterspec/spectest"
)

// reference returns the routes of the reference cluster with one route table,
// which has routes; the gateway's interface is eni-1.
func reference(routes ...ec2types.Route) *Routes {
	r := New(&base.ProviderData{Client: &awsclient.Client{}}, spectest.Reference(), Inputs{Gateway: func() (string, bool) { return "eni-1", true }})
	r.tables = []ec2types.RouteTable{{RouteTableId: aws.String("rtb-1"), Routes: routes,
		Associations: []ec2types.RouteTableAssociation{{SubnetId: aws.String("subnet-1")}}}}
	return r
}

func vpnRoute(target string, state ec2types.RouteState) ec2types.Route {
	return ec2types.Route{DestinationCidrBlock: aws.String("10.100.0.0/16"), NetworkInterfaceId: &target, State: state}
}

func TestARouteWithoutAnIPv4RangeIsNotTheVPNs(t *testing.T) {
	r := reference(ec2types.Route{DestinationIpv6CidrBlock: aws.String("::/0")})
	r.spec.VPNCIDR = "" // after an import
	if route := r.route(r.tables[0]); route != nil {
		t.Errorf("%+v is taken for the VPN's route", route)
	}
}

func TestDriftNamesTheTableThatDoesNotRouteToTheGateway(t *testing.T) {
	cases := map[string]struct {
		routes []ec2types.Route
		want   string
	}{
		"a route to the gateway":   {[]ec2types.Route{vpnRoute("eni-1", ec2types.RouteStateActive)}, ""},
		"no route":                 {nil, "route table rtb-1 does not route 10.100.0.0/16"},
		"a route to another":       {[]ec2types.Route{vpnRoute("eni-2", ec2types.RouteStateActive)}, "route table rtb-1 does not route 10.100.0.0/16"},
		"a route of another range": {[]ec2types.Route{{DestinationCidrBlock: aws.String("10.101.0.0/16"), NetworkInterfaceId: aws.String("eni-1")}}, "does not route 10.100.0.0/16"},
	}
	for name, c := range cases {
		found := strings.Join(reference(c.routes...).Drift(t.Context()), "\n")
		if (found == "") != (c.want == "") || !strings.Contains(found, c.want) {
			t.Errorf("%s: drift is %q, want %q", name, found, c.want)
		}
	}
}

func TestABlackholeIsDriftWithoutAGateway(t *testing.T) {
	r := reference(vpnRoute("eni-1", ec2types.RouteStateBlackhole))
	delete(r.spec.Nodes, "gateway")
	if found := r.Drift(t.Context()); len(found) != 1 {
		t.Errorf("drift is %v", found)
	}
}

func TestTheMainTableServesSubnetsWithoutATableOfTheirOwn(t *testing.T) {
	main := ec2types.RouteTable{RouteTableId: aws.String("rtb-main"), Associations: []ec2types.RouteTableAssociation{{Main: aws.Bool(true)}}}
	r := reference()
	r.tables = append(r.tables, main)
	if tables := r.nodeTables(); len(tables) != 1 || *tables[0].RouteTableId != "rtb-1" {
		t.Errorf("tables are %v, want rtb-1 alone", tables)
	}
	edge := r.spec.Nodes["edge"]
	edge.SubnetID = "subnet-2"
	r.spec.Nodes["edge"] = edge
	if tables := r.nodeTables(); len(tables) != 2 {
		t.Errorf("%d tables, want rtb-1 and the main one", len(tables))
	}
}
