package inventory

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/cluster"
)

func networkLists(cfg aws.Config) []lister {
	c := ec2.NewFromConfig(cfg)
	return []lister{
		func(ctx context.Context) ([]Item, error) { return vpcs(ctx, c) },
		func(ctx context.Context) ([]Item, error) { return subnets(ctx, c) },
		func(ctx context.Context) ([]Item, error) { return routeTables(ctx, c) },
		func(ctx context.Context) ([]Item, error) { return gateways(ctx, c) },
		func(ctx context.Context) ([]Item, error) { return endpoints(ctx, c) },
		func(ctx context.Context) ([]Item, error) { return flowLogs(ctx, c) },
		func(ctx context.Context) ([]Item, error) { return groups(ctx, c) },
		func(ctx context.Context) ([]Item, error) { return addresses(ctx, c) },
	}
}

func nameOf(tags []types.Tag) string {
	values := map[string]string{}
	for _, t := range tags {
		values[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	for _, key := range []string{cluster.TagNode, cluster.TagName, "Name"} {
		if v := values[key]; v != "" {
			return v
		}
	}
	return ""
}

func tagFact(tags []types.Tag) Fact {
	var all []string
	for _, t := range tags {
		all = append(all, aws.ToString(t.Key)+":"+aws.ToString(t.Value))
	}
	return listed("tags", all)
}

func vpcs(ctx context.Context, c *ec2.Client) (items []Item, err error) {
	pages := ec2.NewDescribeVpcsPaginator(c, &ec2.DescribeVpcsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, v := range page.Vpcs {
			items = append(items, Item{Kind: "vpc", ID: *v.VpcId, Name: nameOf(v.Tags),
				Facts: facts(fact("default", aws.ToBool(v.IsDefault)), fact("cidr", aws.ToString(v.CidrBlock)), tagFact(v.Tags))})
		}
	}
	return items, nil
}

func subnets(ctx context.Context, c *ec2.Client) (items []Item, err error) {
	pages := ec2.NewDescribeSubnetsPaginator(c, &ec2.DescribeSubnetsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, s := range page.Subnets {
			items = append(items, Item{Kind: "subnet", ID: *s.SubnetId, Name: nameOf(s.Tags), Facts: facts(
				fact("vpc", aws.ToString(s.VpcId)), fact("cidr", aws.ToString(s.CidrBlock)),
				fact("zone", aws.ToString(s.AvailabilityZone)), fact("public-ip", aws.ToBool(s.MapPublicIpOnLaunch)), tagFact(s.Tags))})
		}
	}
	return items, nil
}

func routeTables(ctx context.Context, c *ec2.Client) (items []Item, err error) {
	pages := ec2.NewDescribeRouteTablesPaginator(c, &ec2.DescribeRouteTablesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range page.RouteTables {
			item := Item{Kind: "route-table", ID: *r.RouteTableId, Name: nameOf(r.Tags)}
			var associations, routes []string
			for _, a := range r.Associations {
				if aws.ToBool(a.Main) {
					item.Name = "main"
					continue
				}
				associations = append(associations, aws.ToString(a.SubnetId))
			}
			for _, route := range r.Routes {
				routes = append(routes, routeText(route))
			}
			item.Facts = facts(fact("vpc", aws.ToString(r.VpcId)), listed("subnets", associations), listed("routes", routes), tagFact(r.Tags))
			items = append(items, item)
		}
	}
	return items, nil
}

func routeText(r types.Route) string {
	var text strings.Builder
	for _, s := range []*string{r.DestinationCidrBlock, r.DestinationPrefixListId, r.DestinationIpv6CidrBlock} {
		text.WriteString(aws.ToString(s))
	}
	text.WriteString("→")
	for _, s := range []*string{r.GatewayId, r.NetworkInterfaceId, r.NatGatewayId} {
		text.WriteString(aws.ToString(s))
	}
	return text.String()
}

func gateways(ctx context.Context, c *ec2.Client) (items []Item, err error) {
	pages := ec2.NewDescribeInternetGatewaysPaginator(c, &ec2.DescribeInternetGatewaysInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, g := range page.InternetGateways {
			item := Item{Kind: "internet-gateway", ID: *g.InternetGatewayId, Name: nameOf(g.Tags)}
			for _, a := range g.Attachments {
				item.Facts = append(item.Facts, fact("vpc", aws.ToString(a.VpcId)))
			}
			item.Facts = facts(append(item.Facts, tagFact(g.Tags))...)
			items = append(items, item)
		}
	}
	return items, nil
}

func endpoints(ctx context.Context, c *ec2.Client) (items []Item, err error) {
	pages := ec2.NewDescribeVpcEndpointsPaginator(c, &ec2.DescribeVpcEndpointsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, e := range page.VpcEndpoints {
			if strings.EqualFold(string(e.State), string(types.StateDeleted)) {
				continue // listed for a while, like terminated instances
			}
			items = append(items, Item{Kind: "endpoint", ID: *e.VpcEndpointId, Name: nameOf(e.Tags), Facts: facts(
				fact("vpc", aws.ToString(e.VpcId)), fact("service", aws.ToString(e.ServiceName)),
				listed("route-tables", e.RouteTableIds), tagFact(e.Tags))})
		}
	}
	return items, nil
}

func flowLogs(ctx context.Context, c *ec2.Client) (items []Item, err error) {
	out, err := c.DescribeFlowLogs(ctx, &ec2.DescribeFlowLogsInput{})
	if err != nil {
		return nil, err
	}
	for _, l := range out.FlowLogs {
		items = append(items, Item{Kind: "flow-log", ID: *l.FlowLogId, Name: nameOf(l.Tags), Facts: facts(
			fact("of", aws.ToString(l.ResourceId)), fact("to", aws.ToString(l.LogDestination)), fact("traffic", string(l.TrafficType)),
			fact("aggregation", aws.ToInt32(l.MaxAggregationInterval)), tagFact(l.Tags))})
	}
	return items, nil
}

func groups(ctx context.Context, c *ec2.Client) (items []Item, err error) {
	pages := ec2.NewDescribeSecurityGroupsPaginator(c, &ec2.DescribeSecurityGroupsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, g := range page.SecurityGroups {
			items = append(items, Item{Kind: "security-group", ID: *g.GroupId, Name: aws.ToString(g.GroupName), Facts: facts(
				fact("vpc", aws.ToString(g.VpcId)), listed("in", ruleTexts(g.IpPermissions)),
				listed("out", ruleTexts(g.IpPermissionsEgress)), tagFact(g.Tags))})
		}
	}
	return items, nil
}

func ruleTexts(permissions []types.IpPermission) (rules []string) {
	for _, p := range permissions {
		ports := fmt.Sprintf("%s/%d-%d ", aws.ToString(p.IpProtocol), aws.ToInt32(p.FromPort), aws.ToInt32(p.ToPort))
		for _, r := range p.IpRanges {
			rules = append(rules, ports+aws.ToString(r.CidrIp))
		}
		for _, r := range p.Ipv6Ranges {
			rules = append(rules, ports+aws.ToString(r.CidrIpv6))
		}
		for _, r := range p.UserIdGroupPairs {
			rules = append(rules, ports+aws.ToString(r.GroupId))
		}
		for _, r := range p.PrefixListIds {
			rules = append(rules, ports+aws.ToString(r.PrefixListId))
		}
	}
	return rules
}

func addresses(ctx context.Context, c *ec2.Client) (items []Item, err error) {
	out, err := c.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{})
	if err != nil {
		return nil, err
	}
	for _, a := range out.Addresses {
		items = append(items, Item{Kind: "address", ID: *a.AllocationId, Name: nameOf(a.Tags), Facts: facts(
			fact("instance", aws.ToString(a.InstanceId)), tagFact(a.Tags))})
	}
	return items, nil
}
