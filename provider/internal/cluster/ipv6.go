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

// hasIPv6 reports whether the instance has the IPv6 address.
func (i instance) hasIPv6(address string) bool {
	return slices.ContainsFunc(i.ipv6Addresses(), func(a string) bool { return sameAddress(a, address) })
}

// ipv6FromAWS returns the configured IPv6 address if the instance has it. Others are not
// the cluster's, such as one that the subnet assigned.
func (i instance) ipv6FromAWS(configured types.String) types.String {
	if i.hasIPv6(configured.ValueString()) {
		return configured
	}
	return types.StringNull()
}

// formerIPv6 returns the address that the instance has because of an earlier
// configuration, or "".
func (op *operation) formerIPv6(n clusterspec.Node, i instance) string {
	if former := op.before[n.Name].IPv6Address; i.hasIPv6(former) && !sameAddress(former, n.IPv6Address) {
		return former
	}
	return ""
}

// ipv6Differs reports whether the instance has to be stopped for its IPv6 address.
func (op *operation) ipv6Differs(n clusterspec.Node, i instance) bool {
	return n.IPv6Address != "" && !i.hasIPv6(n.IPv6Address) || op.formerIPv6(n, i) != ""
}

func sameAddress(a, b string) bool {
	left, err := netip.ParseAddr(a)
	right, err2 := netip.ParseAddr(b)
	return err == nil && err2 == nil && left == right
}

// setIPv6 gives a stopped instance the node's IPv6 address instead of the former one.
// Other addresses are left alone.
func (op *operation) setIPv6(ctx context.Context, n clusterspec.Node, i instance) error {
	eni := i.interfaceID()
	if former := op.formerIPv6(n, i); former != "" {
		_, err := op.Client.EC2.UnassignIpv6Addresses(ctx, &ec2.UnassignIpv6AddressesInput{NetworkInterfaceId: &eni, Ipv6Addresses: []string{former}})
		if err = awswait.Ignore(err, awswait.IsNotFound); err != nil {
			return fmt.Errorf("unassign %s from %s: %w", former, i.id(), err)
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
