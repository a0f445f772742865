package network

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// amazonPool is the pool of IPv6 ranges that Amazon provides. Ranges from other
// pools are not managed by this resource.
const amazonPool = "Amazon"

// ipv6Of returns the association of a VPC with the IPv6 range that Amazon provides,
// or nil. A VPC has at most one.
func ipv6Of(vpc ec2types.Vpc) *ec2types.VpcIpv6CidrBlockAssociation {
	for _, a := range vpc.Ipv6CidrBlockAssociationSet {
		if aws.ToString(a.Ipv6Pool) == amazonPool && a.Ipv6CidrBlockState != nil && !isDissociated(string(a.Ipv6CidrBlockState.State)) {
			return &a
		}
	}
	return nil
}

// isDissociated reports whether the state of a range's association is one in which
// the range is not usable, nor about to be.
func isDissociated(state string) bool {
	return slices.Contains([]string{"disassociating", "disassociated", "failing", "failed"}, state)
}

// ensureIPv6 associates the VPC with an IPv6 range, or ends that.
func (r *vpcResource) ensureIPv6(ctx context.Context, id string, p *vpcParts, m vpcModel) error {
	switch {
	case m.IPv6.ValueBool() && p.ipv6 == nil:
		_, err := r.Client.EC2.AssociateVpcCidrBlock(ctx, &ec2.AssociateVpcCidrBlockInput{VpcId: &id, AmazonProvidedIpv6CidrBlock: aws.Bool(true)})
		// If a response was lost, the range is already associated.
		if err != nil && !awswait.HasCode(err, "CidrLimitExceeded") {
			return base.AtAttribute(path.Root("ipv6"), fmt.Errorf("associate an IPv6 range: %w", err))
		}
		return r.waitIPv6(ctx, id, p)
	case m.IPv6.ValueBool() && p.ipv6.Ipv6CidrBlockState.State == ec2types.VpcCidrBlockStateCodeAssociating:
		return r.waitIPv6(ctx, id, p)
	case !m.IPv6.ValueBool() && p.ipv6 != nil:
		_, err := r.Client.EC2.DisassociateVpcCidrBlock(ctx, &ec2.DisassociateVpcCidrBlockInput{AssociationId: p.ipv6.AssociationId})
		if err = awswait.Ignore(err, awswait.IsNotFound); err != nil {
			return base.AtAttribute(path.Root("ipv6"), fmt.Errorf("disassociate %s: %w", aws.ToString(p.ipv6.Ipv6CidrBlock), err))
		}
		p.ipv6 = nil
	}
	return nil
}

// waitIPv6 waits until the VPC is associated with an IPv6 range.
func (r *vpcResource) waitIPv6(ctx context.Context, id string, p *vpcParts) error {
	return awswait.Until(ctx, awswait.StateChange, func(ctx context.Context) (bool, string, error) {
		out, err := r.Client.EC2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: []ec2types.Filter{base.Filter("vpc-id", id)}})
		if err != nil || len(out.Vpcs) == 0 {
			return false, "waiting for the VPC to be visible", err
		}
		p.ipv6 = ipv6Of(out.Vpcs[0])
		ready := p.ipv6 != nil && p.ipv6.Ipv6CidrBlockState.State != ec2types.VpcCidrBlockStateCodeAssociating
		return ready, "waiting for the association with an IPv6 range", nil
	})
}

// planIPv6 plans the IPv6 range, and refuses to give it up while subnets use it.
func (r *vpcResource) planIPv6(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	var id, current types.String
	var wanted types.Bool
	resp.Diagnostics.Append(req.Plan.GetAttribute(ctx, path.Root("ipv6"), &wanted)...)
	if !req.State.Raw.IsNull() {
		resp.Diagnostics.Append(req.State.GetAttribute(ctx, path.Root("id"), &id)...)
		resp.Diagnostics.Append(req.State.GetAttribute(ctx, path.Root("ipv6_cidr"), &current)...)
	}
	if resp.Diagnostics.HasError() || wanted.IsUnknown() {
		return
	}
	planned := types.StringUnknown()
	switch {
	case !wanted.ValueBool():
		planned = types.StringNull()
	case !current.IsNull():
		planned = current
	}
	resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("ipv6_cidr"), planned)...)
	if planned.IsNull() && !current.IsNull() {
		base.AddError(&resp.Diagnostics, "plan", vpcTypeName, id.ValueString(), r.checkIPv6Unused(ctx, id.ValueString()))
	}
}

// checkIPv6Unused returns an error if subnets of the VPC have IPv6 ranges. Terraform
// changes the VPC before its subnets, so that both cannot be in one apply.
func (r *vpcResource) checkIPv6Unused(ctx context.Context, id string) error {
	var using []string
	pages := ec2.NewDescribeSubnetsPaginator(r.Client.EC2, &ec2.DescribeSubnetsInput{Filters: []ec2types.Filter{base.Filter("vpc-id", id)}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, s := range page.Subnets {
			if ipv6OfSubnet(s) != nil {
				using = append(using, aws.ToString(s.SubnetId))
			}
		}
	}
	if len(using) == 0 {
		return nil
	}
	return base.AtAttribute(path.Root("ipv6"), fmt.Errorf("%s has an IPv6 range of this VPC; remove ipv6_address from the nodes and ipv6_cidr from the subnets, apply, and then set ipv6 to false",
		strings.Join(using, ", ")))
}
