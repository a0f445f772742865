package network_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/provider/internal/acctest"
)

func subnetConfig(name, cidr, extra string) string {
	return fmt.Sprintf(`
resource "xeroops_subnet" %q {
  name              = %[1]q
  vpc_id            = xeroops_vpc.main.id
  type              = %[1]q
  cidr              = %q
  availability_zone = "eu-west-1a"
  %s
}
`, name, cidr, extra)
}

var (
	publicConfig  = vpcConfig("") + subnetConfig("public", "10.0.1.0/24", "")
	privateConfig = vpcConfig("") + subnetConfig("private", "10.0.2.0/24", "")
)

// table returns the recorded route table of a subnet.
func (a account) table(ctx context.Context, address string) (ec2types.RouteTable, error) {
	out, err := a.EC2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{RouteTableIds: []string{a.ids[address+"/route_table_id"]}})
	if err != nil {
		return ec2types.RouteTable{}, err
	}
	return out.RouteTables[0], nil
}

// inOrder checks that the subnet is associated with its table and that the table
// has exactly these routes, each given as destination and prefix of its target.
func (a account) inOrder(address string, want ...string) resource.TestCheckFunc {
	return resource.ComposeTestCheckFunc(a.note(address, address+"/route_table_id"), acctest.Check(func(ctx context.Context) error {
		table, err := a.table(ctx, address)
		if err != nil {
			return err
		}
		if len(table.Associations) != 1 || aws.ToString(table.Associations[0].SubnetId) != a.ids[address] {
			return fmt.Errorf("associations of %s: %v", address, table.Associations)
		}
		var got []string
		for _, route := range table.Routes {
			target, _, _ := strings.Cut(aws.ToString(route.GatewayId)+aws.ToString(route.NetworkInterfaceId), "-")
			got = append(got, aws.ToString(route.DestinationCidrBlock)+" "+target)
		}
		if strings.Join(got, ", ") != strings.Join(want, ", ") {
			return fmt.Errorf("routes of %s are %v, want %v", address, got, want)
		}
		return nil
	}))
}

var (
	publicRoutes  = []string{"10.0.0.0/16 local", "0.0.0.0/0 igw", " vpce"}
	privateRoutes = []string{"10.0.0.0/16 local", " vpce"}
)

func TestSubnetsAreCreatedImportedUpdatedAndDestroyed(t *testing.T) {
	a := newAccount(t)
	both := publicConfig + subnetConfig("private", "10.0.2.0/24", "")
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{
			Config: both,
			Check: resource.ComposeAggregateTestCheckFunc(
				a.routes(public, publicRoutes), a.routes(private, privateRoutes),
				resource.TestMatchResourceAttr(public, "arn", matching(`^arn:aws:ec2:eu-west-1:123456789012:subnet/subnet-`)),
			),
		},
		{ResourceName: public, ImportState: true, ImportStateVerify: true},
		{ResourceName: private, ImportState: true, ImportStateVerify: true},
		{
			Config:           publicConfig + subnetConfig("private", "10.0.2.0/24", `tags = { team = "core" }`),
			ConfigPlanChecks: expect(private, plancheck.ResourceActionUpdate),
		},
		{ // another range
			Config:           publicConfig + subnetConfig("private", "10.0.3.0/24", ""),
			ConfigPlanChecks: expect(private, plancheck.ResourceActionReplace),
		},
		{Config: publicConfig, ConfigPlanChecks: expect(private, plancheck.ResourceActionDestroy)},
	}})
}

// routes checks the routes like inOrder, in any order.
func (a account) routes(address string, want []string) resource.TestCheckFunc {
	return func(s *terraform.State) error {
		var last error
		for _, order := range permutations(want) {
			if last = a.inOrder(address, order...)(s); last == nil {
				return nil
			}
		}
		return last
	}
}

func permutations(of []string) [][]string {
	if len(of) < 2 {
		return [][]string{of}
	}
	var all [][]string
	for i, first := range of {
		rest := append(append([]string{}, of[:i]...), of[i+1:]...)
		for _, p := range permutations(rest) {
			all = append(all, append([]string{first}, p...))
		}
	}
	return all
}

