package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
)

func TestNodesSwapTheirAddressesAndVolumes(t *testing.T) {
	a := newAccount(t)
	first := a.config()
	a.change("edge", func(n *node) { n.eip = a.eips[1] })
	a.change("gateway", func(n *node) { n.eip = a.eips[0] })
	a.change("db1", func(n *node) { n.volume = a.volumes[1] })
	a.change("db2", func(n *node) { n.volume = a.volumes[0] })
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: first},
		{Config: a.config(), ConfigPlanChecks: inPlace(), Check: check(a.checkAttached)},
		{Config: a.config(), ConfigPlanChecks: nothingToDo()},
	}})
}

func TestAnImportedClusterIsAppliedInPlace(t *testing.T) {
	a := newAccount(t)
	var before map[string]string
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: a.config(), Check: check(func() error { before = a.ids(); return nil })},
		{Config: "removed {\n  from = xeroops_cluster.main\n  lifecycle {\n    destroy = false\n  }\n}"},
		{Config: a.config(), ResourceName: resourceName, ImportState: true, ImportStateId: "production", ImportStatePersist: true, ImportStateVerifyIdentifierAttribute: "name"},
		{RefreshState: true, ExpectNonEmptyPlan: true, Check: resource.TestCheckResourceAttr(resourceName, "drift.#", "0")},
		{Config: a.config(), PlanOnly: true, ExpectNonEmptyPlan: true},
		{Config: a.config(), ConfigPlanChecks: inPlace(), Check: check(func() error {
			for name, id := range a.ids() {
				if before[name] != id {
					return fmt.Errorf("node %s was replaced", name)
				}
			}
			return nil
		})},
		{Config: a.config(), ConfigPlanChecks: nothingToDo()},
	}})
}

func TestProtectionIsLiftedTogetherWithARemoval(t *testing.T) {
	a := newAccount(t)
	a.extra = "termination_protection = true"
	first := a.config()
	a.extra = ""
	delete(a.nodes, "app2")
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: first},
		{Config: a.config(), ConfigPlanChecks: inPlace(), Check: check(a.checkInstances)},
	}})
}

func TestASecondConfigurationOfTheSameNameTouchesNothing(t *testing.T) {
	a := newAccount(t)
	first := a.config()
	delete(a.nodes, "app2") // the other configuration has other nodes
	second := regexp.MustCompile(`resource "xeroops_cluster" "main"`).ReplaceAllString(a.config(), `resource "xeroops_cluster" "second"`)
	var before map[string]string
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: first, Check: check(func() error { before = a.ids(); return nil })},
		{Config: first + second, ExpectError: regexp.MustCompile(`xeroops_cluster "production" already exists`)},
		{PreConfig: func() {
			if after := a.ids(); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("nodes were %v and are %v", before, after)
			}
		}, Config: first, ConfigPlanChecks: nothingToDo()},
	}})
}

func TestReadinessThatDidNotMatterBeforeIsWaitedForWhenItDoes(t *testing.T) {
	a := newAccount(t)
	skipped := a.config()
	a.readiness = `ready_timeout = "60s"`
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: skipped, Check: resource.TestCheckResourceAttr(resourceName, "status", "unverified")},
		{PreConfig: func() { a.nodesReport(allReady) }, Config: a.config(), ConfigPlanChecks: inPlace(), Check: resource.TestCheckResourceAttr(resourceName, "status", "ready")},
	}})
}

func TestARolloutStopsAtANodeThatIsNotReadyAlsoWhereOthersOnlyWarn(t *testing.T) {
	a := newAccount(t)
	a.readiness = "ready_timeout = \"20s\"\n  on_ready_timeout = \"warn\""
	a.nodesReport(func(_ string, i ec2types.Instance) model.BootReport {
		if *i.ImageId == moto.BaseImageID {
			return model.BootReport{State: model.BootFailed, Error: "bad image"}
		}
		return model.BootReport{State: model.BootReady}
	})
	good := a.config()
	a.change("app1", func(n *node) { n.image = moto.BaseImageID })
	a.change("app2", func(n *node) { n.image = moto.BaseImageID })
	var before map[string]string
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: good, Check: check(func() error { before = a.ids(); return nil })},
		{Config: a.config(), ExpectError: regexp.MustCompile(`bad image`)},
		{Config: good, Check: check(func() error {
			if a.ids()["app2"] != before["app2"] {
				return errors.New("app2 was replaced although app1 was not ready")
			}
			return nil
		})},
	}})
}

func TestTheUploadsBucketDoesNotChange(t *testing.T) {
	a := newAccount(t)
	first := a.config()
	a.uploads = "other-bucket"
	second := a.config()
	a.uploads = "uploads-123456789012"
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: first},
		{Config: second, ExpectError: regexp.MustCompile(`The uploads bucket cannot change`)},
	}})
}

func TestARunningClusterIsNotTaintedByAFailedDescribe(t *testing.T) {
	a := newAccount(t)
	// The third one, after the two plans, waits until the instances run.
	a.must(a.Front.Inject(fakeaws.Fault{Action: "DescribeInstances", Nth: 3, Times: 1, Effect: fakeaws.Fail, Code: "UnauthorizedOperation", Message: "no"}))
	var before map[string]string
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: a.config(), ExpectNonEmptyPlan: true, Check: resource.TestCheckResourceAttr(resourceName, "status", "incomplete")},
		{PreConfig: func() { a.Front.ClearFaults(); before = a.ids() }, Config: a.config(),
			Check: check(func() error {
				if len(before) == 0 {
					return errors.New("no node was launched")
				}
				for name, id := range before {
					if a.ids()[name] != id {
						return fmt.Errorf("node %s was replaced", name)
					}
				}
				return a.checkInstances()
			})},
	}})
}

// between runs a function after a plan and before its apply.
type between func(ctx context.Context) error

func (b between) CheckPlan(ctx context.Context, _ plancheck.CheckPlanRequest, resp *plancheck.CheckPlanResponse) {
	resp.Error = b(ctx)
}

func TestANodeLostBetweenPlanAndApplyIsRepaired(t *testing.T) {
	a := newAccount(t)
	first := a.config()
	a.extra = `settings = { LEVEL = "debug" }`
	lose := between(func(ctx context.Context) error {
		_, err := a.EC2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{a.ids()["app1"]}})
		return err
	})
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: first},
		{Config: a.config(), ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{lose}}, Check: check(a.checkInstances)},
		{Config: a.config(), ConfigPlanChecks: nothingToDo(), Check: func(s *terraform.State) error {
			return resource.TestCheckResourceAttr(resourceName, "instances.app1.instance_id", a.ids()["app1"])(s)
		}},
	}})
}
