package cluster

import (
	"context"
	"fmt"
	"maps"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/awswait"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// vpnEndpoint is the gateway's address and port, or "" without one that has an
// Elastic IP.
func (w *work) vpnEndpoint() string {
	for _, n := range w.spec.nodesOf(model.RoleWireGuard) {
		for _, a := range w.seen.addresses {
			if aws.ToString(a.AllocationId) == n.EIPID && n.EIPID != "" {
				return fmt.Sprintf("%s:%d", aws.ToString(a.PublicIp), wireGuardPort())
			}
		}
	}
	return ""
}

func wireGuardPort() int32 {
	for _, s := range model.ServicesOf(model.RoleWireGuard) {
		for _, p := range s.Ports {
			if p.Protocol == "udp" {
				return p.Port
			}
		}
	}
	panic("service-ports.json has no UDP port for the role wireguard")
}

// vpnTables are the route tables that serve the nodes' subnets: VPN clients are
// routed, not masqueraded, so each needs the way back.
func (w *work) vpnTables() []ec2types.RouteTable {
	subnets := map[string]bool{}
	for _, n := range w.spec.Nodes {
		subnets[n.SubnetID] = true
	}
	var tables []ec2types.RouteTable
	var main *ec2types.RouteTable
	for _, t := range w.seen.tables {
		serves := false
		for _, a := range t.Associations {
			if aws.ToBool(a.Main) {
				main = &t
			}
			if id := aws.ToString(a.SubnetId); subnets[id] {
				serves = true
				delete(subnets, id)
			}
		}
		if serves {
			tables = append(tables, t)
		}
	}
	if len(subnets) > 0 && main != nil { // a subnet without a table of its own
		tables = append(tables, *main)
	}
	return tables
}

// vpnRoute returns a table's route for the VPN range, or nil.
func (w *work) vpnRoute(t ec2types.RouteTable) *ec2types.Route {
	for _, r := range t.Routes {
		// A route to an IPv6 range or a prefix list has no DestinationCidrBlock.
		if r.DestinationCidrBlock != nil && *r.DestinationCidrBlock == w.spec.VPNCIDR {
			return &r
		}
	}
	return nil
}

// gateway is the instance of the WireGuard node, if there is one.
func (w *work) gateway() (instance, bool) {
	for _, n := range w.spec.nodesOf(model.RoleWireGuard) {
		i, lives := w.seen.live[n.Name]
		return i, lives
	}
	return instance{}, false
}

// ensureRoutes points the VPN range to the gateway's interface, or nowhere if
// no gateway is wanted.
func (w *work) ensureRoutes(ctx context.Context) error {
	if len(w.spec.nodesOf(model.RoleWireGuard)) == 0 {
		return w.deleteRoutes(ctx)
	}
	gateway, exists := w.gateway()
	if !exists || gateway.interfaceID() == "" {
		return nil
	}
	former := w.formerVPNRanges()
	return base.ParallelAll(ctx, stepsFor(w.vpnTables(), func(ctx context.Context, _ int, t ec2types.RouteTable) error {
		err := w.ensureRoute(ctx, t, gateway.interfaceID(), former)
		if err != nil {
			return fmt.Errorf("route %s in table %s to the VPN gateway: %w", w.spec.VPNCIDR, aws.ToString(t.RouteTableId), err)
		}
		return nil
	})...)
}

// formerVPNRanges are the ranges that vpn_cidr had before this run: those to
// which the groups, as they were observed, open all that they open to the VPN.
// Any other route to the gateway is an operator's own.
func (w *work) formerVPNRanges() map[string]int {
	former := map[string]int{} // number of groups that open to it
	groups := 0
	for _, role := range w.spec.roles() {
		actual := flattenRules(w.seen.groups[role].IpPermissions)
		if len(actual) == 0 {
			continue // made in this run
		}
		groups++
		ranges := map[string]bool{}
		for r := range actual {
			ranges[r.cidr] = true
		}
		for cidr := range ranges {
			if w.opensAllOfVPN(role, actual, cidr) {
				former[cidr]++
			}
		}
	}
	maps.DeleteFunc(former, func(cidr string, n int) bool { return cidr == "" || cidr == w.spec.VPNCIDR || n < groups })
	return former
}

// opensAllOfVPN says whether the rules open to cidr what the role opens to the VPN.
func (w *work) opensAllOfVPN(role model.Role, actual map[rule]bool, cidr string) bool {
	for r := range w.wantedRules(role) {
		if r.cidr == w.spec.VPNCIDR {
			if r.cidr = cidr; !actual[r] {
				return false
			}
		}
	}
	return true
}

func (w *work) ensureRoute(ctx context.Context, t ec2types.RouteTable, target string, former map[string]int) error {
	for _, r := range t.Routes {
		if aws.ToString(r.NetworkInterfaceId) == target && former[aws.ToString(r.DestinationCidrBlock)] > 0 {
			if err := w.deleteRoute(ctx, t, *r.DestinationCidrBlock); err != nil {
				return err
			}
		}
	}
	route := w.vpnRoute(t)
	switch {
	case route == nil:
		_, err := w.Client.EC2.CreateRoute(ctx, &ec2.CreateRouteInput{RouteTableId: t.RouteTableId, DestinationCidrBlock: &w.spec.VPNCIDR, NetworkInterfaceId: &target})
		if !awswait.HasCode(err, "RouteAlreadyExists") {
			return err
		}
	case aws.ToString(route.NetworkInterfaceId) == target:
		return nil
	}
	_, err := w.Client.EC2.ReplaceRoute(ctx, &ec2.ReplaceRouteInput{RouteTableId: t.RouteTableId, DestinationCidrBlock: &w.spec.VPNCIDR, NetworkInterfaceId: &target})
	return err
}

func (w *work) deleteRoute(ctx context.Context, t ec2types.RouteTable, cidr string) error {
	_, err := w.Client.EC2.DeleteRoute(ctx, &ec2.DeleteRouteInput{RouteTableId: t.RouteTableId, DestinationCidrBlock: &cidr})
	return awswait.Ignore(err, awswait.IsNotFound)
}

// deleteRoutes deletes the routes for the VPN range that are this cluster's or
// lead nowhere.
func (w *work) deleteRoutes(ctx context.Context) error {
	return base.ParallelAll(ctx, stepsFor(w.seen.tables, func(ctx context.Context, _ int, t ec2types.RouteTable) error {
		route := w.vpnRoute(t)
		if route == nil {
			return nil
		}
		removable, err := w.isRemovable(ctx, *route)
		if err == nil && removable {
			err = w.deleteRoute(ctx, t, w.spec.VPNCIDR)
		}
		if err != nil {
			return fmt.Errorf("delete route %s in table %s: %w", w.spec.VPNCIDR, aws.ToString(t.RouteTableId), err)
		}
		return nil
	})...)
}

// isRemovable says whether a route for the VPN range leads to an interface of
// this cluster or nowhere. It asks AWS for the interface: the gateway may have
// ended since the routes were observed, and instances change while destroy runs.
func (w *work) isRemovable(ctx context.Context, r ec2types.Route) (bool, error) {
	if r.State == ec2types.RouteStateBlackhole {
		return true, nil
	}
	if r.NetworkInterfaceId == nil {
		return false, nil
	}
	out, err := w.Client.EC2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{
		Filters: []ec2types.Filter{base.Filter("network-interface-id", *r.NetworkInterfaceId)}})
	if err != nil || len(out.NetworkInterfaces) == 0 {
		return err == nil, err
	}
	for _, guard := range out.NetworkInterfaces[0].Groups {
		for _, own := range w.seen.groups {
			if aws.ToString(guard.GroupId) == aws.ToString(own.GroupId) {
				return true, nil
			}
		}
	}
	return false, nil
}

func (w *work) driftOfRoutes() []string {
	var found []string
	if len(w.spec.nodesOf(model.RoleWireGuard)) == 0 {
		for _, t := range w.seen.tables {
			if r := w.vpnRoute(t); r != nil && r.State == ec2types.RouteStateBlackhole {
				found = append(found, fmt.Sprintf("route table %s routes %s to a gateway that is gone", aws.ToString(t.RouteTableId), w.spec.VPNCIDR))
			}
		}
		return found
	}
	gateway, exists := w.gateway()
	if !exists {
		return nil
	}
	for _, t := range w.vpnTables() {
		if r := w.vpnRoute(t); r == nil || aws.ToString(r.NetworkInterfaceId) != gateway.interfaceID() {
			found = append(found, fmt.Sprintf("route table %s does not route %s to the VPN gateway", aws.ToString(t.RouteTableId), w.spec.VPNCIDR))
		}
	}
	return found
}
