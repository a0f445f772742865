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
)

// rootVolume returns the id of a node's root volume.
func (a *account) rootVolume(name string) string {
	i := a.live()[name]
	for _, m := range i.BlockDeviceMappings {
		if aws.ToString(m.DeviceName) == aws.ToString(i.RootDeviceName) {
			return aws.ToString(m.Ebs.VolumeId)
		}
	}
	return ""
}

// rootHas checks the performance of a node's root volume.
func (a *account) rootHas(name string, iops, throughput int32) resource.TestCheckFunc {
	return check(func() error {
		out, err := a.EC2.DescribeVolumes(a.t.Context(), &ec2.DescribeVolumesInput{VolumeIds: []string{a.rootVolume(name)}})
		if err != nil {
			return err
		}
		if v := out.Volumes[0]; aws.ToInt32(v.Iops) != iops || aws.ToInt32(v.Throughput) != throughput {
			return fmt.Errorf("the root volume of %s has %d IOPS and %d MiB/s, want %d and %d", name, aws.ToInt32(v.Iops), aws.ToInt32(v.Throughput), iops, throughput)
		}
		return nil
	})
}

func TestPerformanceOfRootVolumesIsChangedInPlace(t *testing.T) {
	a := newAccount(t)
	config := func(options string) string {
		a.nodeExtra["app1"] = options
		return a.config()
	}
	plain, first := config(""), config(`root_volume_iops = 6000, root_volume_throughput = 500`)
	second := config(`root_volume_iops = 4000`)
	var before map[string]string
	drift := func() {
		_, err := a.EC2.ModifyVolume(t.Context(), &ec2.ModifyVolumeInput{VolumeId: aws.String(a.rootVolume("app1")), Iops: aws.Int32(7000)})
		a.must(err)
	}
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: first, Check: resource.ComposeTestCheckFunc(a.remember(&before), a.rootHas("app1", 6000, 500), check(func() error {
			if got := a.mutations("ModifyVolume"); len(got) > 0 {
				return fmt.Errorf("the launch did not set the performance: %v", got)
			}
			return nil
		}))},
		{Config: first, ConfigPlanChecks: nothingToDo()},
		{PreConfig: drift, Config: first, ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(a.keeps(&before), a.rootHas("app1", 6000, 500))},
		{PreConfig: a.Front.ClearCalls, Config: second, ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(a.keeps(&before), a.rootHas("app1", 4000, 125), check(func() error {
			if got := a.mutations("ModifyVolume", "StopInstances"); !slices.Equal(got, []string{"ModifyVolume"}) {
				return fmt.Errorf("calls: %v", got)
			}
			return nil
		}))},
		{Config: second, ConfigPlanChecks: nothingToDo()},
		{PreConfig: func() {
			a.must(a.Front.Inject(fakeaws.Fault{Action: "ModifyVolume", Effect: fakeaws.Fail, Status: 400, Code: "MaxIOPSLimitExceeded", Message: "no"}))
		}, Config: plain, ExpectError: regexp.MustCompile(`MaxIOPSLimitExceeded`)},
		// What was removed from the configuration is not forgotten after a failure.
		{Config: plain, ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(a.keeps(&before), a.rootHas("app1", 3000, 125))},
		{PreConfig: a.Front.ClearCalls, Config: plain, ConfigPlanChecks: nothingToDo(), Check: check(func() error {
			for _, c := range a.Front.Calls() {
				if c.Action == "DescribeVolumes" {
					return fmt.Errorf("a node without options costs a call")
				}
			}
			return nil
		})},
	}})
}

// EBS refuses a second change for hours, in which a rollout may be urgent.
func TestARefusedRootVolumeStopsNoRollout(t *testing.T) {
	a := newAccount(t)
	first := a.config()
	a.nodeExtra["app1"] = "root_volume_iops = 4000"
	a.change("app2", func(n *node) { n.image = moto.BaseImageID })
	second := a.config()
	var before map[string]string
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: first, Check: a.remember(&before)},
		{PreConfig: func() {
			a.must(a.Front.Inject(fakeaws.Fault{Action: "ModifyVolume", Effect: fakeaws.Fail, Status: 400, Code: "IncorrectModificationState", Message: "no"}))
		}, Config: second, ExpectError: regexp.MustCompile(`(?s)node app1.*performance of its root volume.*IncorrectModificationState`)},
		{PreConfig: func() {
			if a.ids()["app2"] == before["app2"] {
				t.Error("app2 was not replaced")
			}
		}, Config: second, ConfigPlanChecks: inPlace(), Check: a.rootHas("app1", 4000, 125)},
	}})
}

func TestRootVolumeErrorsSayWhatToDo(t *testing.T) {
	for name, c := range map[string]struct{ options, extra, error string }{
		"too few IOPS":                   {`root_volume_iops = 2999`, "", `between\s+3000\s+and\s+80000`},
		"too many IOPS":                  {`root_volume_iops = 80001`, "root_volume_gib = 1000", `between\s+3000\s+and\s+80000`},
		"too many IOPS for the default":  {`root_volume_iops = 8001`, "", `root\s+volume\s+of\s+16\s+GiB\s+has\s+at\s+most\s+8000\s+IOPS`},
		"too many IOPS for the size":     {`root_volume_iops = 16001`, "root_volume_gib = 32", `root\s+volume\s+of\s+32\s+GiB\s+has\s+at\s+most\s+16000\s+IOPS`},
		"too much throughput":            {`root_volume_iops = 8000, root_volume_throughput = 2001`, "", `between\s+125\s+and\s+2000`},
		"throughput over the IOPS":       {`root_volume_iops = 4000, root_volume_throughput = 1001`, "", `1001\s+MiB/s\s+need\s+4004\s+IOPS`},
		"throughput over the basic IOPS": {`root_volume_throughput = 751`, "", `751\s+MiB/s\s+need\s+3004\s+IOPS`},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAccount(t)
			a.nodeExtra["app1"], a.extra = c.options, c.extra
			a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: a.config(), PlanOnly: true, ExpectError: regexp.MustCompile(c.error)}}})
		})
	}
}

// TestAnExistingRootVolumeLimitsItsIOPS covers a root_volume_gib that was increased after
// the launch: the running node still has the smaller volume.
func TestAnExistingRootVolumeLimitsItsIOPS(t *testing.T) {
	a := newAccount(t)
	first := a.config()
	a.extra = "root_volume_gib = 64"
	a.nodeExtra["app1"] = "root_volume_iops = 9000"
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: first},
		{Config: a.config(), PlanOnly: true, ExpectError: regexp.MustCompile(`was\s+launched\s+with\s+16\s+GiB,\s+which\s+have\s+at\s+most\s+8000\s+IOPS`)},
	}})
}
