package cluster_test

import (
	"fmt"
	"regexp"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/provider/internal/acctest"
)

// keeps returns a check that each node still has the instance that it had, and that
// all run.
func (a *account) keeps(before *map[string]string) resource.TestCheckFunc {
	return check(func() error {
		for name, i := range a.live() {
			if id := *i.InstanceId; id != (*before)[name] || i.State.Name != "running" {
				return fmt.Errorf("node %s was %s and is %s (%s)", name, (*before)[name], id, i.State.Name)
			}
		}
		return nil
	})
}

func (a *account) remember(ids *map[string]string) resource.TestCheckFunc {
	return check(func() error { *ids = a.ids(); return nil })
}

// mutations returns the calls of the actions that were not dry runs.
func (a *account) mutations(actions ...string) (found []string) {
	for _, c := range a.Front.Calls() {
		if c.Mutation > 0 && slices.Contains(actions, c.Action) {
			found = append(found, c.Action)
		}
	}
	return found
}

func TestAnotherTypeKeepsTheInstanceAndItsDisk(t *testing.T) {
	a := newAccount(t)
	first := a.config()
	for _, name := range []string{"app1", "db2"} {
		a.change(name, func(n *node) { n.instanceType = "t3.large" })
	}
	var before map[string]string
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: first, Check: a.remember(&before)},
		{PreConfig: a.Front.ClearCalls, Config: a.config(), ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(a.keeps(&before), check(func() error {
			live := a.live()
			if live["app1"].InstanceType != "t3.large" || live["db2"].InstanceType != "t3.large" {
				return fmt.Errorf("app1 is a %s and db2 a %s", live["app1"].InstanceType, live["db2"].InstanceType)
			}
			steps := []string{"StopInstances", "ModifyInstanceAttribute", "StartInstances"}
			if got := a.mutations(append(steps, "RunInstances", "TerminateInstances")...); !slices.Equal(got, append(steps, steps...)) {
				return fmt.Errorf("calls: %v", got)
			}
			return nil
		}))},
		{Config: a.config(), ConfigPlanChecks: nothingToDo()},
	}})
}

func TestIfAnotherTypeIsRefusedTheNodeRunsAsBefore(t *testing.T) {
	for name, refused := range map[string]struct {
		fault fakeaws.Fault // the second call: the first one is a dry run
		text  string
	}{
		"no capacity": {fakeaws.Fault{Action: "StartInstances", Status: 500, Code: "InsufficientInstanceCapacity"},
			`AWS\s+has\s+no\s+capacity\s+for\s+t3\.large\s+in\s+zone\s+eu-west-1a`},
		"quota":            {fakeaws.Fault{Action: "StartInstances", Status: 400, Code: "VcpuLimitExceeded"}, `quota\s+for\s+this\s+instance\s+type`},
		"unsuitable image": {fakeaws.Fault{Action: "ModifyInstanceAttribute", Status: 400, Code: "InvalidParameterCombination"}, `InvalidParameterCombination`},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAccount(t)
			first := a.config()
			a.change("app1", func(n *node) { n.instanceType = "t3.large" })
			fault := refused.fault
			fault.Nth, fault.Effect, fault.Message = 2, fakeaws.Fail, "refused"
			var before map[string]string
			a.Test(resource.TestCase{Steps: []resource.TestStep{
				{Config: first, Check: resource.ComposeTestCheckFunc(a.remember(&before), check(func() error { return a.Front.Inject(fault) }))},
				{Config: a.config(), ExpectError: regexp.MustCompile(`(?s)(` + refused.text + `.*runs\s+as\s+t3\.small\s+again|runs\s+as\s+t3\.small\s+again.*` + refused.text + `)`)},
				{Config: first, ConfigPlanChecks: inPlace(), Check: a.keeps(&before)},
			}})
		})
	}
}

func TestAReplacementThatAWSWouldRefuseEndsNoNode(t *testing.T) {
	for code, text := range map[string]string{"VcpuLimitExceeded": `quota\s+for\s+this\s+instance\s+type`, "UnauthorizedOperation": `no\s+node\s+was\s+changed`} {
		t.Run(code, func(t *testing.T) {
			a := newAccount(t)
			first := a.config()
			a.change("app1", func(n *node) { n.image = moto.BaseImageID })
			var before map[string]string
			a.Test(resource.TestCase{Steps: []resource.TestStep{
				{Config: first, Check: resource.ComposeTestCheckFunc(a.remember(&before), check(func() error {
					return a.Front.Inject(fakeaws.Fault{Action: "RunInstances", Effect: fakeaws.Fail, Code: code, Message: "no"})
				}))},
				{Config: a.config(), ExpectError: regexp.MustCompile(text)},
				{Config: first, Check: a.keeps(&before)},
			}})
		})
	}
}

// TestAMovedNodeEndsOnlyWhenItsSuccessorRuns also checks that a database node is stopped
// before its successor is launched: Patroni must not see one name twice.
func TestAMovedNodeEndsOnlyWhenItsSuccessorRuns(t *testing.T) {
	for name, want := range map[string]struct {
		error string
		calls []string
	}{
		"app1": {`keeps\s+running`, []string{"RunInstances", "TerminateInstances"}},
		"db1":  {`runs\s+again`, []string{"StopInstances", "RunInstances", "TerminateInstances"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAccount(t)
			first := a.config()
			a.change(name, func(n *node) { n.address = "10.0.2.40" })
			var before map[string]string
			a.Test(resource.TestCase{Steps: []resource.TestStep{
				{Config: first, Check: resource.ComposeTestCheckFunc(a.remember(&before), check(func() error { // the first launch is a dry run
					return a.Front.Inject(fakeaws.Fault{Action: "RunInstances", Nth: 2, Effect: fakeaws.Fail, Status: 500, Code: "InsufficientInstanceCapacity", Message: "none left"})
				}))},
				{Config: a.config(), ExpectError: regexp.MustCompile(want.error + `[\s\S]*AWS\s+has\s+no\s+capacity`)},
				{Config: first, Check: a.keeps(&before)},
				{PreConfig: a.Front.ClearCalls, Config: a.config(), Check: resource.ComposeTestCheckFunc(check(a.checkInstances), check(a.checkAttached), check(func() error {
					if got := a.mutations("StopInstances", "RunInstances", "TerminateInstances"); !slices.Equal(got, want.calls) {
						return fmt.Errorf("calls: %v, want %v", got, want.calls)
					}
					return nil
				}))},
				{Config: a.config(), ConfigPlanChecks: nothingToDo()},
			}})
		})
	}
}

