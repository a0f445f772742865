package cluster_test

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"github.com/xeroops/xeroops/provider/internal/acctest"
)

// nodeObjectTags returns the tags of a node's instance, root volume and network
// interface, by kind.
func (a *account) nodeObjectTags(node string) map[string]map[string]string {
	i := a.live()[node]
	ids := map[string]string{"instance": *i.InstanceId, "interface": *i.NetworkInterfaces[0].NetworkInterfaceId}
	for _, m := range i.BlockDeviceMappings {
		if *m.DeviceName == *i.RootDeviceName {
			ids["root volume"] = *m.Ebs.VolumeId
		}
	}
	all := map[string]map[string]string{}
	for kind, id := range ids {
		out, err := a.EC2.DescribeTags(a.t.Context(), &ec2.DescribeTagsInput{Filters: []ec2types.Filter{{Name: aws.String("resource-id"), Values: []string{id}}}})
		a.must(err)
		all[kind] = map[string]string{}
		for _, t := range out.Tags {
			all[kind][*t.Key] = aws.ToString(t.Value)
		}
	}
	return all
}

// nodeHas returns a check of tags of a node's three objects; "" is no such tag.
func (a *account) nodeHas(node string, want map[string]string) resource.TestCheckFunc {
	return check(func() error {
		all := a.nodeObjectTags(node)
		if len(all) != 3 {
			return fmt.Errorf("objects of %s: %v", node, all)
		}
		for kind, tags := range all {
			for key, value := range want {
				if tags[key] != value {
					return fmt.Errorf("%s of %s has the tags %v, want %s = %q", kind, node, tags, key, value)
				}
			}
		}
		return nil
	})
}

func TestTagsOfANodeAreItsOwnAndChangedInPlace(t *testing.T) {
	a := newAccount(t)
	a.extra = `tags = { team = "platform", tier = "1" }`
	config := func(app1 string) string {
		a.nodeExtra = map[string]string{"app1": app1}
		return a.config()
	}
	var before map[string]string
	unchanged := check(func() error {
		for node, id := range a.ids() {
			if before[node] != id {
				return fmt.Errorf("node %s was replaced", node)
			}
		}
		return nil
	})
	first := config(`tags = { tier = "2", backup = "none", owner = null }`)
	second := config(`tags = { tier = "3" }`)
	third := config("")
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: first, Check: resource.ComposeTestCheckFunc(check(func() error { before = a.ids(); return nil }),
			a.nodeHas("app1", map[string]string{"team": "platform", "tier": "2", "backup": "none", "owner": ""}),
			a.nodeHas("app2", map[string]string{"team": "platform", "tier": "1", "backup": ""}))},
		{Config: first, ConfigPlanChecks: nothingToDo()},
		{PreConfig: func() { a.tagInstance("app1", "patch", "sunday"); a.tagInstance("app2", "backup", "theirs") }, Config: first, ConfigPlanChecks: nothingToDo()},
		{Config: second, ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(unchanged,
			a.nodeHas("app1", map[string]string{"team": "platform", "tier": "3", "backup": ""}), check(func() error {
				if app1, app2 := a.nodeObjectTags("app1")["instance"], a.nodeObjectTags("app2")["instance"]; app1["patch"] != "sunday" || app2["backup"] != "theirs" {
					return fmt.Errorf("tags of others are gone: %v, %v", app1, app2)
				}
				return nil
			}))},
		{PreConfig: func() { a.tagInstance("app1", "tier", "changed") }, Config: second, ConfigPlanChecks: inPlace(),
			Check: a.nodeHas("app1", map[string]string{"tier": "3"})},
		{Config: third, ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(unchanged, a.nodeHas("app1", map[string]string{"tier": "1"}))},
		{Config: third, ConfigPlanChecks: nothingToDo()},
	}})
}

func (a *account) tagInstance(node, key, value string) {
	_, err := a.EC2.CreateTags(a.t.Context(), &ec2.CreateTagsInput{Resources: []string{a.ids()[node]}, Tags: []ec2types.Tag{{Key: &key, Value: &value}}})
	a.must(err)
}

func TestTagsOfANodeThatAWSRefusesFailAtPlan(t *testing.T) {
	a := newAccount(t)
	a.extra = `tags = { owner = "x" }`
	a.nodeExtra = map[string]string{"app1": `tags = { Owner = "y" }`}
	a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: a.config(), PlanOnly: true,
		ExpectError: acctest.Matching(`nodes\["app1"\].tags has tag "Owner" and tags has tag "owner"`)}}})
}
