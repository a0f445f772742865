package cluster_test

import (
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// placementGroup creates a placement group of that strategy and name.
func (a *account) placementGroup(strategy ec2types.PlacementStrategy) {
	a.t.Helper()
	_, err := a.fronted().CreatePlacementGroup(a.t.Context(), &ec2.CreatePlacementGroupInput{GroupName: aws.String(string(strategy)), Strategy: strategy})
	a.must(err)
}

// placed checks tenancy and placement group of a node.
func (a *account) placed(name string, tenancy ec2types.Tenancy, group string) resource.TestCheckFunc {
	return check(func() error {
		out, err := a.fronted().DescribeInstances(a.t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{a.ids()[name]}})
		if err != nil {
			return err
		}
		if p := out.Reservations[0].Instances[0].Placement; p.Tenancy != tenancy || aws.ToString(p.GroupName) != group {
			return fmt.Errorf("%s has tenancy %s in group %q, want %s in %q", name, p.Tenancy, aws.ToString(p.GroupName), tenancy, group)
		}
		return nil
	})
}

func TestPlacementIsChangedWhileTheNodeIsStopped(t *testing.T) {
	a := newAccount(t)
	a.placementGroup(ec2types.PlacementStrategySpread)
	a.placementGroup(ec2types.PlacementStrategyPartition)
	config := func(options string) string {
		a.nodeExtra["app1"] = options
		return a.config()
	}
	launched := config(`tenancy = "dedicated", placement_group = "partition"`)
	spread := config(`placement_group = "spread"`)
	plain := config("")
	var before map[string]string
	calls := func(want ...string) resource.TestCheckFunc {
		return check(func() error {
			if got := a.mutations("StopInstances", "ModifyInstancePlacement", "StartInstances", "RunInstances", "TerminateInstances"); !slices.Equal(got, want) {
				return fmt.Errorf("calls: %v, want %v", got, want)
			}
			return nil
		})
	}
	const stop, modify, start = "StopInstances", "ModifyInstancePlacement", "StartInstances"
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: launched, Check: resource.ComposeTestCheckFunc(a.remember(&before), a.placed("app1", "dedicated", "partition"), a.placed("app2", "default", ""))},
		{Config: launched, ConfigPlanChecks: nothingToDo()},
		// A spread group takes the default tenancy only, so the node leaves its group first.
		{PreConfig: a.Front.ClearCalls, Config: spread, ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(
			a.keeps(&before), a.placed("app1", "default", "spread"), calls(stop, modify, modify, modify, start))},
		{Config: spread, ConfigPlanChecks: nothingToDo()},
		{PreConfig: a.Front.ClearCalls, Config: launched, ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(a.keeps(&before), a.placed("app1", "dedicated", "partition"))},
		{PreConfig: a.Front.ClearCalls, Config: plain, ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(
			a.keeps(&before), a.placed("app1", "default", ""), calls(stop, modify, modify, start))},
		{Config: plain, ConfigPlanChecks: nothingToDo()},
		{ // moved outside of Terraform
			PreConfig: func() {
				id := a.ids()["app1"]
				_, err := a.fronted().StopInstances(t.Context(), &ec2.StopInstancesInput{InstanceIds: []string{id}})
				a.must(err)
				a.eventuallyStopped(id)
				_, err = a.fronted().ModifyInstancePlacement(t.Context(), &ec2.ModifyInstancePlacementInput{InstanceId: &id, Tenancy: ec2types.HostTenancyDedicated})
				a.must(err)
			},
			Config: plain, ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(a.keeps(&before), a.placed("app1", "default", "")),
		},
	}})
}

// eventuallyStopped waits until an instance is stopped.
func (a *account) eventuallyStopped(id string) {
	a.t.Helper()
	waiter := ec2.NewInstanceStoppedWaiter(a.fronted(), func(o *ec2.InstanceStoppedWaiterOptions) { o.MinDelay = 100 * time.Millisecond })
	a.must(waiter.Wait(a.t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}}, time.Minute))
}

func TestIfAnotherPlacementIsRefusedTheNodeRunsAsBefore(t *testing.T) {
	for name, c := range map[string]struct {
		fault fakeaws.Fault
		text  string
	}{
		"group that is gone": {fakeaws.Fault{Action: "ModifyInstancePlacement", Status: 400, Code: "InvalidPlacementGroup.Unknown"},
			`runs\s+as\s+t3\.small\s+again[\s\S]*InvalidPlacementGroup\.Unknown`},
		"no capacity": {fakeaws.Fault{Action: "StartInstances", Nth: 2, Status: 500, Code: "InsufficientInstanceCapacity"}, // the first call is a dry run
			`AWS\s+has\s+no\s+capacity\s+for\s+t3\.small\s+of\s+tenancy\s+dedicated\s+in\s+placement\s+group\s+partition[\s\S]*remove\s+placement_group[\s\S]*runs\s+as\s+t3\.small\s+again`},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAccount(t)
			a.placementGroup(ec2types.PlacementStrategyPartition)
			first := a.config()
			a.nodeExtra["app1"] = `tenancy = "dedicated", placement_group = "partition"`
			fault := c.fault
			fault.Effect, fault.Message = fakeaws.Fail, "refused"
			var before map[string]string
			a.Test(resource.TestCase{Steps: []resource.TestStep{
				{Config: first, Check: resource.ComposeTestCheckFunc(a.remember(&before), check(func() error { return a.Front.Inject(fault) }))},
				{Config: a.config(), ExpectError: regexp.MustCompile(c.text)},
				{Config: first, ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(a.keeps(&before), a.placed("app1", "default", ""))},
			}})
		})
	}
}

