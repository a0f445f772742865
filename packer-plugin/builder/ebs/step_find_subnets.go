package ebs

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/packer-plugin-sdk/multistep"
)

// stepFindSubnets finds the subnets to try: subnet_id, the matches of
// subnet_filter, or else those of the default VPC.
type stepFindSubnets struct{ noCleanup }

// Run implements multistep.Step.
func (s *stepFindSubnets) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	return run(ctx, state, "find a subnet", func(ctx context.Context, b *build) error {
		subnets, err := s.find(ctx, b)
		keySubnets.put(state, subnets)
		return err
	})
}

// find returns subnets of one VPC, because a security group belongs to one;
// those with the most free addresses come first.
func (s *stepFindSubnets) find(ctx context.Context, b *build) (subnets []types.Subnet, err error) {
	in := &ec2.DescribeSubnetsInput{Filters: []types.Filter{filter("default-for-az", "true")}}
	switch {
	case b.config.SubnetID != "":
		in = &ec2.DescribeSubnetsInput{SubnetIds: []string{b.config.SubnetID}}
	case len(b.config.SubnetFilter.Filters) > 0:
		in = &ec2.DescribeSubnetsInput{Filters: filters(b.config.SubnetFilter.Filters)}
	}
	pages := ec2.NewDescribeSubnetsPaginator(b.aws.EC2, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		subnets = append(subnets, page.Subnets...)
	}
	if len(subnets) == 0 {
		return nil, fmt.Errorf("no subnet matches in %s; set subnet_id or subnet_filter (without them, a default VPC is needed)", b.aws.Region)
	}
	slices.SortFunc(subnets, func(a, b types.Subnet) int {
		return cmp.Or(-cmp.Compare(aws.ToInt32(a.AvailableIpAddressCount), aws.ToInt32(b.AvailableIpAddressCount)),
			cmp.Compare(aws.ToString(a.SubnetId), aws.ToString(b.SubnetId)))
	})
	vpc := aws.ToString(subnets[0].VpcId)
	return slices.DeleteFunc(subnets, func(s types.Subnet) bool { return aws.ToString(s.VpcId) != vpc }), nil
}
