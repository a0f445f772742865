package fixups_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func TestWhatIsInUseIsNotDeletedAndIsOnceItIsFree(t *testing.T) {
	w := newWorld(t, fast)
	gateway, address := w.gateway(), w.allocate()
	id := w.run("10.0.2.10")
	w.ok(w.associate(address, id))
	endpoint, err := w.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcId: w.vpc, ServiceName: aws.String("com.amazonaws.eu-west-1.s3")})
	w.ok(err)
	table, err := w.ec2.CreateRouteTable(ctx, &ec2.CreateRouteTableInput{VpcId: w.vpc})
	w.ok(err)
	_, err = w.ec2.AssociateRouteTable(ctx, &ec2.AssociateRouteTableInput{RouteTableId: table.RouteTable.RouteTableId, SubnetId: w.subnet})
	w.ok(err)
	detach := func() error {
		_, err := w.ec2.DetachInternetGateway(ctx, &ec2.DetachInternetGatewayInput{InternetGatewayId: gateway, VpcId: w.vpc})
		return err
	}
	steps := []struct {
		name string
		free func()
		try  func() error
		code string
	}{
		{"address of an instance", func() { w.terminate(id) }, func() error {
			_, err := w.ec2.ReleaseAddress(ctx, &ec2.ReleaseAddressInput{AllocationId: address})
			return err
		}, "InvalidIPAddress.InUse"},
		{"group of an instance", nil, func() error {
			_, err := w.ec2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: w.securityID})
			return err
		}, "DependencyViolation"},
		{"subnet of an instance", nil, func() error {
			_, err := w.ec2.DeleteSubnet(ctx, &ec2.DeleteSubnetInput{SubnetId: w.subnet})
			return err
		}, "DependencyViolation"},
		{"gateway of an address", nil, detach, "DependencyViolation"},
		{"VPC of an endpoint", func() {
			_, err := w.ec2.DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{*endpoint.VpcEndpoint.VpcEndpointId}})
			w.ok(err)
			_, err = w.ec2.DeleteRouteTable(ctx, &ec2.DeleteRouteTableInput{RouteTableId: table.RouteTable.RouteTableId})
			w.ok(err)
		}, func() error {
			_, err := w.ec2.DeleteVpc(ctx, &ec2.DeleteVpcInput{VpcId: w.vpc})
			return err
		}, "DependencyViolation"},
	}
	for _, s := range steps {
		err := s.try()
		w.refused(err, s.code)
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

func TestAGroupThatAnotherRefersToIsNotDeletedNorIsTheDefaultOne(t *testing.T) {
	w := newWorld(t, fast)
	other := w.group("other")
	_, err := w.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: other, IpPermissions: []types.IpPermission{
		{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(80), ToPort: aws.Int32(80), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: w.securityID}}}}})
	w.ok(err)
	_, err = w.ec2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: w.securityID})
	w.refused(err, "DependencyViolation")
	groups, err := w.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: []types.Filter{filter("vpc-id", *w.vpc), filter("group-name", "default")}})
	w.ok(err)
	_, err = w.ec2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: groups.SecurityGroups[0].GroupId})
	w.refused(err, "CannotDelete")
}

func TestAnAddressNeedsAnInternetGateway(t *testing.T) {
	w := newWorld(t, fast)
	id, address := w.run("10.0.2.10"), w.allocate()
	w.refused(w.associate(address, id), "Gateway.NotAttached")
	w.gateway()
	w.ok(w.associate(address, id))
}

func TestAuthorizeReturnsTheRulesOfAllPermissionsOrAddsNone(t *testing.T) {
	w := newWorld(t, fast)
	port := func(n int32, cidrs ...string) types.IpPermission {
		p := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: &n, ToPort: &n}
		for _, c := range cidrs {
			p.IpRanges = append(p.IpRanges, types.IpRange{CidrIp: &c, Description: aws.String("why")})
		}
		return p
	}
	authorize := func(permissions ...types.IpPermission) (*ec2.AuthorizeSecurityGroupIngressOutput, error) {
		return w.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: w.securityID, IpPermissions: permissions})
	}
	out, err := authorize(port(80, "0.0.0.0/0"), port(443, "0.0.0.0/0", "10.0.0.0/8"), port(22, "10.0.0.0/8"))
	w.ok(err)
	if len(out.SecurityGroupRules) != 4 {
		t.Errorf("%d rules in the answer, want 4", len(out.SecurityGroupRules))
	}
	_, err = authorize(port(8080, "0.0.0.0/0"), port(80, "0.0.0.0/0"))
	w.refused(err, "InvalidPermission.Duplicate")
	groups, err := w.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{*w.securityID}})
	w.ok(err)
	for _, p := range groups.SecurityGroups[0].IpPermissions {
		if aws.ToInt32(p.FromPort) == 8080 {
			t.Error("a call that failed has added a rule")
		}
	}
}

func TestAnEndpointsRouteTablesAndTheirRoutesAreTheSame(t *testing.T) {
	w := newWorld(t, fast)
	endpoint, err := w.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcId: w.vpc, ServiceName: aws.String("com.amazonaws.eu-west-1.s3")})
	w.ok(err)
	id := endpoint.VpcEndpoint.VpcEndpointId
	table := func() string {
		out, err := w.ec2.CreateRouteTable(ctx, &ec2.CreateRouteTableInput{VpcId: w.vpc})
		w.ok(err)
		return *out.RouteTable.RouteTableId
	}
	routed := func(table string) bool {
		out, err := w.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{RouteTableIds: []string{table}})
		w.ok(err)
		for _, r := range out.RouteTables[0].Routes {
			if aws.ToString(r.GatewayId) == *id && aws.ToString(r.DestinationPrefixListId) != "" {
				return true
			}
		}
		return false
	}
	first, second := table(), table()
	_, err = w.ec2.ModifyVpcEndpoint(ctx, &ec2.ModifyVpcEndpointInput{VpcEndpointId: id, AddRouteTableIds: []string{first, second}})
	w.ok(err)
	if !routed(first) || !routed(second) {
		t.Error("no route in a table that was added")
	}
	_, err = w.ec2.ModifyVpcEndpoint(ctx, &ec2.ModifyVpcEndpointInput{VpcEndpointId: id, RemoveRouteTableIds: []string{first}})
	w.ok(err)
	if routed(first) {
		t.Error("a route in a table that was removed")
	}
	_, err = w.ec2.DeleteRouteTable(ctx, &ec2.DeleteRouteTableInput{RouteTableId: &second})
	w.ok(err)
	out, err := w.ec2.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{VpcEndpointIds: []string{*id}})
	w.ok(err)
	if left := out.VpcEndpoints[0].RouteTableIds; len(left) > 0 {
		t.Errorf("the endpoint still names %v", left)
	}
	deleted, err := w.ec2.DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{*id}})
	w.ok(err)
	if len(deleted.Unsuccessful) > 0 {
		t.Errorf("not deleted: %+v", deleted.Unsuccessful)
	}
}

func TestADryRunChangesNothing(t *testing.T) {
	w := newWorld(t, fast)
	_, err := w.ec2.DeleteSubnet(ctx, &ec2.DeleteSubnetInput{SubnetId: w.subnet, DryRun: aws.Bool(true)})
	w.refused(err, "DryRunOperation")
	_, err = w.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{SubnetIds: []string{*w.subnet}})
	w.ok(err)
}
