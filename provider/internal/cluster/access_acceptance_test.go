package cluster_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"github.com/xeroops/xeroops/internal/fakeaws/inventory"
	"github.com/xeroops/xeroops/provider/internal/acctest"
)

// foreignGroup creates a security group that is not the cluster's.
func (a *account) foreignGroup(vpc string) string {
	group, err := a.EC2.CreateSecurityGroup(a.t.Context(), &ec2.CreateSecurityGroupInput{GroupName: aws.String("customer"), Description: aws.String("customer"), VpcId: &vpc})
	a.must(err)
	a.KeepBaseline()
	return *group.GroupId
}

// sources returns the sources from which a role's group allows a port.
func (a *account) sources(role string, port int32) []string {
	var all []string
	for _, p := range a.describeGroup(role).IpPermissions {
		if aws.ToInt32(p.FromPort) != port {
			continue
		}
		for _, r := range p.IpRanges {
			all = append(all, aws.ToString(r.CidrIp))
		}
		for _, r := range p.Ipv6Ranges {
			all = append(all, aws.ToString(r.CidrIpv6))
		}
		for _, r := range p.PrefixListIds {
			all = append(all, aws.ToString(r.PrefixListId))
		}
		for _, r := range p.UserIdGroupPairs {
			all = append(all, aws.ToString(r.GroupId))
		}
	}
	slices.Sort(all)
	return all
}

// groupsOf returns the ids of the security groups of a node.
func (a *account) groupsOf(node string) []string {
	var ids []string
	for _, g := range a.live()[node].NetworkInterfaces[0].Groups {
		ids = append(ids, aws.ToString(g.GroupId))
	}
	slices.Sort(ids)
	return ids
}

func expectStrings(what string, got []string, want ...string) error {
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("%s: %v, want %v", what, got, want)
	}
	return nil
}

// keepsInstances returns a check that no instance is a new one since the last call.
func (a *account) keepsInstances() resource.TestCheckFunc {
	var before map[string]string
	return check(func() error {
		now := a.ids()
		if before != nil && !maps.Equal(before, now) {
			return fmt.Errorf("instances before: %v, now: %v", before, now)
		}
		before = now
		return nil
	})
}

func TestIngressIsLimitedInPlace(t *testing.T) {
	a := newAccount(t)
	list, err := a.EC2.CreateManagedPrefixList(t.Context(), &ec2.CreateManagedPrefixListInput{AddressFamily: aws.String("IPv4"), MaxEntries: aws.Int32(5), PrefixListName: aws.String("offices")})
	a.must(err)
	prefixes := aws.ToString(list.PrefixList.PrefixListId)
	a.KeepBaseline()
	keeps, open := a.keepsInstances(), a.config()
	a.extra = fmt.Sprintf(`ingress = {
    openresty-lb = { cidrs = ["203.0.113.0/24", "2001:db8::/32"], prefix_list_ids = [%q] }
    wireguard    = { cidrs = [] }
  }`, prefixes)
	limited := a.config()
	isLimited := check(func() error {
		for _, port := range []int32{80, 443} {
			if err := expectStrings("sources of the edge", a.sources("openresty-lb", port), "203.0.113.0/24", "2001:db8::/32", prefixes); err != nil {
				return err
			}
		}
		return expectStrings("sources of the gateway", a.sources("wireguard", 51820))
	})
	isOpen := check(func() error {
		return expectStrings("sources", slices.Concat(a.sources("openresty-lb", 443), a.sources("wireguard", 51820)), "0.0.0.0/0", "0.0.0.0/0")
	})
	steps := []resource.TestStep{
		{Config: open, Check: resource.ComposeTestCheckFunc(keeps, isOpen)},
		{Config: limited, ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(keeps, isLimited)},
		{Config: limited, ConfigPlanChecks: nothingToDo()},
	}
	steps = append(steps, acctest.Repairs(resourceName, limited, "has 1 unexpected ingress rules", func() {
		_, err := a.EC2.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: aws.String(a.group("openresty-lb")), IpPermissions: []ec2types.IpPermission{{
			IpProtocol: aws.String("tcp"), FromPort: aws.Int32(443), ToPort: aws.Int32(443), Ipv6Ranges: []ec2types.Ipv6Range{{CidrIpv6: aws.String("::/0")}}}}})
		a.must(err)
	})...)
	a.Test(resource.TestCase{Steps: append(steps, resource.TestStep{Config: limited, Check: resource.ComposeTestCheckFunc(keeps, isLimited)},
		resource.TestStep{Config: open, ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(keeps, isOpen)})})
}

