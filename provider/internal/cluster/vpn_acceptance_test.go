package cluster_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
)

// privateTable returns the route table of the private subnet.
func (a *account) privateTable() ec2types.RouteTable {
	out, err := a.EC2.DescribeRouteTables(a.t.Context(), &ec2.DescribeRouteTablesInput{Filters: []ec2types.Filter{{Name: aws.String("association.subnet-id"), Values: []string{a.private}}}})
	a.must(err)
	return out.RouteTables[0]
}

// target returns the interface to which the private subnet routes cidr, or "".
func (a *account) target(cidr string) string {
	for _, r := range a.privateTable().Routes {
		if aws.ToString(r.DestinationCidrBlock) == cidr {
			return aws.ToString(r.NetworkInterfaceId)
		}
	}
	return ""
}

func (a *account) route(cidr, target string) {
	_, err := a.EC2.CreateRoute(a.t.Context(), &ec2.CreateRouteInput{RouteTableId: a.privateTable().RouteTableId, DestinationCidrBlock: &cidr, NetworkInterfaceId: &target})
	a.must(err)
}

func (a *account) unroute(cidr string) {
	_, err := a.EC2.DeleteRoute(a.t.Context(), &ec2.DeleteRouteInput{RouteTableId: a.privateTable().RouteTableId, DestinationCidrBlock: &cidr})
	a.must(err)
}

func (a *account) routed(want map[string]bool) resource.TestCheckFunc {
	return check(func() error {
		for cidr, wanted := range want {
			if got := a.target(cidr); (got != "") != wanted {
				return fmt.Errorf("%s is routed to %q, want a route: %v", cidr, got, wanted)
			}
		}
		return nil
	})
}

func TestVPNRoutesFollowTheRangeAndTheGatewayAndLeaveOthersAlone(t *testing.T) {
	a := newAccount(t)
	const own, first, second = "192.168.0.0/16", "10.100.0.0/16", "10.101.0.0/16"
	before := a.config()
	after := strings.Replace(before, first, second, 1)
	delete(a.nodes, "gateway")
	without := strings.Replace(a.config(), first, second, 1)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: before, Check: a.routed(map[string]bool{first: true})},
		{PreConfig: func() { a.route(own, a.target(first)) }, Config: before, ConfigPlanChecks: nothingToDo()},
		{Config: after, ConfigPlanChecks: inPlace(), Check: a.routed(map[string]bool{first: false, second: true, own: true})},
		{Config: without, ConfigPlanChecks: inPlace(), Check: a.routed(map[string]bool{second: false, own: true})},
		{Config: without, ConfigPlanChecks: nothingToDo()},
		{PreConfig: func() { a.unroute(own) }, Config: without},
	}})
}

func TestDestroyLeavesAVPNRouteOfAnotherCluster(t *testing.T) {
	a := newAccount(t)
	const cidr = "10.100.0.0/16"
	// The address is fixed: moto otherwise picks one at random from the whole
	// subnet, such as that of a node, whose launch is then refused.
	other, err := a.EC2.CreateNetworkInterface(t.Context(), &ec2.CreateNetworkInterfaceInput{SubnetId: &a.private, PrivateIpAddress: aws.String("10.0.2.200")})
	a.must(err)
	table := a.privateTable().RouteTableId
	a.Test(resource.TestCase{
		Steps: []resource.TestStep{
			{Config: a.config()},
			{PreConfig: func() {
				a.unroute(cidr)
				a.route(cidr, *other.NetworkInterface.NetworkInterfaceId)
			}, Config: a.config(), Destroy: true},
		},
		CheckDestroy: func(*terraform.State) error {
			if a.target(cidr) != *other.NetworkInterface.NetworkInterfaceId {
				return fmt.Errorf("the route in %s was deleted with the cluster", *table)
			}
			a.unroute(cidr)
			_, err := a.EC2.DeleteNetworkInterface(t.Context(), &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: other.NetworkInterface.NetworkInterfaceId})
			return err
		},
	})
}
