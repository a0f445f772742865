package main

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// networks deletes VPCs with all that is in them.
func (s *sweeper) networks(ctx context.Context) error {
	out, err := s.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: ours()})
	if err != nil {
		return err
	}
	for _, v := range out.Vpcs {
		id := aws.ToString(v.VpcId)
		for _, step := range []func(context.Context, string) error{s.endpoints, s.gateways, s.subnets, s.routeTables, s.securityGroups} {
			err = errors.Join(err, step(ctx, id))
		}
		err = errors.Join(err, s.delete(ctx, "VPC", v.VpcId, func(ctx context.Context) error {
			_, err := s.ec2.DeleteVpc(ctx, &ec2.DeleteVpcInput{VpcId: v.VpcId})
			return err
		}))
	}
	return err
}

func (s *sweeper) endpoints(ctx context.Context, vpc string) error {
	out, err := s.ec2.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{Filters: append(ours(), filter("vpc-id", vpc))})
	if err != nil {
		return err
	}
	for _, e := range out.VpcEndpoints {
		err = errors.Join(err, s.delete(ctx, "VPC endpoint", e.VpcEndpointId, func(ctx context.Context) error {
			_, err := s.ec2.DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{*e.VpcEndpointId}})
			return err
		}))
	}
	return err
}

func (s *sweeper) gateways(ctx context.Context, vpc string) error {
	out, err := s.ec2.DescribeInternetGateways(ctx, &ec2.DescribeInternetGatewaysInput{Filters: ours()})
	if err != nil {
		return err
	}
	for _, g := range out.InternetGateways {
		if len(g.Attachments) > 0 {
			if aws.ToString(g.Attachments[0].VpcId) != vpc {
				continue
			}
			if _, err := s.ec2.DetachInternetGateway(ctx, &ec2.DetachInternetGatewayInput{InternetGatewayId: g.InternetGatewayId, VpcId: &vpc}); err != nil {
				return err
			}
		}
		err = errors.Join(err, s.delete(ctx, "internet gateway", g.InternetGatewayId, func(ctx context.Context) error {
			_, err := s.ec2.DeleteInternetGateway(ctx, &ec2.DeleteInternetGatewayInput{InternetGatewayId: g.InternetGatewayId})
			return err
		}))
	}
	return err
}

func (s *sweeper) subnets(ctx context.Context, vpc string) error {
	out, err := s.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{Filters: append(ours(), filter("vpc-id", vpc))})
	if err != nil {
		return err
	}
	for _, n := range out.Subnets {
		err = errors.Join(err, s.delete(ctx, "subnet", n.SubnetId, func(ctx context.Context) error {
			_, err := s.ec2.DeleteSubnet(ctx, &ec2.DeleteSubnetInput{SubnetId: n.SubnetId})
			return err
		}))
	}
	return err
}

func (s *sweeper) routeTables(ctx context.Context, vpc string) error {
	out, err := s.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: append(ours(), filter("vpc-id", vpc))})
	if err != nil {
		return err
	}
	for _, t := range out.RouteTables {
		err = errors.Join(err, s.delete(ctx, "route table", t.RouteTableId, func(ctx context.Context) error {
			_, err := s.ec2.DeleteRouteTable(ctx, &ec2.DeleteRouteTableInput{RouteTableId: t.RouteTableId})
			return err
		}))
	}
	return err
}

// securityGroups first removes the rules, because groups name each other.
func (s *sweeper) securityGroups(ctx context.Context, vpc string) error {
	out, err := s.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: append(ours(), filter("vpc-id", vpc))})
	if err != nil {
		return err
	}
	for _, g := range out.SecurityGroups {
		if len(g.IpPermissions) > 0 {
			if _, err := s.ec2.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: g.GroupId, IpPermissions: g.IpPermissions}); err != nil {
				return err
			}
		}
	}
	for _, g := range out.SecurityGroups {
		err = errors.Join(err, s.delete(ctx, "security group", g.GroupId, func(ctx context.Context) error {
			_, err := s.ec2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: g.GroupId})
			return err
		}))
	}
	return err
}