func TestAdditionalSecurityGroupsAreAttachedInPlaceAndNeverChanged(t *testing.T) {
	a := newAccount(t)
	group := a.foreignGroup(a.vpc)
	keeps, without := a.keepsInstances(), a.config()
	a.extra = fmt.Sprintf(`additional_security_group_ids = { app = [%q] }`, group)
	with := a.config()
	attached := check(func() error {
		if err := expectStrings("groups of app1", a.groupsOf("app1"), a.group("app"), group); err != nil {
			return err
		}
		return expectStrings("groups of db1", a.groupsOf("db1"), a.group("db"))
	})
	steps := []resource.TestStep{
		{Config: without, Check: keeps},
		{Config: with, ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(keeps, attached)},
		{Config: with, ConfigPlanChecks: nothingToDo()},
	}
	steps = append(steps, acctest.Repairs(resourceName, with, "node app1 is not in exactly its own security groups", func() {
		_, err := a.EC2.ModifyNetworkInterfaceAttribute(t.Context(), &ec2.ModifyNetworkInterfaceAttributeInput{
			NetworkInterfaceId: a.live()["app1"].NetworkInterfaces[0].NetworkInterfaceId, Groups: []string{a.group("app")}})
		a.must(err)
	})...)
	// A replaced node is launched with the group.
	a.change("app2", func(n *node) { n.address = "10.0.2.12" })
	moved := a.config()
	launched := check(func() error { return expectStrings("groups of app2", a.groupsOf("app2"), a.group("app"), group) })
	a.Test(resource.TestCase{Steps: append(steps, resource.TestStep{Config: with, Check: attached}, resource.TestStep{Config: moved, Check: launched})})
}

// fronted returns a client that sees what only the Front has.
func (a *account) fronted() *ec2.Client {
	return ec2.NewFromConfig(inventory.Config(a.Front.URL, acctest.Region))
}

// connectEndpoints returns the EC2 Instance Connect Endpoints of the VPC.
func (a *account) connectEndpoints() []ec2types.Ec2InstanceConnectEndpoint {
	out, err := a.fronted().DescribeInstanceConnectEndpoints(a.t.Context(), &ec2.DescribeInstanceConnectEndpointsInput{})
	a.must(err)
	return out.InstanceConnectEndpoints
}