func TestSubnetIsImportedByIdentity(t *testing.T) {
	a := newAccount(t)
	a.Test(resource.TestCase{Steps: []resource.TestStep{{
		Config: privateConfig,
		Check: acctest.Do(private, func(ctx context.Context, id string) error {
			return acctest.ImportsByIdentity(ctx, "xeroops_subnet", id)
		}),
	}}})
}

func TestSubnetBecomesPrivateInPlace(t *testing.T) {
	a := newAccount(t)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: publicConfig, Check: a.routes(public, publicRoutes)},
		{
			Config:           strings.Replace(publicConfig, `type              = "public"`, `type              = "private"`, 1),
			ConfigPlanChecks: expect(public, plancheck.ResourceActionUpdate), Check: a.routes(public, privateRoutes),
		},
		{Config: publicConfig, ConfigPlanChecks: expect(public, plancheck.ResourceActionUpdate), Check: a.routes(public, publicRoutes)},
	}})
}

func TestPrivateSubnetDriftIsShownAndReverted(t *testing.T) {
	a := newAccount(t)
	note := a.note(vpc, vpc+"/internet_gateway_id", vpc+"/s3_endpoint_id", private, private+"/route_table_id")
	steps := []resource.TestStep{{Config: privateConfig, Check: note}}
	for _, tc := range []struct {
		drift  string
		change func(ctx context.Context) error
	}{
		{"routes 0.0.0.0/0 to igw-", func(ctx context.Context) error {
			return a.addRoute(ctx, "0.0.0.0/0")
		}},
		{"routes 93.184.0.0/16 to igw-", func(ctx context.Context) error {
			return a.addRoute(ctx, "93.184.0.0/16")
		}},
		{"no route to the gateway endpoint for S3", func(ctx context.Context) error {
			_, err := a.EC2.ModifyVpcEndpoint(ctx, &ec2.ModifyVpcEndpointInput{VpcEndpointId: a.id(vpc + "/s3_endpoint_id"), RemoveRouteTableIds: []string{a.ids[private+"/route_table_id"]}})
			return err
		}},
		{"instances get public addresses at launch", func(ctx context.Context) error {
			_, err := a.EC2.ModifySubnetAttribute(ctx, &ec2.ModifySubnetAttributeInput{SubnetId: a.id(private), MapPublicIpOnLaunch: &ec2types.AttributeBooleanValue{Value: aws.Bool(true)}})
			return err
		}},
		{"not associated with its route table", func(ctx context.Context) error { return a.disassociate(ctx) }},
		{"the route table is missing", func(ctx context.Context) error {
			if err := a.disassociate(ctx); err != nil {
				return err
			}
			_, err := a.EC2.DeleteRouteTable(ctx, &ec2.DeleteRouteTableInput{RouteTableId: a.id(private + "/route_table_id")})
			return err
		}},
	} {
		steps = append(steps, repairs(private, privateConfig, tc.drift, a.behindTerraform(tc.change))...)
		steps[len(steps)-1].Check = resource.ComposeTestCheckFunc(note, a.routes(private, privateRoutes))
	}
	a.Test(resource.TestCase{Steps: steps})
}

func (a account) addRoute(ctx context.Context, to string) error {
	_, err := a.EC2.CreateRoute(ctx, &ec2.CreateRouteInput{RouteTableId: a.id(private + "/route_table_id"), DestinationCidrBlock: &to, GatewayId: a.id(vpc + "/internet_gateway_id")})
	return err
}

func (a account) disassociate(ctx context.Context) error {
	table, err := a.table(ctx, private)
	if err != nil {
		return err
	}
	_, err = a.EC2.DisassociateRouteTable(ctx, &ec2.DisassociateRouteTableInput{AssociationId: table.Associations[0].RouteTableAssociationId})
	return err
}

