// Package vpnroute manages the routes by which nodes reach VPN clients: in each
// route table of the nodes' subnets, the VPN range is routed to the network
// interface of the gateway. Clients are routed and not masqueraded, so that
// nodes see their addresses.
//
// The route tables belong to the customer; only the route for the VPN range is
// the cluster's.
package vpnroute

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/awsclient"
	"github.com/xeroops/xeroops/internal/awswait"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

// Inputs are what routes depend on and other parts of the cluster observe. The
// functions are called after Observe.
type Inputs struct {
	// Gateway returns the id of the network interface of the gateway's
	// instance, "" if it is not known yet; exists is false if there is no
	// instance.
	Gateway func() (interfaceID string, exists bool)
	// FormerRanges returns the ranges that vpn_cidr may have had before; a
	// route for one of them to the gateway is removed.
	FormerRanges func() map[string]bool
	// OwnsGroup reports whether a security group is one of the cluster's.
	OwnsGroup func(id string) bool
}

// Routes are the VPN routes of one cluster.
type Routes struct {
	client   *awsclient.EC2
	describe *base.Describer
	spec     *clusterspec.Spec
	inputs   Inputs
	tables   []ec2types.RouteTable // all of the VPC
}

// New returns the routes that spec describes, not observed yet.
func New(p *base.ProviderData, spec *clusterspec.Spec, inputs Inputs) *Routes {
	return &Routes{client: p.Client.EC2, describe: p.Describe, spec: spec, inputs: inputs}
}

// Observe describes the route tables of the VPC.
func (r *Routes) Observe(ctx context.Context) error {
	r.tables = nil
	if r.spec.VPCID == "" {
		return nil
	}
	tables, _, err := r.describe.RouteTables.Get(ctx, r.spec.VPCID)
	r.tables = tables
	return err
}

// nodeTables returns the route tables of the nodes' subnets.
func (r *Routes) nodeTables() []ec2types.RouteTable {
	subnets := map[string]bool{}
	for _, n := range r.spec.Nodes {
		subnets[n.SubnetID] = true
	}
	var tables []ec2types.RouteTable
	var main *ec2types.RouteTable
	for _, t := range r.tables {
		associated := false
		for _, a := range t.Associations {
			if aws.ToBool(a.Main) {
				main = &t
			}
			if id := aws.ToString(a.SubnetId); subnets[id] {
				associated = true
				delete(subnets, id)
			}
		}
		if associated {
			tables = append(tables, t)
		}
	}
	if len(subnets) > 0 && main != nil { // some subnet has no table of its own
		tables = append(tables, *main)
	}
	return tables
}

// route returns a table's route for the VPN range, or nil.
func (r *Routes) route(t ec2types.RouteTable) *ec2types.Route {
	for _, route := range t.Routes {
		// A route for an IPv6 range or a prefix list has no DestinationCidrBlock.
		if route.DestinationCidrBlock != nil && *route.DestinationCidrBlock == r.spec.VPNCIDR {
			return &route
		}
	}
	return nil
}

// Ensure routes the VPN range to the gateway's network interface. It deletes
// the routes if the specification has no gateway, and does nothing while the
// gateway's interface is not known.
func (r *Routes) Ensure(ctx context.Context) error {
	if !r.spec.HasRole(model.RoleWireGuard) {
		return r.Delete(ctx)
	}
	target, exists := r.inputs.Gateway()
	if !exists || target == "" {
		return nil
	}
	former := r.inputs.FormerRanges()
	return base.ParallelAll(ctx, base.StepsFor(r.nodeTables(), func(ctx context.Context, _ int, t ec2types.RouteTable) error {
		if err := r.ensureRoute(ctx, t, target, former); err != nil {
			return fmt.Errorf("route %s in table %s to the VPN gateway: %w", r.spec.VPNCIDR, aws.ToString(t.RouteTableId), err)
		}
		return nil
	})...)
}

