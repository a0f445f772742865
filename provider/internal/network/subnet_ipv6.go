package network

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// everywhereIPv6 is the destination of an IPv6 default route.
const everywhereIPv6 = "::/0"

// subnetIPv6Bits is the prefix length of an IPv6 range that the provider accepts. AWS
// allows /44 to /64; address plans and neighbours expect /64 (RFC 4291, 2.5.4).
const subnetIPv6Bits = 64

// ipv6RangesOf returns the associations of a subnet with IPv6 ranges.
func ipv6RangesOf(s ec2types.Subnet) []ec2types.SubnetIpv6CidrBlockAssociation {
	return slices.DeleteFunc(slices.Clone(s.Ipv6CidrBlockAssociationSet), func(a ec2types.SubnetIpv6CidrBlockAssociation) bool {
		return a.Ipv6CidrBlockState == nil || isDissociated(string(a.Ipv6CidrBlockState.State))
	})
}

// ipv6OfSubnet returns the association of a subnet with an IPv6 range, or nil.
func ipv6OfSubnet(s ec2types.Subnet) *ec2types.SubnetIpv6CidrBlockAssociation {
	if all := ipv6RangesOf(s); len(all) > 0 {
		return &all[0]
	}
	return nil
}

// ipv6FromAWS returns the IPv6 range of a subnet, in the text of the state if that
// means the same.
func ipv6FromAWS(s ec2types.Subnet, inState types.String) types.String {
	a := ipv6OfSubnet(s)
	if a == nil {
		return types.StringNull()
	}
	if sameRange(aws.ToString(a.Ipv6CidrBlock), inState.ValueString()) {
		return inState
	}
	return types.StringPointerValue(a.Ipv6CidrBlock)
}

func sameRange(a, b string) bool {
	left, err := netip.ParsePrefix(a)
	right, err2 := netip.ParsePrefix(b)
	return err == nil && err2 == nil && left == right
}

// ValidateConfig refuses an IPv6 range for a private subnet: every IPv6 address is
// public.
func (r *subnetResource) ValidateConfig(ctx context.Context, req resource.ValidateConfigRequest, resp *resource.ValidateConfigResponse) {
	var m subnetModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &m)...)
	base.AddError(&resp.Diagnostics, "validate", subnetTypeName, m.Name.ValueString(), m.checkIPv6())
}

func (m *subnetModel) checkIPv6() error {
	if m.Type.ValueString() == typePrivate && m.IPv6CIDR.ValueString() != "" {
		return base.AtAttribute(path.Root("ipv6_cidr"), fmt.Errorf("a private subnet has no IPv6 range, because all addresses in it would be public; remove ipv6_cidr"))
	}
	return nil
}

// ensureIPv6 associates the subnet with the model's IPv6 range, or with none.
func (r *subnetResource) ensureIPv6(ctx context.Context, p *subnetParts, m subnetModel) error {
	if err := m.checkIPv6(); err != nil {
		return err
	}
	wanted, associated := m.IPv6CIDR.ValueString(), false
	for _, actual := range ipv6RangesOf(*p.subnet) {
		if sameRange(aws.ToString(actual.Ipv6CidrBlock), wanted) {
			associated = true
			continue
		}
		_, err := r.Client.EC2.DisassociateSubnetCidrBlock(ctx, &ec2.DisassociateSubnetCidrBlockInput{AssociationId: actual.AssociationId})
		if err = awswait.Ignore(err, awswait.IsNotFound); err != nil {
			return base.AtAttribute(path.Root("ipv6_cidr"), fmt.Errorf("disassociate %s: %w", aws.ToString(actual.Ipv6CidrBlock), err))
		}
	}
	if wanted == "" {
		return nil
	}
	if !associated {
		err := visible(ctx, func(ctx context.Context) (any, error) {
			return r.Client.EC2.AssociateSubnetCidrBlock(ctx, &ec2.AssociateSubnetCidrBlockInput{SubnetId: p.subnet.SubnetId, Ipv6CidrBlock: &wanted})
		})
		if err != nil && !r.hasIPv6(ctx, *p.subnet.SubnetId, wanted) {
			return base.AtAttribute(path.Root("ipv6_cidr"), fmt.Errorf("associate %s: %w", wanted, err))
		}
	}
	return awswait.Until(ctx, awswait.StateChange, func(ctx context.Context) (bool, string, error) {
		return r.hasIPv6(ctx, *p.subnet.SubnetId, wanted), "waiting for the association with " + wanted, ctx.Err()
	})
}

