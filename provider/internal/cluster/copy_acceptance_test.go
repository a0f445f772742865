package cluster_test

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"github.com/xeroops/xeroops/internal/fakeaws/moto"
)

// copyNode launches an instance with a node's tags at another address, as a
// restore from AWS Backup does.
func (a *account) copyNode(name, address string, groups ...string) string {
	tags := a.live()[name].Tags
	out, err := a.EC2.RunInstances(a.t.Context(), &ec2.RunInstancesInput{ImageId: aws.String(moto.BaseImageID), InstanceType: "t3.small",
		MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		NetworkInterfaces: []ec2types.InstanceNetworkInterfaceSpecification{{DeviceIndex: aws.Int32(0), SubnetId: &a.private,
			PrivateIpAddress: &address, Groups: groups, DeleteOnTermination: aws.Bool(true)}},
		TagSpecifications: []ec2types.TagSpecification{{ResourceType: ec2types.ResourceTypeInstance, Tags: tags}}})
	a.must(err)
	return *out.Instances[0].InstanceId
}

func (a *account) state(id string) ec2types.InstanceStateName {
	out, err := a.EC2.DescribeInstances(a.t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	a.must(err)
	return out.Reservations[0].Instances[0].State.Name
}

func (a *account) terminate(id string) {
	_, err := a.EC2.TerminateInstances(a.t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
	a.must(err)
}

// liveAt returns the id of the live instance at each address.
func (a *account) liveAt() map[string]string {
	out, err := a.EC2.DescribeInstances(a.t.Context(), &ec2.DescribeInstancesInput{Filters: []ec2types.Filter{
		{Name: aws.String("instance-state-name"), Values: []string{"pending", "running", "stopping", "stopped"}}}})
	a.must(err)
	at := map[string]string{}
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			at[aws.ToString(i.PrivateIpAddress)] = *i.InstanceId
		}
	}
	return at
}

func TestACopyOfANodeIsNeitherTheNodeNorEnded(t *testing.T) {
	a := newAccount(t)
	first := a.config()
	a.extra = `settings = { LEVEL = "debug" }`
	var original, restored string
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: first, Check: check(func() error { original = a.ids()["app1"]; return nil })},
		{
			PreConfig: func() { restored = a.copyNode("app1", "10.0.2.110") },
			Config:    first, ConfigPlanChecks: nothingToDo(),
		},
		{Config: a.config(), Check: check(func() error {
			if a.state(original) != "running" || a.state(restored) != "running" {
				return fmt.Errorf("the node is %s and its copy %s", a.state(original), a.state(restored))
			}
			return nil
		})},
		{ // the node itself is lost: its copy does not take its place
			PreConfig: func() { a.terminate(original) },
			Config:    a.config(), Check: check(func() error {
				if id := a.liveAt()["10.0.2.10"]; id == "" || a.state(restored) != "running" {
					return fmt.Errorf("the node at 10.0.2.10 is %q, and the copy is %s", id, a.state(restored))
				}
				return nil
			}),
		},
		{Config: a.config(), ConfigPlanChecks: nothingToDo(), Check: check(func() error { a.terminate(restored); return nil })},
	}})
}

// untag removes the tag with which versions before this one did not launch instances.
func (a *account) untag(ids ...string) {
	_, err := a.EC2.DeleteTags(a.t.Context(), &ec2.DeleteTagsInput{Resources: ids, Tags: []ec2types.Tag{{Key: aws.String("xeroops:address")}}})
	a.must(err)
}

func TestANodeWithoutTheTagOfItsAddressIsTaggedMovedOrRemovedLikeOthers(t *testing.T) {
	a := newAccount(t)
	first := a.config()
	a.change("app1", func(n *node) { n.address = "10.0.2.12" })
	delete(a.nodes, "app2")
	second := a.config()
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: first},
		{
			PreConfig: func() { a.untag(a.ids()["app1"]) },
			Config:    first, ConfigPlanChecks: inPlace(), Check: check(func() error {
				if got := tag(a.live()["app1"].Tags, "xeroops:address"); got != a.private+"/10.0.2.10" {
					return fmt.Errorf("the tag is %q", got)
				}
				return nil
			}),
		},
		{PreConfig: func() { a.untag(a.ids()["app1"], a.ids()["app2"]) }, Config: second, Check: check(a.checkInstances)},
		{PreConfig: func() { a.untag(a.ids()["app1"]) }, Config: "removed {\n  from = xeroops_cluster.main\n  lifecycle {\n    destroy = false\n  }\n}"},
		{Config: second, ResourceName: resourceName, ImportState: true, ImportStateId: "production", ImportStatePersist: true, ImportStateVerifyIdentifierAttribute: "name"},
		{Config: second, ConfigPlanChecks: inPlace(), Check: check(a.checkInstances)},
		{Config: second, ConfigPlanChecks: nothingToDo()},
	}})
}

func TestACopyThatHoldsASecurityGroupIsNamedBeforeADestroy(t *testing.T) {
	a := newAccount(t)
	var before map[string]string
	var restored string
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: a.config(), Check: check(func() error {
			before = a.ids()
			restored = a.copyNode("db1", "10.0.2.130", a.group("db"))
			return nil
		})},
		{Config: a.config(), Destroy: true, ExpectError: regexp.MustCompile(`carries\s+the\s+tags\s+of\s+node\s+db1`)},
		{
			PreConfig: func() {
				for name, id := range before {
					if s := a.state(id); s != "running" {
						t.Errorf("node %s is %s", name, s)
					}
				}
				a.terminate(restored)
			},
			Config: a.config(),
		},
	}})
}