func (r *Routes) ensureRoute(ctx context.Context, t ec2types.RouteTable, target string, former map[string]bool) error {
	for _, route := range t.Routes {
		if aws.ToString(route.NetworkInterfaceId) == target && former[aws.ToString(route.DestinationCidrBlock)] {
			if err := r.deleteRoute(ctx, t, *route.DestinationCidrBlock); err != nil {
				return err
			}
		}
	}
	route := r.route(t)
	switch {
	case route == nil:
		_, err := r.client.CreateRoute(ctx, &ec2.CreateRouteInput{RouteTableId: t.RouteTableId, DestinationCidrBlock: &r.spec.VPNCIDR, NetworkInterfaceId: &target})
		if !awswait.HasCode(err, "RouteAlreadyExists") {
			return err
		}
	case aws.ToString(route.NetworkInterfaceId) == target:
		return nil
	}
	_, err := r.client.ReplaceRoute(ctx, &ec2.ReplaceRouteInput{RouteTableId: t.RouteTableId, DestinationCidrBlock: &r.spec.VPNCIDR, NetworkInterfaceId: &target})
	return err
}

func (r *Routes) deleteRoute(ctx context.Context, t ec2types.RouteTable, cidr string) error {
	_, err := r.client.DeleteRoute(ctx, &ec2.DeleteRouteInput{RouteTableId: t.RouteTableId, DestinationCidrBlock: &cidr})
	return awswait.Ignore(err, awswait.IsNotFound)
}

// Drift describes how the routes differ from the specification.
func (r *Routes) Drift(context.Context) []string {
	var found []string
	if !r.spec.HasRole(model.RoleWireGuard) {
		for _, t := range r.tables {
			if route := r.route(t); route != nil && route.State == ec2types.RouteStateBlackhole {
				found = append(found, fmt.Sprintf("route table %s routes %s to a gateway that does not exist", aws.ToString(t.RouteTableId), r.spec.VPNCIDR))
			}
		}
		return found
	}
	gateway, exists := r.inputs.Gateway()
	if !exists {
		return nil // the missing node is what the plan shows
	}
	for _, t := range r.nodeTables() {
		if route := r.route(t); route == nil || aws.ToString(route.NetworkInterfaceId) != gateway {
			found = append(found, fmt.Sprintf("route table %s does not route %s to the VPN gateway", aws.ToString(t.RouteTableId), r.spec.VPNCIDR))
		}
	}
	return found
}

// Delete deletes the routes for the VPN range whose target belongs to the
// cluster or does not exist.
func (r *Routes) Delete(ctx context.Context) error {
	return base.ParallelAll(ctx, base.StepsFor(r.tables, func(ctx context.Context, _ int, t ec2types.RouteTable) error {
		route := r.route(t)
		if route == nil {
			return nil
		}
		own, err := r.owns(ctx, *route)
		if err == nil && own {
			err = r.deleteRoute(ctx, t, r.spec.VPNCIDR)
		}
		if err != nil {
			return fmt.Errorf("delete route %s in table %s: %w", r.spec.VPNCIDR, aws.ToString(t.RouteTableId), err)
		}
		return nil
	})...)
}

// owns reports whether the target of a route for the VPN range is a network
// interface of this cluster or does not exist. It describes the interface:
// the gateway may have been terminated since Observe.
func (r *Routes) owns(ctx context.Context, route ec2types.Route) (bool, error) {
	if route.State == ec2types.RouteStateBlackhole {
		return true, nil
	}
	if route.NetworkInterfaceId == nil {
		return false, nil
	}
	out, err := r.client.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{
		Filters: []ec2types.Filter{base.Filter("network-interface-id", *route.NetworkInterfaceId)}})
	if err != nil || len(out.NetworkInterfaces) == 0 {
		return err == nil, err
	}
	for _, group := range out.NetworkInterfaces[0].Groups {
		if r.inputs.OwnsGroup(aws.ToString(group.GroupId)) {
			return true, nil
		}
	}
	return false, nil
}