func TestSubnetWithAnotherRouteTableGetsItsOwnAgain(t *testing.T) {
	a := newAccount(t)
	var other *string
	change := func(ctx context.Context) error {
		if err := a.disassociate(ctx); err != nil {
			return err
		}
		made, err := a.EC2.CreateRouteTable(ctx, &ec2.CreateRouteTableInput{VpcId: a.id(vpc)})
		if err != nil {
			return err
		}
		other = made.RouteTable.RouteTableId
		_, err = a.EC2.AssociateRouteTable(ctx, &ec2.AssociateRouteTableInput{RouteTableId: other, SubnetId: a.id(private)})
		return err
	}
	steps := append([]resource.TestStep{{Config: privateConfig, Check: a.note(vpc, private, private+"/route_table_id")}},
		repairs(private, privateConfig, "not associated with its route table", a.behindTerraform(change))...)
	steps[2].Check = resource.ComposeTestCheckFunc(a.routes(private, privateRoutes), acctest.Check(func(ctx context.Context) error {
		_, err := a.EC2.DeleteRouteTable(ctx, &ec2.DeleteRouteTableInput{RouteTableId: other})
		return err
	}))
	a.Test(resource.TestCase{Steps: steps})
}

func TestPublicSubnetFollowsAReplacedGateway(t *testing.T) {
	a := newAccount(t)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: publicConfig, Check: a.note(vpc, vpc+"/internet_gateway_id", public, public+"/route_table_id")},
		{
			PreConfig: a.behindTerraform(func(ctx context.Context) error {
				_, route := a.EC2.DeleteRoute(ctx, &ec2.DeleteRouteInput{RouteTableId: a.id(public + "/route_table_id"), DestinationCidrBlock: aws.String("0.0.0.0/0")})
				_, detach := a.EC2.DetachInternetGateway(ctx, &ec2.DetachInternetGatewayInput{InternetGatewayId: a.id(vpc + "/internet_gateway_id"), VpcId: a.id(vpc)})
				_, gone := a.EC2.DeleteInternetGateway(ctx, &ec2.DeleteInternetGatewayInput{InternetGatewayId: a.id(vpc + "/internet_gateway_id")})
				return firstOf(route, detach, gone)
			}),
			Config: publicConfig, Check: a.routes(public, publicRoutes),
		},
	}})
}

// The cluster adds routes for its VPN to the tables.
func TestRoutesToPrivateAddressesAreNotDrift(t *testing.T) {
	a := newAccount(t)
	var eni *string
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: privateConfig, Check: a.note(private, private+"/route_table_id")},
		{
			PreConfig: a.behindTerraform(func(ctx context.Context) error {
				made, err := a.EC2.CreateNetworkInterface(ctx, &ec2.CreateNetworkInterfaceInput{SubnetId: a.id(private)})
				if err != nil {
					return err
				}
				eni = made.NetworkInterface.NetworkInterfaceId
				_, err = a.EC2.CreateRoute(ctx, &ec2.CreateRouteInput{RouteTableId: a.id(private + "/route_table_id"), DestinationCidrBlock: aws.String("10.100.0.0/16"), NetworkInterfaceId: eni})
				return err
			}),
			Config: privateConfig, ConfigPlanChecks: expect(private, plancheck.ResourceActionNoop),
			Check: acctest.Check(func(ctx context.Context) error {
				_, err := a.EC2.DeleteNetworkInterface(ctx, &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: eni})
				return err
			}),
		},
	}})
}

func TestSubnetThatDisappearedIsRecreatedWithItsOldTable(t *testing.T) {
	a := newAccount(t)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: privateConfig, Check: a.note(private)},
		{
			PreConfig: a.behindTerraform(func(ctx context.Context) error {
				_, err := a.EC2.DeleteSubnet(ctx, &ec2.DeleteSubnetInput{SubnetId: a.id(private)})
				return err
			}),
			Config: privateConfig, ConfigPlanChecks: expect(private, plancheck.ResourceActionCreate), Check: a.routes(private, privateRoutes),
		},
	}})
}

func TestSubnetLeftByAnInterruptedApplyIsAdopted(t *testing.T) {
	a := newAccount(t)
	var left *string
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: vpcConfig(""), Check: a.note(vpc)},
		{
			PreConfig: a.behindTerraform(func(ctx context.Context) error {
				subnet, err := a.EC2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: a.id(vpc), CidrBlock: aws.String("10.0.2.0/24"), AvailabilityZone: aws.String("eu-west-1a"),
					TagSpecifications: tagged(ec2types.ResourceTypeSubnet, "private")})
				if err == nil {
					left = subnet.Subnet.SubnetId
					_, err = a.EC2.CreateRouteTable(ctx, &ec2.CreateRouteTableInput{VpcId: a.id(vpc), TagSpecifications: tagged(ec2types.ResourceTypeRouteTable, "private")})
				}
				return err
			}),
			Config: privateConfig,
			Check: resource.ComposeTestCheckFunc(a.routes(private, privateRoutes), acctest.Do(private, func(_ context.Context, id string) error {
				if id != *left {
					return fmt.Errorf("%s was created though %s was there", id, *left)
				}
				return nil
			})),
		},
	}})
}