// TestADeniedChangeOfPlacementStartsTheNode covers permissions that lack the call, which
// has no dry run: also the way back is denied, and the node runs nevertheless.
func TestADeniedChangeOfPlacementStartsTheNode(t *testing.T) {
	a := newAccount(t)
	a.placementGroup(ec2types.PlacementStrategySpread)
	first := a.config()
	a.nodeExtra["app1"] = `placement_group = "spread"`
	var before map[string]string
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: first, Check: resource.ComposeTestCheckFunc(a.remember(&before), check(func() error {
			for range 2 {
				if err := a.Front.Inject(fakeaws.Fault{Action: "ModifyInstancePlacement", Effect: fakeaws.Fail, Status: 403, Code: "UnauthorizedOperation", Message: "no"}); err != nil {
					return err
				}
			}
			return nil
		}))},
		{Config: a.config(), ExpectError: regexp.MustCompile(`UnauthorizedOperation`)},
		{Config: first, ConfigPlanChecks: inPlace(), Check: a.keeps(&before)},
	}})
}

func TestAnotherPlacementReplacesASpotNode(t *testing.T) {
	a := newAccount(t)
	a.placementGroup(ec2types.PlacementStrategySpread)
	a.nodeExtra["app1"] = `spot = true`
	first := a.config()
	a.nodeExtra["app1"] = `spot = true, placement_group = "spread"`
	second := a.config()
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: first},
		{PreConfig: a.Front.ClearCalls, Config: second, Check: resource.ComposeTestCheckFunc(a.placed("app1", "default", "spread"), check(func() error {
			if got := a.mutations("StopInstances", "ModifyInstancePlacement"); len(got) > 0 {
				return fmt.Errorf("the Spot Instance was changed: %v", got)
			}
			return nil
		}))},
		{Config: second, ConfigPlanChecks: nothingToDo()},
	}})
}

func TestPlacementErrorsSayWhatToDo(t *testing.T) {
	for name, c := range map[string]struct{ node, options, error string }{
		"no such group":           {"app1", `placement_group = "none"`, `placement\s+group\s+none\s+does\s+not\s+exist\s+in\s+eu-west-1;\s+create\s+it`},
		"type in a cluster group": {"app1", `placement_group = "cluster"`, `has\s+the\s+strategy\s+cluster,\s+and\s+instance\s+type\s+t3\.small\s+allows`},
		"dedicated in a spread":   {"app1", `placement_group = "spread", tenancy = "dedicated"`, `takes\s+no\s+instance\s+of\s+tenancy\s+dedicated`},
		"unknown tenancy":         {"app1", `tenancy = "host"`, `value\s+must\s+be\s+one\s+of`},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAccount(t)
			a.placementGroup(ec2types.PlacementStrategySpread)
			a.placementGroup(ec2types.PlacementStrategyCluster)
			a.nodeExtra[c.node] = c.options
			a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: a.config(), ExpectError: regexp.MustCompile(c.error)}}})
		})
	}
	t.Run("cluster group over two zones", func(t *testing.T) {
		a := newAccount(t)
		a.placementGroup(ec2types.PlacementStrategyCluster)
		other := a.subnetIn("10.0.4.0/24", "b")
		a.KeepBaseline()
		for name, subnet := range map[string]string{"app1": a.private, "app2": other} {
			a.nodeExtra[name] = `placement_group = "cluster"`
			a.change(name, func(n *node) { n.subnet, n.instanceType = subnet, "m5.large" })
		}
		a.change("app2", func(n *node) { n.address = "10.0.4.11" })
		a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: a.config(), PlanOnly: true, ExpectError: regexp.MustCompile(`its\s+nodes\s+are\s+in\s+2\s+zones`)}}})
	})
	t.Run("eight nodes in a spread group", func(t *testing.T) {
		a := newAccount(t)
		a.placementGroup(ec2types.PlacementStrategySpread)
		for n := range 8 {
			name := fmt.Sprintf("app%d", n+1)
			a.nodes[name] = node{"app", "t3.small", a.private, fmt.Sprintf("10.0.2.%d", 110+n), image("app"), "", ""}
			a.nodeExtra[name] = `placement_group = "spread"`
		}
		a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: a.config(), PlanOnly: true, ExpectError: regexp.MustCompile(`at\s+most\s+7\s+running\s+instances\s+in\s+a\s+zone,\s+and\s+8\s+nodes`)}}})
	})
}

func TestInAVPCOfDedicatedTenancyNodesAreDedicated(t *testing.T) {
	a := newAccountIn(t, ec2types.TenancyDedicated)
	plain := a.config()
	a.nodeExtra["app1"] = `tenancy = "default"`
	refused := a.config()
	a.nodeExtra["app1"] = `tenancy = "dedicated"`
	explicit := a.config()
	var before map[string]string
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: refused, PlanOnly: true, ExpectError: regexp.MustCompile(`has\s+tenancy\s+dedicated,\s+in\s+which\s+AWS\s+launches\s+no\s+instance\s+of\s+tenancy\s+default`)},
		{Config: plain, Check: resource.ComposeTestCheckFunc(a.remember(&before), a.placed("app1", "dedicated", ""))},
		{Config: plain, ConfigPlanChecks: nothingToDo()},
		{PreConfig: a.Front.ClearCalls, Config: explicit, Check: resource.ComposeTestCheckFunc(a.keeps(&before), check(func() error {
			if got := a.mutations("StopInstances"); len(got) > 0 {
				return fmt.Errorf("the node was stopped")
			}
			return nil
		}))},
		{Config: explicit, ConfigPlanChecks: nothingToDo()},
	}})
}
