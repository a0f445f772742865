package cluster_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
)

// giveIPv6 gives the VPC and the public subnet IPv6 ranges, and returns two addresses in
// the subnet's.
func (a *account) giveIPv6() (string, string) {
	a.t.Helper()
	vpc, err := a.EC2.AssociateVpcCidrBlock(a.t.Context(), &ec2.AssociateVpcCidrBlockInput{VpcId: &a.vpc, AmazonProvidedIpv6CidrBlock: aws.Bool(true)})
	a.must(err)
	cidr := netip.MustParsePrefix(strings.Replace(*vpc.Ipv6CidrBlockAssociation.Ipv6CidrBlock, "/56", "/64", 1))
	_, err = a.EC2.AssociateSubnetCidrBlock(a.t.Context(), &ec2.AssociateSubnetCidrBlockInput{SubnetId: &a.public, Ipv6CidrBlock: aws.String(cidr.String())})
	a.must(err)
	a.KeepBaseline()
	bytes := cidr.Addr().As16()
	bytes[15] = 0x10
	first := netip.AddrFrom16(bytes)
	return first.String(), first.Next().String()
}

// hasIPv6 checks the IPv6 addresses of the edge and of no other node, and the IPv6 rules of
// the edge's security group.
func (a *account) hasIPv6(address string) resource.TestCheckFunc {
	return check(func() error {
		var want []string
		wantPorts := 0
		if address != "" {
			want, wantPorts = []string{"edge " + address}, 2
		}
		var got []string
		ports := 0
		for name, i := range a.live() {
			for _, six := range i.NetworkInterfaces[0].Ipv6Addresses {
				got = append(got, name+" "+*six.Ipv6Address)
			}
			groups, err := a.EC2.DescribeSecurityGroups(a.t.Context(), &ec2.DescribeSecurityGroupsInput{GroupIds: []string{*i.NetworkInterfaces[0].Groups[0].GroupId}})
			if err != nil {
				return err
			}
			for _, p := range groups.SecurityGroups[0].IpPermissions {
				if len(p.Ipv6Ranges) > 0 && (name != "edge" || *p.FromPort != 80 && *p.FromPort != 443) {
					return fmt.Errorf("node %s admits IPv6 on port %d", name, *p.FromPort)
				}
				ports += len(p.Ipv6Ranges)
			}
		}
		if !slices.Equal(got, want) || ports != wantPorts {
			return fmt.Errorf("IPv6 addresses are %v with %d rules, want %v with %d", got, ports, want, wantPorts)
		}
		return nil
	})
}

func TestTheEdgeGetsAnIPv6AddressInPlaceAndKeepsIt(t *testing.T) {
	a := newAccount(t)
	address, other := a.giveIPv6()
	config := func(of string) string { a.ipv6 = map[string]string{"edge": of}; return a.config() }
	without, with, another := config(""), config(address), config(other)
	a.change("edge", func(n *node) { n.image = moto.BaseImageID })
	replaced := config(other)
	var before map[string]string
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: without, Check: resource.ComposeTestCheckFunc(a.remember(&before), a.hasIPv6(""))},
		{Config: with, ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(a.keeps(&before), a.hasIPv6(address))},
		{Config: with, ConfigPlanChecks: nothingToDo()},
		{Config: another, ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(a.keeps(&before), a.hasIPv6(other))},
		{Config: replaced, Check: a.hasIPv6(other)},
		{ // unassigned outside of Terraform
			PreConfig: func() {
				eni := a.live()["edge"].NetworkInterfaces[0].NetworkInterfaceId
				_, err := a.EC2.UnassignIpv6Addresses(t.Context(), &ec2.UnassignIpv6AddressesInput{NetworkInterfaceId: eni, Ipv6Addresses: []string{other}})
				a.must(err)
			},
			Config: replaced, Check: a.hasIPv6(other),
		},
	}})
}

func TestAnIPv6RuleAddedToAnotherGroupIsRemoved(t *testing.T) {
	a := newAccount(t)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: a.config()},
		{
			PreConfig: func() {
				group := a.live()["app1"].NetworkInterfaces[0].Groups[0].GroupId
				_, err := a.EC2.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: group, IpPermissions: []ec2types.IpPermission{
					{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(443), ToPort: aws.Int32(443), Ipv6Ranges: []ec2types.Ipv6Range{{CidrIpv6: aws.String("::/0")}}}}})
				a.must(err)
			},
			Config: a.config(), Check: a.hasIPv6(""),
		},
	}})
}

