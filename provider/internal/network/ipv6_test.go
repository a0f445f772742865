package network_test

import (
	"context"
	"fmt"
	"net/netip"
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

const ipv6On = `ipv6 = true`

// withIPv6 is a VPC and a public subnet with IPv6, and a private one without.
func withIPv6(subnet string) string {
	return vpcConfig(ipv6On) + subnetConfig("public", "10.0.1.0/24", subnet) + subnetConfig("private", "10.0.2.0/24", "")
}

const rangeOfPublic = `ipv6_cidr = cidrsubnet(xeroops_vpc.main.ipv6_cidr, 8, 1)`

// ipv6Routes checks the IPv6 routes of a subnet, given as destination and prefix of
// the target.
func (a account) ipv6Routes(address string, want ...string) resource.TestCheckFunc {
	return resource.ComposeTestCheckFunc(a.note(address, address+"/route_table_id"), acctest.Check(func(ctx context.Context) error {
		table, err := a.table(ctx, address)
		if err != nil {
			return err
		}
		var got []string
		for _, route := range table.Routes {
			if to := aws.ToString(route.DestinationIpv6CidrBlock); to == "::/0" {
				target, _, _ := strings.Cut(aws.ToString(route.GatewayId), "-")
				got = append(got, to+" "+target)
			}
		}
		if strings.Join(got, ", ") != strings.Join(want, ", ") {
			return fmt.Errorf("IPv6 routes of %s are %v, want %v", address, got, want)
		}
		return nil
	}))
}

// inRange checks that the IPv6 range of the public subnet is in the VPC's.
func inRange(s *terraform.State) error {
	of := func(address string) string { return s.RootModule().Resources[address].Primary.Attributes["ipv6_cidr"] }
	outer, err := netip.ParsePrefix(of(vpc))
	if err != nil {
		return err
	}
	inner, err := netip.ParsePrefix(of(public))
	if err != nil || outer.Bits() != 56 || inner.Bits() != 64 || !outer.Contains(inner.Addr()) {
		return fmt.Errorf("the subnet's range is %s, the VPC's %s (%v)", inner, outer, err)
	}
	return nil
}

func TestIPv6IsTurnedOnAndOffInPlace(t *testing.T) {
	a := newAccount(t)
	update, none := expect(public, plancheck.ResourceActionUpdate), resource.TestCheckNoResourceAttr(vpc, "ipv6_cidr")
	off := vpcConfig("") + subnetConfig("public", "10.0.1.0/24", "") + subnetConfig("private", "10.0.2.0/24", "")
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: off, Check: resource.ComposeTestCheckFunc(none, a.ipv6Routes(public))},
		{Config: withIPv6(rangeOfPublic), ConfigPlanChecks: update,
			Check: resource.ComposeTestCheckFunc(inRange, a.ipv6Routes(public, "::/0 igw"), a.ipv6Routes(private))},
		{ResourceName: vpc, ImportState: true, ImportStateVerify: true},
		{ResourceName: public, ImportState: true, ImportStateVerify: true},
		{Config: off, ExpectError: matching(`subnet-\w+ has an IPv6 range of this VPC; remove ipv6_address from the nodes and ipv6_cidr from the subnets, apply`)},
		{Config: withIPv6(""), ConfigPlanChecks: update, Check: a.ipv6Routes(public)},
		{Config: off, ConfigPlanChecks: expect(vpc, plancheck.ResourceActionUpdate), Check: none},
		{Config: withIPv6(rangeOfPublic)}, // destroyed with it
	}})
}

func TestIPv6DriftIsReverted(t *testing.T) {
	a := newAccount(t)
	config := withIPv6(rangeOfPublic)
	note := a.note(vpc, public, private, vpc+"/ipv6_cidr", public+"/route_table_id", vpc+"/internet_gateway_id")
	steps := []resource.TestStep{{Config: config, Check: note}}
	steps = append(steps, repairs(public, config, "no working default route for IPv6", a.behindTerraform(func(ctx context.Context) error {
		_, err := a.EC2.DeleteRoute(ctx, &ec2.DeleteRouteInput{RouteTableId: a.id(public + "/route_table_id"), DestinationIpv6CidrBlock: aws.String("::/0")})
		return err
	}))...)
	steps = append(steps, repairs(public, config, "instances get IPv6 addresses at launch", a.behindTerraform(func(ctx context.Context) error {
		_, err := a.EC2.ModifySubnetAttribute(ctx, &ec2.ModifySubnetAttributeInput{SubnetId: a.id(public), AssignIpv6AddressOnCreation: &ec2types.AttributeBooleanValue{Value: aws.Bool(true)}})
		return err
	}))...)
	steps = append(steps, resource.TestStep{ // a private subnet that was given a range loses it
		PreConfig: a.behindTerraform(func(ctx context.Context) error {
			_, err := a.EC2.AssociateSubnetCidrBlock(ctx, &ec2.AssociateSubnetCidrBlockInput{SubnetId: a.id(private), Ipv6CidrBlock: aws.String(strings.Replace(a.ids[vpc+"/ipv6_cidr"], "00::/56", "02::/64", 1))})
			return err
		}),
		Config: config, ConfigPlanChecks: expect(private, plancheck.ResourceActionUpdate), Check: resource.TestCheckNoResourceAttr(private, "ipv6_cidr"),
	})
	a.Test(resource.TestCase{Steps: steps})
}

func TestIPv6ErrorsSayWhatToDo(t *testing.T) {
	for name, tc := range map[string]struct{ config, says string }{
		"private": {vpcConfig(ipv6On) + subnetConfig("private", "10.0.2.0/24", `ipv6_cidr = "2001:db8:0:1::/64"`), `a private subnet has no IPv6 range, because all addresses in it would be public`},
		"private, known at apply": {vpcConfig(ipv6On) + subnetConfig("private", "10.0.2.0/24", `ipv6_cidr = cidrsubnet(xeroops_vpc.main.ipv6_cidr, 8, 2)`),
			`a private subnet has no IPv6 range`},
		"too large": {vpcConfig(ipv6On) + subnetConfig("public", "10.0.1.0/24", `ipv6_cidr = "2001:db8::/56"`), `"2001:db8::/56" is not an IPv6 range with a prefix of 64 bits`},
		"IPv4":      {vpcConfig(ipv6On) + subnetConfig("public", "10.0.1.0/24", `ipv6_cidr = "10.0.1.0/24"`), `"10\.0\.1\.0/24" is not an IPv6 range`},
	} {
		t.Run(name, func(t *testing.T) {
			newAccount(t).Test(resource.TestCase{Steps: []resource.TestStep{{Config: tc.config, ExpectError: matching(tc.says)}}})
		})
	}
}

func TestLostResponsesAssociateOneIPv6Range(t *testing.T) {
	for _, effect := range []fakeaws.Effect{fakeaws.DropAfter, fakeaws.ServerError} {
		t.Run(string(effect), func(t *testing.T) {
			a := newAccount(t)
			for _, action := range []string{"AssociateVpcCidrBlock", "AssociateSubnetCidrBlock", "DisassociateSubnetCidrBlock", "DisassociateVpcCidrBlock"} {
				if err := a.Front.Inject(fakeaws.Fault{Action: action, Nth: 1, Effect: effect}); err != nil {
					t.Fatal(err)
				}
			}
			a.Test(resource.TestCase{Steps: []resource.TestStep{
				{Config: withIPv6(rangeOfPublic), Check: inRange},
				{Config: withIPv6("")},
				{Config: publicConfig},
			}})
		})
	}
}
