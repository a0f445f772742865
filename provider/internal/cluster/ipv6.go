package cluster

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/internal/awswait"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

// validateIPv6Role refuses IPv6 addresses for nodes other than edges: every IPv6
// address is public, and only the edge serves clients over IPv6.
func validateIPv6Role(nodes map[string]nodeModel, diags *diag.Diagnostics) {
	for name, n := range nodes {
		if n.IPv6Address.IsNull() || n.Role.IsUnknown() || n.Role.ValueString() == string(model.RoleLoadBalancer) {
			continue
		}
		diags.AddAttributeError(path.Root("nodes").AtMapKey(name).AtName("ipv6_address"), "IPv6 address of a node that is not an edge",
			fmt.Sprintf("Node %s has role %s. IPv6 addresses are public, and only %s nodes have one; remove ipv6_address.", name, n.Role.ValueString(), model.RoleLoadBalancer))
	}
}

// ipv6Addresses returns the IPv6 addresses of the primary network interface.
func (i instance) ipv6Addresses() []string {
	if len(i.NetworkInterfaces) == 0 {
		return nil
	}
	var all []string
	for _, a := range i.NetworkInterfaces[0].Ipv6Addresses {
		all = append(all, aws.ToString(a.Ipv6Address))
	}
	return all
}

// hasIPv6 reports whether the instance has the configured IPv6 address, or none if
// none is configured. Others beside the configured one are left alone.
func (i instance) hasIPv6(configured string) bool {
	addresses := i.ipv6Addresses()
	if configured == "" {
		return len(addresses) == 0
	}
	return slices.ContainsFunc(addresses, func(a string) bool { return sameAddress(a, configured) })
}

// ipv6FromAWS returns the IPv6 address of the instance, in the configuration's text if
// it has the configured one.
func (i instance) ipv6FromAWS(configured string) types.String {
	switch addresses := i.ipv6Addresses(); {
	case len(addresses) == 0:
		return types.StringNull()
	case configured != "" && i.hasIPv6(configured):
		return types.StringValue(configured)
	default:
		return types.StringValue(addresses[0])
	}
}

func sameAddress(a, b string) bool {
	left, err := netip.ParseAddr(a)
	right, err2 := netip.ParseAddr(b)
	return err == nil && err2 == nil && left == right
}

// setIPv6 gives a stopped instance the node's IPv6 address instead of those that it has.
func (op *operation) setIPv6(ctx context.Context, n clusterspec.Node, i instance) error {
	eni := i.interfaceID()
	former := slices.DeleteFunc(i.ipv6Addresses(), func(a string) bool { return sameAddress(a, n.IPv6Address) })
	if len(former) > 0 {
		_, err := op.Client.EC2.UnassignIpv6Addresses(ctx, &ec2.UnassignIpv6AddressesInput{NetworkInterfaceId: &eni, Ipv6Addresses: former})
		if err = awswait.Ignore(err, awswait.IsNotFound); err != nil {
			return fmt.Errorf("unassign %v from %s: %w", former, i.id(), err)
		}
	}
	if n.IPv6Address == "" || i.hasIPv6(n.IPv6Address) {
		return nil
	}
	// The call may be repeated: an address that the interface has already is assigned again.
	_, err := op.Client.EC2.AssignIpv6Addresses(ctx, &ec2.AssignIpv6AddressesInput{NetworkInterfaceId: &eni, Ipv6Addresses: []string{n.IPv6Address}})
	if err != nil {
		return base.AtAttribute(path.Root("nodes").AtMapKey(n.Name).AtName("ipv6_address"), fmt.Errorf("assign %s to %s: %w", n.IPv6Address, i.id(), err))
	}
	return nil
}

// checkIPv6 checks, before anything is changed, that the node's IPv6 address is in its
// subnet's range. A plan cannot check it: the range may be part of the same plan.
func (op *operation) checkIPv6(n clusterspec.Node) error {
	if n.IPv6Address == "" {
		return nil
	}
	at := path.Root("nodes").AtMapKey(n.Name).AtName("ipv6_address")
	address, err := netip.ParseAddr(n.IPv6Address)
	if err != nil {
		return base.AtAttribute(at, err)
	}
	if i, lives := op.actual.live[n.Name]; lives && op.isMoved(n) && aws.ToString(i.SubnetId) == n.SubnetID && i.hasIPv6(n.IPv6Address) {
		return base.AtAttribute(at, fmt.Errorf("node %s moves to %s, and its instance keeps %s until the successor runs; change ipv6_address too", n.Name, n.Address, address))
	}
	for _, a := range op.dependencies.subnets[n.SubnetID].Ipv6CidrBlockAssociationSet {
		cidr, err := netip.ParsePrefix(aws.ToString(a.Ipv6CidrBlock))
		if err != nil || !cidr.Contains(address) {
			continue
		}
		if isReserved(cidr, address) {
			return base.AtAttribute(at, fmt.Errorf("AWS reserves the first %d addresses and the last one of %s, and %s is one of them; choose another address", reservedAtStart, cidr, address))
		}
		return nil
	}
	return base.AtAttribute(at, fmt.Errorf("node %s: %s is not in an IPv6 range of subnet %s; set ipv6_cidr of the subnet, or choose an address in it", n.Name, address, n.SubnetID))
}

type ipv6 struct{}

func (ipv6) Description(context.Context) string { return "an IPv6 address such as 2001:db8::10" }

func (v ipv6) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

func (v ipv6) ValidateString(ctx context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	if req.ConfigValue.IsNull() || req.ConfigValue.IsUnknown() {
		return
	}
	if a, err := netip.ParseAddr(req.ConfigValue.ValueString()); err != nil || !a.Is6() || a.Is4In6() || a.Zone() != "" {
		resp.Diagnostics.AddAttributeError(req.Path, "Invalid address", fmt.Sprintf("%q is not %s.", req.ConfigValue.ValueString(), v.Description(ctx)))
	}
}
