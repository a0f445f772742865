package cluster

import (
	"context"
	"fmt"

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
		if aws.ToString(r.DestinationCidrBlock) == w.spec.VPNCIDR {
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

// ensureRoutes points the VPN range to the gateway's interface.
func (w *work) ensureRoutes(ctx context.Context) error {
	gateway, exists := w.gateway()
	if !exists || gateway.interfaceID() == "" {
		return nil
	}
	return base.ParallelAll(ctx, stepsFor(w.vpnTables(), func(ctx context.Context, _ int, t ec2types.RouteTable) error {
		err := w.ensureRoute(ctx, t, gateway.interfaceID())
		if err != nil {
			return fmt.Errorf("route %s in table %s to the VPN gateway: %w", w.spec.VPNCIDR, aws.ToString(t.RouteTableId), err)
		}
		return nil
	})...)
}

func (w *work) ensureRoute(ctx context.Context, t ec2types.RouteTable, target string) error {
	for _, r := range t.Routes { // of a VPN range that it had before
		if cidr := aws.ToString(r.DestinationCidrBlock); aws.ToString(r.NetworkInterfaceId) == target && cidr != w.spec.VPNCIDR {
			if _, err := w.Client.EC2.DeleteRoute(ctx, &ec2.DeleteRouteInput{RouteTableId: t.RouteTableId, DestinationCidrBlock: &cidr}); awswait.Ignore(err, awswait.IsNotFound) != nil {
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

func (w *work) deleteRoutes(ctx context.Context) error {
	return base.ParallelAll(ctx, stepsFor(w.seen.tables, func(ctx context.Context, _ int, t ec2types.RouteTable) error {
		if w.vpnRoute(t) == nil {
			return nil
		}
		_, err := w.Client.EC2.DeleteRoute(ctx, &ec2.DeleteRouteInput{RouteTableId: t.RouteTableId, DestinationCidrBlock: &w.spec.VPNCIDR})
		return awswait.Ignore(err, awswait.IsNotFound)
	})...)
}

func (w *work) driftOfRoutes() []string {
	gateway, exists := w.gateway()
	if !exists {
		return nil
	}
	var found []string
	for _, t := range w.vpnTables() {
		if r := w.vpnRoute(t); r == nil || aws.ToString(r.NetworkInterfaceId) != gateway.interfaceID() {
			found = append(found, fmt.Sprintf("route table %s does not route %s to the VPN gateway", aws.ToString(t.RouteTableId), w.spec.VPNCIDR))
		}
	}
	return found
}