// hasIPv6 reports whether the subnet is associated with the range: also after an error
// of the call, whose first response may have been lost.
func (r *subnetResource) hasIPv6(ctx context.Context, id, wanted string) bool {
	found, err := r.describe(ctx, []ec2types.Filter{base.Filter("subnet-id", id)})
	if err != nil || len(found) == 0 {
		return false
	}
	a := ipv6OfSubnet(found[0])
	return a != nil && sameRange(aws.ToString(a.Ipv6CidrBlock), wanted) && a.Ipv6CidrBlockState.State != ec2types.SubnetCidrBlockStateCodeAssociating
}

// setIPv6Route gives a public subnet with an IPv6 range a default route for IPv6, and
// removes that of one without.
func (r *subnetResource) setIPv6Route(ctx context.Context, p *subnetParts, m subnetModel) error {
	current := p.defaultRouteTo(everywhereIPv6)
	works := current != nil && aws.ToString(current.GatewayId) == p.gatewayID && current.State != ec2types.RouteStateBlackhole
	table, destination := p.table.RouteTableId, aws.String(everywhereIPv6)
	var err error
	switch wanted := m.IPv6CIDR.ValueString() != ""; {
	case wanted && current == nil:
		err = visible(ctx, func(ctx context.Context) (any, error) {
			return r.Client.EC2.CreateRoute(ctx, &ec2.CreateRouteInput{RouteTableId: table, DestinationIpv6CidrBlock: destination, GatewayId: &p.gatewayID})
		})
	case wanted && !works:
		_, err = r.Client.EC2.ReplaceRoute(ctx, &ec2.ReplaceRouteInput{RouteTableId: table, DestinationIpv6CidrBlock: destination, GatewayId: &p.gatewayID})
	case !wanted && current != nil && leadsToInternetGateway(*current):
		_, err = r.Client.EC2.DeleteRoute(ctx, &ec2.DeleteRouteInput{RouteTableId: table, DestinationIpv6CidrBlock: destination})
		err = awswait.Ignore(err, awswait.IsNotFound)
	}
	if err != nil && !awswait.HasCode(err, "RouteAlreadyExists") {
		return fmt.Errorf("set the route for %s in %s: %w", everywhereIPv6, aws.ToString(table), err)
	}
	return nil
}

// noIPv6OnLaunch disables IPv6 addresses for every instance that is launched.
func (r *subnetResource) noIPv6OnLaunch(ctx context.Context, p *subnetParts) error {
	if !aws.ToBool(p.subnet.AssignIpv6AddressOnCreation) {
		return nil
	}
	_, err := r.Client.EC2.ModifySubnetAttribute(ctx, &ec2.ModifySubnetAttributeInput{
		SubnetId: p.subnet.SubnetId, AssignIpv6AddressOnCreation: &ec2types.AttributeBooleanValue{Value: aws.Bool(false)}})
	if err != nil {
		return fmt.Errorf("turn off IPv6 addresses on launch: %w", err)
	}
	return nil
}

type ipv6Range struct{}

func (ipv6Range) Description(context.Context) string {
	return "an IPv6 range with a prefix of 64 bits, such as 2001:db8:0:1::/64"
}

func (v ipv6Range) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

func (v ipv6Range) ValidateString(ctx context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	if req.ConfigValue.IsNull() || req.ConfigValue.IsUnknown() {
		return
	}
	prefix, err := netip.ParsePrefix(req.ConfigValue.ValueString())
	if err != nil || !prefix.Addr().Is6() || prefix.Bits() != subnetIPv6Bits || prefix.Masked() != prefix {
		resp.Diagnostics.AddAttributeError(req.Path, "Invalid IPv6 range", fmt.Sprintf("%q is not %s.", req.ConfigValue.ValueString(), v.Description(ctx)))
	}
}