func TestDebugAccessIsAnEndpointThatReachesSSHAndNothingElse(t *testing.T) {
	a := newAccount(t)
	keeps, without := a.keepsInstances(), a.config()
	a.extra = `debug_access = "instance-connect-endpoint"`
	with := a.config()
	exists := check(func() error {
		found := a.connectEndpoints()
		if len(found) != 1 || found[0].State != ec2types.Ec2InstanceConnectEndpointStateCreateComplete || aws.ToString(found[0].SubnetId) != a.private {
			return fmt.Errorf("endpoints: %+v", found)
		}
		var nodes []string
		for _, p := range a.describeGroup("instance-connect-endpoint").IpPermissionsEgress {
			if aws.ToInt32(p.FromPort) != 22 || aws.ToInt32(p.ToPort) != 22 || len(p.IpRanges) > 0 {
				return fmt.Errorf("the endpoint may connect to %+v", p)
			}
			for _, pair := range p.UserIdGroupPairs {
				nodes = append(nodes, aws.ToString(pair.GroupId))
			}
		}
		slices.Sort(nodes)
		if err := expectStrings("groups that the endpoint reaches", nodes, a.group("app"), a.group("db"), a.group("management"), a.group("openresty-lb"), a.group("wireguard")); err != nil {
			return err
		}
		return expectStrings("sources of SSH", a.sources("db", 22), "10.100.0.0/16", a.group("instance-connect-endpoint"))
	})
	isGone := check(func() error {
		if found := a.connectEndpoints(); len(found) > 0 {
			return fmt.Errorf("endpoints: %+v", found)
		}
		return expectStrings("sources of SSH", a.sources("db", 22), "10.100.0.0/16")
	})
	steps := []resource.TestStep{
		{Config: without, Check: resource.ComposeTestCheckFunc(keeps, isGone)},
		{Config: with, ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(keeps, exists)},
		{Config: with, ConfigPlanChecks: nothingToDo()},
	}
	steps = append(steps, acctest.Repairs(resourceName, with, "EC2 Instance Connect Endpoint does not exist", func() {
		_, err := a.fronted().DeleteInstanceConnectEndpoint(t.Context(), &ec2.DeleteInstanceConnectEndpointInput{InstanceConnectEndpointId: a.connectEndpoints()[0].InstanceConnectEndpointId})
		a.must(err)
		for len(a.connectEndpoints()) > 0 { // 200 ms, see fixups.Options
		}
	})...)
	a.Test(resource.TestCase{Steps: append(steps,
		resource.TestStep{Config: with, Check: resource.ComposeTestCheckFunc(keeps, exists)},
		resource.TestStep{Config: without, ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(keeps, isGone)},
		resource.TestStep{Config: without, ConfigPlanChecks: nothingToDo()},
		resource.TestStep{Config: with, Check: exists}, // and the destroy leaves none
	)})
}

func TestTheEndpointOfAnotherClusterIsNamedAtPlan(t *testing.T) {
	a := newAccount(t)
	made, err := a.fronted().CreateInstanceConnectEndpoint(t.Context(), &ec2.CreateInstanceConnectEndpointInput{SubnetId: &a.public})
	a.must(err)
	a.KeepBaseline()
	a.extra = `debug_access = "instance-connect-endpoint"`
	a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: a.config(),
		ExpectError: regexp.MustCompile(`(?s)already\s+has\s+the\s+EC2\s+Instance\s+Connect\s+Endpoint\s+` + aws.ToString(made.InstanceConnectEndpoint.InstanceConnectEndpointId) + `.*AWS\s+allows\s+one\s+per\s+VPC`)}}})
}

func TestUnknownSourcesAndGroupsAreNamedAtPlan(t *testing.T) {
	a := newAccount(t)
	vpc, err := a.EC2.CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.9.0.0/16")})
	a.must(err)
	elsewhere := a.foreignGroup(*vpc.Vpc.VpcId)
	a.Front.ClearCalls()
	for extra, want := range map[string]string{
		`additional_security_group_ids = { app = ["sg-0123456789abcdef0"] }`:                 `security group sg-0123456789abcdef0\s+does not exist`,
		fmt.Sprintf(`additional_security_group_ids = { app = [%q] }`, elsewhere):             `not in the\s+cluster's`,
		`additional_security_group_ids = { app = ["sg-1", "sg-2", "sg-3", "sg-4", "sg-5"] }`: `at most 4\s+elements`,
		`additional_security_group_ids = { web = ["sg-1"] }`:                                 `must be one of`,
		`ingress = { app = { cidrs = ["0.0.0.0/0"] } }`:                                      `must be one of`,
		`ingress = { wireguard = {} }`:                                                       `Set cidrs or prefix_list_ids`,
		`ingress = { wireguard = { cidrs = ["203.0.113.7/24"] } }`:                           `use\s+203\.0\.113\.0/24`,
		`ingress = { wireguard = { cidrs = ["office"] } }`:                                   `not an IPv4 or\s+IPv6 range`,
		`ingress = { wireguard = { prefix_list_ids = ["pl-0123456789abcdef0"] } }`:           `prefix list\s+pl-0123456789abcdef0 does not\s+exist`,
		`debug_access = "bastion"`:                                                           `must be one of`,
	} {
		a.extra = extra
		a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: a.config(), ExpectError: regexp.MustCompile(want)}}})
	}
	for _, call := range a.Front.Calls() {
		if call.Mutation > 0 {
			t.Errorf("%s was called", call.Action)
		}
	}
}
