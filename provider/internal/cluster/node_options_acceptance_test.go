package cluster_test

import (
	"fmt"
	"regexp"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
)

func TestMonitoringAndCreditsAreChangedInPlace(t *testing.T) {
	a := newAccount(t)
	plain := a.config()
	a.nodeExtra = map[string]string{"app1": `monitoring = true, cpu_credits = "standard"`}
	first := a.config()
	a.nodeExtra = map[string]string{"app1": `monitoring = false, cpu_credits = "unlimited"`}
	second := a.config()
	var before map[string]string
	monitored := func(want ec2types.MonitoringState, credits, restores string) resource.TestCheckFunc {
		return resource.ComposeTestCheckFunc(a.keeps(&before), check(func() error {
			if restores == "" {
				return nil
			}
			if got := a.mutations("MonitorInstances", "UnmonitorInstances", "ModifyInstanceCreditSpecification"); !slices.Contains(got, restores) {
				return fmt.Errorf("calls: %v, want %s (%s, %s)", got, restores, want, credits)
			}
			return nil
		}))
	}
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: first, Check: a.remember(&before)},
		{Config: first, ConfigPlanChecks: nothingToDo()}, // set at launch
		{PreConfig: a.Front.ClearCalls, Config: second, ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(
			monitored("disabled", "unlimited", "UnmonitorInstances"), monitored("disabled", "unlimited", "ModifyInstanceCreditSpecification"))},
		{Config: second, ConfigPlanChecks: nothingToDo()},
		{Config: plain, ConfigPlanChecks: inPlace(), Check: a.keeps(&before)},
		{Config: plain, ConfigPlanChecks: nothingToDo()},
		{PreConfig: a.Front.ClearCalls, Config: first, ConfigPlanChecks: inPlace(), Check: monitored("enabled", "standard", "MonitorInstances")},
		{Config: first, ConfigPlanChecks: nothingToDo()},
	}})
}

func TestAnInterruptedSpotNodeIsLaunchedAnew(t *testing.T) {
	a := newAccount(t)
	a.extra = "termination_protection = true"
	onDemand := a.config()
	a.nodeExtra = map[string]string{"app1": "spot = true"}
	spot := a.config()
	a.change("app1", func(n *node) { n.instanceType = "t3.large" })
	larger := a.config()
	a.extra = ""
	open := a.config()
	isSpot := check(func() error {
		if live := a.live(); live["app1"].InstanceLifecycle != "spot" || live["app2"].InstanceLifecycle == "spot" {
			return fmt.Errorf("app1 is %q and app2 %q", live["app1"].InstanceLifecycle, live["app2"].InstanceLifecycle)
		}
		return nil
	})
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: onDemand},
		{Config: spot, ConfigPlanChecks: inPlace(), Check: isSpot},
		{Config: spot, ConfigPlanChecks: nothingToDo()},
		{
			PreConfig: func() {
				_, err := a.EC2.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{a.ids()["app1"]}})
				a.must(err)
			},
			Config: spot, ConfigPlanChecks: inPlace(), Check: isSpot,
		},
		{PreConfig: a.Front.ClearCalls, Config: larger, Check: resource.ComposeTestCheckFunc(isSpot, check(func() error {
			if got := a.mutations("StopInstances"); len(got) > 0 {
				return fmt.Errorf("the Spot Instance was stopped: %v", got)
			}
			return nil
		}))},
		{Config: larger, ConfigPlanChecks: nothingToDo()},
		{Config: open},
	}})
}

func TestOptionsThatTheRoleOrTypeLacksAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ node, options, instanceType, error string }{
		"spot of a database":      {"db1", "spot = true", "t3.medium", `the\s+cluster\s+does\s+without\s+nodes\s+of\s+role\s+app`},
		"credits of another type": {"app1", `cpu_credits = "standard"`, "m5.large", `Only\s+T\s+types`},
		"unknown credits":         {"app1", `cpu_credits = "some"`, "t3.small", `value\s+must\s+be\s+one\s+of`},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAccount(t)
			a.nodeExtra = map[string]string{c.node: c.options}
			a.change(c.node, func(n *node) { n.instanceType = c.instanceType })
			a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: a.config(), ExpectError: regexp.MustCompile(c.error)}}})
		})
	}
}
