package network

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/xeroops/xeroops/provider/internal/base"
)

// neighbours is the VPC of a new subnet, nil if there is none, and the VPC's
// subnets.
type neighbours struct {
	vpc     *ec2types.Vpc
	subnets []ec2types.Subnet
	parts   *subnetParts // for the create that follows
}

func (r *subnetResource) findNeighbours(ctx context.Context, m subnetModel) (*neighbours, error) {
	n, vpcID := &neighbours{}, m.VPCID.ValueString()
	ofVPC := []ec2types.Filter{base.Filter("vpc-id", vpcID)}
	err := base.Parallel(ctx,
		func(ctx context.Context) (err error) {
			n.vpc, err = found(r.Describe.VPCs.Get(ctx, vpcID))
			return err
		},
		func(ctx context.Context) (err error) {
			n.subnets, err = r.describe(ctx, ofVPC)
			return err
		},
		func(ctx context.Context) (err error) {
			_, n.parts, err = r.findByName(ctx, m)
			return err
		},
	)
	return n, err
}

// named returns the subnets that the provider created under a name.
func (n *neighbours) named(name string) []ec2types.Subnet {
	var found []ec2types.Subnet
	for _, s := range n.subnets {
		if base.IsManagedAs(name, base.FlattenEC2Tags(s.Tags)) {
			found = append(found, s)
		}
	}
	return found
}

// check returns an error if the subnet's range does not fit into the VPC. It may
// overlap a subnet of its own name, which the new one replaces or adopts.
func (n *neighbours) check(m subnetModel) error {
	if n.vpc == nil {
		return base.AtAttribute(path.Root("vpc_id"), fmt.Errorf("there is no VPC %s in this account and region; check vpc_id and the provider's region", m.VPCID.ValueString()))
	}
	wanted, err := netip.ParsePrefix(m.CIDR.ValueString())
	if err != nil {
		return base.AtAttribute(path.Root("cidr"), err)
	}
	if ranges := rangesOf(*n.vpc); !within(wanted, ranges) {
		return base.AtAttribute(path.Root("cidr"), fmt.Errorf("%s is not within the VPC's range %s; choose a range within it",
			wanted, strings.Join(ranges, ", ")))
	}
	for _, s := range n.subnets {
		taken, err := netip.ParsePrefix(aws.ToString(s.CidrBlock))
		if err == nil && taken.Overlaps(wanted) && !base.IsManagedAs(m.Name.ValueString(), base.FlattenEC2Tags(s.Tags)) {
			return base.AtAttribute(path.Root("cidr"), fmt.Errorf("%s overlaps %s of %s in the same VPC; choose another range", wanted, taken, aws.ToString(s.SubnetId)))
		}
	}
	return nil
}

// rangesOf returns the IPv4 ranges of a VPC.
func rangesOf(vpc ec2types.Vpc) []string {
	ranges := []string{aws.ToString(vpc.CidrBlock)}
	for _, a := range vpc.CidrBlockAssociationSet {
		if block := aws.ToString(a.CidrBlock); block != ranges[0] && a.CidrBlockState != nil && a.CidrBlockState.State == ec2types.VpcCidrBlockStateCodeAssociated {
			ranges = append(ranges, block)
		}
	}
	return ranges
}

func within(wanted netip.Prefix, ranges []string) bool {
	for _, text := range ranges {
		outer, err := netip.ParsePrefix(text)
		if err == nil && outer.Bits() <= wanted.Bits() && outer.Contains(wanted.Addr()) {
			return true
		}
	}
	return false
}
