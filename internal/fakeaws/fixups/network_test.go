package fixups_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func TestResourcesInUseAreNotDeleted(t *testing.T) {
	f := newFixture(t, fast)
	gateway, address := f.gateway(), f.allocate()
	id := f.run("10.0.2.10")
	f.ok(f.associate(address, id))
	endpoint, err := f.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcId: f.vpc, ServiceName: aws.String("com.amazonaws.eu-west-1.s3")})
	f.ok(err)
	table, err := f.ec2.CreateRouteTable(ctx, &ec2.CreateRouteTableInput{VpcId: f.vpc})
	f.ok(err)
	_, err = f.ec2.AssociateRouteTable(ctx, &ec2.AssociateRouteTableInput{RouteTableId: table.RouteTable.RouteTableId, SubnetId: f.subnet})
	f.ok(err)
	detach := func() error {
		_, err := f.ec2.DetachInternetGateway(ctx, &ec2.DetachInternetGatewayInput{InternetGatewayId: gateway, VpcId: f.vpc})
		return err
	}
	steps := []struct {
		name string
		free func()
		try  func() error
		code string
	}{
		{"address of an instance", func() { f.terminate(id) }, func() error {
			_, err := f.ec2.ReleaseAddress(ctx, &ec2.ReleaseAddressInput{AllocationId: address})
			return err
		}, "InvalidIPAddress.InUse"},
		{"group of an instance", nil, func() error {
			_, err := f.ec2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: f.securityID})
			return err
		}, "DependencyViolation"},
		{"subnet of an instance", nil, func() error {
			_, err := f.ec2.DeleteSubnet(ctx, &ec2.DeleteSubnetInput{SubnetId: f.subnet})
			return err
		}, "DependencyViolation"},
		{"gateway of an address", nil, detach, "DependencyViolation"},
		{"VPC of an endpoint", func() {
			_, err := f.ec2.DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{*endpoint.VpcEndpoint.VpcEndpointId}})
			f.ok(err)
			_, err = f.ec2.DeleteRouteTable(ctx, &ec2.DeleteRouteTableInput{RouteTableId: table.RouteTable.RouteTableId})
			f.ok(err)
		}, func() error {
			_, err := f.ec2.DeleteVpc(ctx, &ec2.DeleteVpcInput{VpcId: f.vpc})
			return err
		}, "DependencyViolation"},
	}
	for _, s := range steps {
		err := s.try()
		f.refused(err, s.code)
		if t.Failed() {
			t.Fatalf("%s was not refused", s.name)
		}
	}
	for _, s := range steps {
		if s.free != nil {
			s.free()
		}
		if err := s.try(); err != nil {
			t.Errorf("%s, once it is free: %v", s.name, err)
		}
	}
}

func TestReferencedAndDefaultGroupsAreNotDeleted(t *testing.T) {
	f := newFixture(t, fast)
	other := f.group("other")
	_, err := f.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: other, IpPermissions: []types.IpPermission{
		{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(80), ToPort: aws.Int32(80), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: f.securityID}}}}})
	f.ok(err)
	_, err = f.ec2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: f.securityID})
	f.refused(err, "DependencyViolation")
	groups, err := f.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: []types.Filter{filter("vpc-id", *f.vpc), filter("group-name", "default")}})
	f.ok(err)
	_, err = f.ec2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: groups.SecurityGroups[0].GroupId})
	f.refused(err, "CannotDelete")
}

func TestAddressAssociationNeedsAnInternetGateway(t *testing.T) {
	f := newFixture(t, fast)
	id, address := f.run("10.0.2.10"), f.allocate()
	f.refused(f.associate(address, id), "Gateway.NotAttached")
	f.gateway()
	f.ok(f.associate(address, id))
}

func TestAuthorizeReturnsTheRulesOfAllPermissionsOrAddsNone(t *testing.T) {
	f := newFixture(t, fast)
	port := func(n int32, cidrs ...string) types.IpPermission {
		p := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: &n, ToPort: &n}
		for _, c := range cidrs {
			p.IpRanges = append(p.IpRanges, types.IpRange{CidrIp: &c, Description: aws.String("why")})
		}
		return p
	}
	authorize := func(permissions ...types.IpPermission) (*ec2.AuthorizeSecurityGroupIngressOutput, error) {
		return f.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: f.securityID, IpPermissions: permissions})
	}
	out, err := authorize(port(80, "0.0.0.0/0"), port(443, "0.0.0.0/0", "10.0.0.0/8"), port(22, "10.0.0.0/8"))
	f.ok(err)
	if len(out.SecurityGroupRules) != 4 {
		t.Errorf("%d rules in the answer, want 4", len(out.SecurityGroupRules))
	}
	_, err = authorize(port(8080, "0.0.0.0/0"), port(80, "0.0.0.0/0"))
	f.refused(err, "InvalidPermission.Duplicate")
	groups, err := f.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{*f.securityID}})
	f.ok(err)
	for _, p := range groups.SecurityGroups[0].IpPermissions {
		if aws.ToInt32(p.FromPort) == 8080 {
			t.Error("a call that failed has added a rule")
		}
	}
}

func TestEndpointRouteTablesAndRoutesAreConsistent(t *testing.T) {
	f := newFixture(t, fast)
	endpoint, err := f.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcId: f.vpc, ServiceName: aws.String("com.amazonaws.eu-west-1.s3")})
	f.ok(err)
	id := endpoint.VpcEndpoint.VpcEndpointId
	table := func() string {
		out, err := f.ec2.CreateRouteTable(ctx, &ec2.CreateRouteTableInput{VpcId: f.vpc})
		f.ok(err)
		return *out.RouteTable.RouteTableId
	}
	routed := func(table string) bool {
		out, err := f.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{RouteTableIds: []string{table}})
		f.ok(err)
		for _, r := range out.RouteTables[0].Routes {
			if aws.ToString(r.GatewayId) == *id && aws.ToString(r.DestinationPrefixListId) != "" {
				return true
			}
		}
		return false
	}
	first, second := table(), table()
	_, err = f.ec2.ModifyVpcEndpoint(ctx, &ec2.ModifyVpcEndpointInput{VpcEndpointId: id, AddRouteTableIds: []string{first, second}})
	f.ok(err)
	if !routed(first) || !routed(second) {
		t.Error("no route in a table that was added")
	}
	_, err = f.ec2.ModifyVpcEndpoint(ctx, &ec2.ModifyVpcEndpointInput{VpcEndpointId: id, RemoveRouteTableIds: []string{first}})
	f.ok(err)
	if routed(first) {
		t.Error("a route in a table that was removed")
	}
	_, err = f.ec2.DeleteRouteTable(ctx, &ec2.DeleteRouteTableInput{RouteTableId: &second})
	f.ok(err)
	out, err := f.ec2.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{VpcEndpointIds: []string{*id}})
	f.ok(err)
	if left := out.VpcEndpoints[0].RouteTableIds; len(left) > 0 {
		t.Errorf("the endpoint still names %v", left)
	}
	deleted, err := f.ec2.DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{*id}})
	f.ok(err)
	if len(deleted.Unsuccessful) > 0 {
		t.Errorf("not deleted: %+v", deleted.Unsuccessful)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	f := newFixture(t, fast)
	_, err := f.ec2.DeleteSubnet(ctx, &ec2.DeleteSubnetInput{SubnetId: f.subnet, DryRun: aws.Bool(true)})
	f.refused(err, "DryRunOperation")
	_, err = f.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{SubnetIds: []string{*f.subnet}})
	f.ok(err)
}