func TestFailedCreateOfASubnetLeavesNoRouteTable(t *testing.T) {
	a := newAccount(t)
	if err := a.Front.Inject(fakeaws.Fault{Action: "CreateSubnet", Effect: fakeaws.Fail, Code: "SubnetLimitExceeded", Message: "no more", Times: -1}); err != nil {
		t.Fatal(err)
	}
	a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: privateConfig, ExpectError: matching(`SubnetLimitExceeded`)}}})
}

func TestSubnetErrorsSayWhatToDo(t *testing.T) {
	for name, tc := range map[string]struct{ config, says string }{
		"outside the VPC": {vpcConfig("") + subnetConfig("private", "10.1.2.0/24", ""), `10\.1\.2\.0/24 is not within the VPC's range 10\.0\.0\.0/16`},
		"overlapping":     {publicConfig + subnetConfig("private", "10.0.1.128/25", ""), `10\.0\.1\.128/25 overlaps 10\.0\.1\.0/24 of subnet-`},
		"too small":       {vpcConfig("") + subnetConfig("private", "10.0.2.0/29", ""), `10\.0\.2\.0/29 is a /29; use an IPv4 range`},
		"no such type":    {strings.ReplaceAll(privateConfig, `= "private"`, `= "isolated"`), `"isolated"`},
		"no such VPC":     {strings.Replace(privateConfig, "xeroops_vpc.main.id", `"vpc-12345678"`, 1), `there is no VPC vpc-12345678`},
		"no such zone":    {strings.Replace(privateConfig, "eu-west-1a", `mars-1a`, 1), `mars-1a`},
	} {
		t.Run(name, func(t *testing.T) {
			first := publicConfig // so that the VPC is known at plan
			newAccount(t).Test(resource.TestCase{Steps: []resource.TestStep{
				{Config: first}, {Config: tc.config, ExpectError: matching(tc.says)}, {Config: first},
			}})
		})
	}
}

func TestSubnetInAVPCWithoutAnEndpointIsRejected(t *testing.T) {
	a := newAccount(t)
	other, err := a.EC2.CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	a.KeepBaseline()
	config := strings.Replace(subnetConfig("private", "10.0.2.0/24", ""), "xeroops_vpc.main.id", fmt.Sprintf("%q", *other.Vpc.VpcId), 1)
	a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: config, ExpectError: matching(`has no gateway endpoint for S3`)}}})
}

func TestSubnetsWithTheSameNameInTwoVPCs(t *testing.T) {
	a := newAccount(t)
	second := strings.NewReplacer(`"main"`, `"other"`, `"production"`, `"staging"`).Replace(vpcConfig("")) +
		strings.NewReplacer(`"xeroops_subnet" "public"`, `"xeroops_subnet" "other"`, "xeroops_vpc.main", "xeroops_vpc.other").Replace(subnetConfig("public", "10.0.1.0/24", ""))
	const other = "xeroops_subnet.other"
	a.Test(resource.TestCase{Steps: []resource.TestStep{{
		Config: publicConfig + second,
		Check: resource.ComposeTestCheckFunc(a.note("xeroops_vpc.other", "xeroops_vpc.other/internet_gateway_id"), a.routes(public, publicRoutes), a.routes(other, publicRoutes),
			acctest.Check(func(ctx context.Context) error {
				table, err := a.table(ctx, other)
				if err == nil && (*table.VpcId != a.ids["xeroops_vpc.other"] || !strings.Contains(fmt.Sprint(gatewaysOf(table)), a.ids["xeroops_vpc.other/internet_gateway_id"])) {
					err = fmt.Errorf("the table is in %s and leads to %v", *table.VpcId, gatewaysOf(table))
				}
				return err
			})),
	}}})
}

func gatewaysOf(table ec2types.RouteTable) (ids []string) {
	for _, route := range table.Routes {
		ids = append(ids, aws.ToString(route.GatewayId))
	}
	return ids
}
