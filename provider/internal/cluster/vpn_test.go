package cluster

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	model "github.com/xeroops/xeroops/internal/cluster"
)

func TestAFormerVPNRangeIsOneThatAllGroupsOpenTo(t *testing.T) {
	w := reference()
	for role, g := range w.seen.groups {
		g.IpPermissions = permissions(w.wantedRules(role))
		w.seen.groups[role] = g
	}
	byHand := rule{protocol: "tcp", from: 22, to: 22, cidr: "192.168.0.0/16"}
	app := w.seen.groups[model.RoleApp]
	app.IpPermissions = append(app.IpPermissions, byHand.permission())
	w.seen.groups[model.RoleApp] = app
	if former := w.formerVPNRanges(); len(former) != 0 {
		t.Errorf("with the range as it was, %v are taken for former ranges", former)
	}
	w.spec.VPNCIDR = "10.101.0.0/16"
	if former := w.formerVPNRanges(); len(former) != 1 || former["10.100.0.0/16"] == 0 {
		t.Errorf("former ranges are %v, want 10.100.0.0/16 alone", former)
	}
}

func TestARouteWithoutAnIPv4RangeIsNotTheVPNs(t *testing.T) {
	w := reference()
	w.spec.VPNCIDR = "" // after an import
	table := ec2types.RouteTable{Routes: []ec2types.Route{{DestinationIpv6CidrBlock: aws.String("::/0")}}}
	if r := w.vpnRoute(table); r != nil {
		t.Errorf("%+v is taken for the VPN's route", r)
	}
}

func TestABlackholeIsDriftWhereNoGatewayIsWanted(t *testing.T) {
	w := reference()
	w.seen.tables = []ec2types.RouteTable{{RouteTableId: aws.String("rtb-1"), Routes: []ec2types.Route{
		{DestinationCidrBlock: &w.spec.VPNCIDR, NetworkInterfaceId: aws.String("eni-1"), State: ec2types.RouteStateBlackhole}}}}
	delete(w.spec.Nodes, "gateway")
	if found := w.driftOfRoutes(); len(found) != 1 {
		t.Errorf("drift is %v", found)
	}
}