func TestIPv6AddressErrorsSayWhatToDo(t *testing.T) {
	for name, tc := range map[string]struct {
		node, address string
		says          string
	}{
		"another role":   {"app1", "2001:db8::10", `Node\s+app1\s+has\s+role\s+app\.[\s\S]*only\s+openresty-lb\s+nodes\s+have\s+one`},
		"IPv4":           {"edge", "10.0.1.10", `"10\.0\.1\.10"\s+is\s+not\s+an\s+IPv6\s+address`},
		"another subnet": {"edge", "2001:db8::10", `2001:db8::10\s+is\s+not\s+in\s+an\s+IPv6\s+range\s+of\s+subnet`},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAccount(t)
			a.ipv6 = map[string]string{tc.node: tc.address}
			a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: a.config(), ExpectError: regexp.MustCompile(tc.says)}}})
		})
	}
}

func TestALostResponseToAnIPv6AssignmentIsRepeated(t *testing.T) {
	a := newAccount(t)
	address, _ := a.giveIPv6()
	first := a.config()
	a.ipv6 = map[string]string{"edge": address}
	for _, effect := range []fakeaws.Effect{fakeaws.DropAfter, fakeaws.ServerError} {
		a.must(a.Front.Inject(fakeaws.Fault{Action: "AssignIpv6Addresses", Effect: effect}))
	}
	a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: first}, {Config: a.config(), Check: a.hasIPv6(address)}}})
}

// TestIPv6AddressesThatTheSubnetAssignsAreLeftAlone covers a subnet that is not of this
// provider: what it assigned to a running node stays, without a restart, also when the
// node gets and loses an address of its own, and it assigns nothing at a launch.
func TestIPv6AddressesThatTheSubnetAssignsAreLeftAlone(t *testing.T) {
	a := newAccount(t)
	address, _ := a.giveIPv6()
	assign := func(on bool) {
		_, err := a.EC2.ModifySubnetAttribute(t.Context(), &ec2.ModifySubnetAttributeInput{SubnetId: &a.public, AssignIpv6AddressOnCreation: &ec2types.AttributeBooleanValue{Value: &on}})
		a.must(err)
	}
	assign(true)
	plain := a.config()
	a.ipv6 = map[string]string{"edge": address}
	with := a.config()
	foreign := ""
	var before map[string]string
	addresses := func(want ...*string) resource.TestCheckFunc {
		return check(func() error {
			var got, wanted []string
			for _, six := range a.live()["edge"].NetworkInterfaces[0].Ipv6Addresses {
				got = append(got, *six.Ipv6Address)
			}
			for _, w := range want {
				wanted = append(wanted, *w)
			}
			if !slices.Equal(got, wanted) {
				return fmt.Errorf("the edge has the IPv6 addresses %v, want %v", got, wanted)
			}
			return nil
		})
	}
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: plain, Check: resource.ComposeTestCheckFunc(a.remember(&before), a.hasIPv6(""))},
		{
			PreConfig: func() {
				out, err := a.EC2.AssignIpv6Addresses(t.Context(), &ec2.AssignIpv6AddressesInput{
					NetworkInterfaceId: a.live()["edge"].NetworkInterfaces[0].NetworkInterfaceId, Ipv6AddressCount: aws.Int32(1)})
				a.must(err)
				foreign = out.AssignedIpv6Addresses[0]
				a.Front.ClearCalls()
			},
			Config: plain, ConfigPlanChecks: nothingToDo(),
		},
		{Config: with, ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(a.keeps(&before), addresses(&foreign, &address))},
		{Config: with, ConfigPlanChecks: nothingToDo()},
		{PreConfig: func() {
			a.must(a.Front.Inject(fakeaws.Fault{Action: "UnassignIpv6Addresses", Effect: fakeaws.Fail, Status: 400, Code: "InvalidParameterValue", Message: "no"}))
		}, Config: plain, ExpectError: regexp.MustCompile(`unassign`)},
		{Config: plain, ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(a.keeps(&before), addresses(&foreign))},
		{Config: plain, ConfigPlanChecks: nothingToDo()},
	}})
}
