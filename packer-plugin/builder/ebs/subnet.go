package ebs

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// findSubnets finds the subnets to try: the one named, those that the filter
// finds, or else those of the default VPC. All are of one VPC, since the
// security group is.
func (b *build) findSubnets(ctx context.Context) error {
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
			return err
		}
		b.subnets = append(b.subnets, page.Subnets...)
	}
	if len(b.subnets) == 0 {
		return fmt.Errorf("none in %s matches; set subnet_id or subnet_filter (without them, a default VPC is needed)", b.aws.Region)
	}
	slices.SortFunc(b.subnets, func(a, c types.Subnet) int {
		return cmp.Or(-cmp.Compare(aws.ToInt32(a.AvailableIpAddressCount), aws.ToInt32(c.AvailableIpAddressCount)),
			cmp.Compare(aws.ToString(a.SubnetId), aws.ToString(c.SubnetId)))
	})
	vpc := aws.ToString(b.subnets[0].VpcId)
	b.subnets = slices.DeleteFunc(b.subnets, func(s types.Subnet) bool { return aws.ToString(s.VpcId) != vpc })
	return nil
}