// volume creates a data volume.
func (a *account) volume() string {
	out, err := a.EC2.CreateVolume(a.t.Context(), &ec2.CreateVolumeInput{AvailabilityZone: aws.String(acctest.Region + "a"), Size: aws.Int32(9)})
	a.must(err)
	return *out.VolumeId
}

func TestADataVolumeIsExchangedWhileItsNodeIsStopped(t *testing.T) {
	a := newAccount(t)
	restored := a.volume()
	a.KeepBaseline()
	first := a.config()
	a.change("db1", func(n *node) { n.volume = restored })
	exchanged := a.config()
	a.change("db1", func(n *node) { n.volume = "" })
	without := a.config()
	var before map[string]string
	attached := func(want string) resource.TestCheckFunc {
		return check(func() error {
			got := ""
			for _, m := range a.live()["db1"].BlockDeviceMappings {
				if *m.DeviceName == "/dev/sdf" {
					got = *m.Ebs.VolumeId
				}
			}
			if got != want {
				return fmt.Errorf("db1 has %q, want %q", got, want)
			}
			return nil
		})
	}
	calls := []string{"StopInstances", "DetachVolume", "AttachVolume", "StartInstances"}
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: first, Check: a.remember(&before)},
		{PreConfig: a.Front.ClearCalls, Config: exchanged, ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(a.keeps(&before), attached(restored), check(func() error {
			if got := slices.Compact(a.mutations(calls...)); !slices.Equal(got, calls) { // an attachment is retried
				return fmt.Errorf("calls: %v", got)
			}
			return nil
		}))},
		{Config: without, ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(a.keeps(&before), attached(""))},
		{Config: first, ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(a.keeps(&before), attached(a.volumes[0]))},
		{Config: first, ConfigPlanChecks: nothingToDo()},
	}})
}

func TestTwoNodesExchangeTheirVolumes(t *testing.T) {
	a := newAccount(t)
	first := a.config()
	a.change("db1", func(n *node) { n.volume = a.volumes[1] })
	a.change("db2", func(n *node) { n.volume = a.volumes[0] })
	var before map[string]string
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: first, Check: a.remember(&before)},
		{Config: a.config(), ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(a.keeps(&before), check(a.checkAttached))},
		{Config: a.config(), ConfigPlanChecks: nothingToDo()},
		{PreConfig: func() {
			a.must(a.Front.Inject(fakeaws.Fault{Action: "StopInstances", Effect: fakeaws.Fail, Status: 403, Code: "UnauthorizedOperation", Message: "no"}))
		}, Config: first, ExpectError: regexp.MustCompile(`no\s+node\s+was\s+changed`)},
		{PreConfig: a.Front.ClearCalls, Config: first, Check: resource.ComposeTestCheckFunc(a.keeps(&before), check(func() error {
			want := []string{"StopInstances", "DetachVolume", "StopInstances", "DetachVolume", "AttachVolume", "StartInstances", "AttachVolume", "StartInstances"}
			if got := slices.Compact(a.mutations(want...)); !slices.Equal(got, want) {
				return fmt.Errorf("calls: %v", got)
			}
			return nil
		}))},
	}})
}

// db1 gives its volume to db2, which gives its own to the new db3: no two of them are
// stopped at a time.
func TestVolumesArePassedOnOneNodeAfterTheOther(t *testing.T) {
	a := newAccount(t)
	other := a.volume()
	a.KeepBaseline()
	first := a.config()
	a.nodes["db3"] = node{"db", "t3.medium", a.private, "10.0.2.32", image("db"), "", a.volumes[1]}
	a.change("db2", func(n *node) { n.volume = a.volumes[0] })
	a.change("db1", func(n *node) { n.volume = other })
	want := []string{"StopInstances", "DetachVolume", "AttachVolume", "StartInstances",
		"StopInstances", "DetachVolume", "AttachVolume", "StartInstances", "RunInstances", "AttachVolume"}
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: first},
		{PreConfig: a.Front.ClearCalls, Config: a.config(), ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(check(a.checkAttached), check(func() error {
			if got := slices.Compact(a.mutations(want...)); !slices.Equal(got, want) {
				return fmt.Errorf("calls: %v", got)
			}
			return nil
		}))},
		{Config: a.config(), ConfigPlanChecks: nothingToDo()},
	}})
}

func TestNodesWithOtherImagesExchangeTheirVolumes(t *testing.T) {
	a := newAccount(t)
	first := a.config()
	a.change("db1", func(n *node) { n.volume, n.image = a.volumes[1], moto.BaseImageID })
	a.change("db2", func(n *node) { n.volume = a.volumes[0] })
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: first},
		{Config: a.config(), ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(check(a.checkInstances), check(a.checkAttached))},
		{Config: a.config(), ConfigPlanChecks: nothingToDo()},
	}})
}
