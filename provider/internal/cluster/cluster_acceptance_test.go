package cluster_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
)

// check returns f as the check of a test step.
func check(f func() error) resource.TestCheckFunc {
	return func(*terraform.State) error { return f() }
}

func nothingToDo() resource.ConfigPlanChecks {
	return resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()}}
}

func inPlace() resource.ConfigPlanChecks {
	return resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectResourceAction(resourceName, plancheck.ResourceActionUpdate)}}
}

func TestClusterIsWhatTheDesignSaysAndASecondApplyChangesNothing(t *testing.T) {
	a := newAccount(t)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: a.config(), Check: resource.ComposeTestCheckFunc(
			resource.TestCheckResourceAttr(resourceName, "status", "unverified"),
			resource.TestCheckResourceAttr(resourceName, "drift.#", "0"),
			resource.TestCheckResourceAttr(resourceName, "instances.%", "7"),
			resource.TestMatchResourceAttr(resourceName, "vpn.endpoint", regexp.MustCompile(`^[\d.]+:51820$`)),
			check(a.checkInstances), check(a.checkAttached), check(a.checkObjects),
		)},
		{Config: a.config(), ConfigPlanChecks: nothingToDo()},
		{ResourceName: resourceName, ImportState: true, ImportStateId: "production", ImportStateVerify: true,
			ImportStateVerifyIdentifierAttribute: "name",
			// The next apply sets what AWS does not know from the configuration.
			ImportStateVerifyIgnore: []string{"buckets", "vpn", "vpn_cidr", "on_ready_timeout", "ready_timeout", "root_volume_gib",
				"termination_protection", "exclusive_policies", "internal_credentials_version", "status"}},
	}})
}

// checkInstances compares the instances with the configuration and with
// docs/design.md#reference-cluster.
func (a *account) checkInstances() error {
	live := a.live()
	if len(live) != len(a.nodes) {
		return fmt.Errorf("%d live instances, want %d", len(live), len(a.nodes))
	}
	for name, n := range a.nodes {
		i := live[name]
		switch {
		case aws.ToString(i.PrivateIpAddress) != n.address:
			return fmt.Errorf("node %s has address %s, want %s", name, aws.ToString(i.PrivateIpAddress), n.address)
		case i.MetadataOptions.HttpTokens != ec2types.HttpTokensStateRequired || aws.ToInt32(i.MetadataOptions.HttpPutResponseHopLimit) != 1:
			return fmt.Errorf("node %s has metadata options %+v", name, i.MetadataOptions)
		case i.IamInstanceProfile == nil || !strings.HasSuffix(*i.IamInstanceProfile.Arn, "/xeroops-eu-west-1-production-"+n.role):
			return fmt.Errorf("node %s runs with profile %+v", name, i.IamInstanceProfile)
		case aws.ToBool(i.SourceDestCheck) == (n.role == "wireguard"):
			return fmt.Errorf("node %s has its source/destination check set to %v", name, aws.ToBool(i.SourceDestCheck))
		}
		if err := a.checkUserData(*i.InstanceId, n); err != nil {
			return fmt.Errorf("node %s: %w", name, err)
		}
	}
	volumes, err := a.EC2.DescribeVolumes(a.t.Context(), &ec2.DescribeVolumesInput{})
	if err != nil {
		return err
	}
	for _, v := range volumes.Volumes {
		if !slices.Contains(a.volumes, *v.VolumeId) && !aws.ToBool(v.Encrypted) {
			return fmt.Errorf("root volume %s is not encrypted", *v.VolumeId)
		}
	}
	return nil
}

func (a *account) checkUserData(id string, n node) error {
	out, err := a.EC2.DescribeInstanceAttribute(a.t.Context(), &ec2.DescribeInstanceAttributeInput{InstanceId: &id, Attribute: ec2types.InstanceAttributeNameUserData})
	if err != nil {
		return err
	}
	text, err := base64.StdEncoding.DecodeString(aws.ToString(out.UserData.Value))
	if !strings.HasPrefix(string(text), "#cloud-config") {
		return errors.Join(err, fmt.Errorf("user-data is %q", text))
	}
	return err
}

func (a *account) checkAttached() error {
	live := a.live()
	addresses, err := a.EC2.DescribeAddresses(a.t.Context(), &ec2.DescribeAddressesInput{})
	if err != nil {
		return err
	}
	for name, n := range a.nodes {
		if n.eip != "" && !slices.ContainsFunc(addresses.Addresses, func(e ec2types.Address) bool {
			return *e.AllocationId == n.eip && aws.ToString(e.InstanceId) == *live[name].InstanceId
		}) {
			return fmt.Errorf("node %s does not have address %s", name, n.eip)
		}
		if n.volume != "" && !slices.ContainsFunc(live[name].BlockDeviceMappings, func(m ec2types.InstanceBlockDeviceMapping) bool {
			return *m.Ebs.VolumeId == n.volume && *m.DeviceName == "/dev/sdf"
		}) {
			return fmt.Errorf("node %s does not have volume %s", name, n.volume)
		}
	}
	return a.checkRoutes()
}

// checkRoutes checks that both subnets have the route to VPN clients.
func (a *account) checkRoutes() error {
	out, err := a.EC2.DescribeRouteTables(a.t.Context(), &ec2.DescribeRouteTablesInput{Filters: []ec2types.Filter{{Name: aws.String("vpc-id"), Values: []string{a.vpc}}}})
	if err != nil {
		return err
	}
	gateway := aws.ToString(a.live()["gateway"].NetworkInterfaces[0].NetworkInterfaceId)
	routed := 0
	for _, table := range out.RouteTables {
		for _, r := range table.Routes {
			if aws.ToString(r.DestinationCidrBlock) == "10.100.0.0/16" && aws.ToString(r.NetworkInterfaceId) == gateway {
				routed++
			}
		}
	}
	if routed != 2 {
		return fmt.Errorf("%d tables route the VPN range to the gateway, want 2", routed)
	}
	return nil
}

func (a *account) checkObjects() error {
	topology := a.object(layout.Topology())
	for name, n := range a.nodes {
		if !strings.Contains(topology, fmt.Sprintf("%q", name)) {
			return fmt.Errorf("node %s is not in the topology", name)
		}
		if !strings.Contains(a.object(layout.InstanceConfig(name)), `XEROOPS_NODE="`+name+`"`) {
			return fmt.Errorf("the settings of node %s are missing", name)
		}
		if a.object(layout.Credentials(model.Role(n.role))) == "" {
			return fmt.Errorf("the credentials of role %s are missing", n.role)
		}
	}
	return nil
}

func TestAddingAndRemovingANodeTouchesNoOther(t *testing.T) {
	a := newAccount(t)
	var before map[string]string
	remember := check(func() error { before = a.ids(); return nil })
	unchanged := func(but string) resource.TestCheckFunc {
		return check(func() error {
			after := a.ids()
			for name, id := range before {
				if name != but && after[name] != id {
					return fmt.Errorf("node %s was %s and is %s", name, id, after[name])
				}
			}
			return nil
		})
	}
	first := a.config()
	a.nodes["app3"] = node{"app", "t3.small", a.private, "10.0.2.12", image("app"), "", ""}
	added := a.config()
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: first, Check: remember},
		{Config: added, ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(unchanged(""), resource.TestCheckResourceAttr(resourceName, "instances.%", "8"))},
		{Config: added, ConfigPlanChecks: nothingToDo()},
		{Config: first, ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(unchanged(""), resource.TestCheckResourceAttr(resourceName, "instances.%", "7"),
			check(func() error {
				if text := a.object(layout.Topology()) + a.object(layout.InstanceConfig("app3")); strings.Contains(text, "app3") {
					return errors.New("the removed node is still in the topology or has settings")
				}
				return nil
			}))},
	}})
}

func TestANewImageReplacesOneNodeAtATimeReplicaBeforePrimary(t *testing.T) {
	a := newAccount(t)
	a.readiness = `ready_timeout = "60s"`
	a.nodesReport(func(name string, _ ec2types.Instance) model.BootReport {
		detail := map[string]string{"db1": "replica", "db2": "primary"}[name]
		return model.BootReport{State: model.BootReady, Services: []model.ServiceReport{{Name: "postgresql", State: "active", Detail: detail}}}
	})
	first := a.config()
	for _, name := range []string{"app1", "app2", "db1", "db2"} {
		a.change(name, func(n *node) { n.image = moto.BaseImageID })
	}
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: first, Check: resource.TestCheckResourceAttr(resourceName, "status", "ready")},
		{PreConfig: a.Front.ClearCalls, Config: a.config(), ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(
			check(func() error { return a.checkRollout("app1", "app2", "db1", "db2") }),
			check(a.checkAttached), resource.TestCheckResourceAttr(resourceName, "status", "ready"))},
		{Config: a.config(), ConfigPlanChecks: nothingToDo()},
	}})
}

// checkRollout checks the order of terminations and launches in the call log.
func (a *account) checkRollout(nodes ...string) error {
	var actions []string
	for _, c := range a.Front.Calls() {
		if c.Status == http.StatusOK && (c.Action == "TerminateInstances" || c.Action == "RunInstances") { // no dry run, and no wait for the address
			actions = append(actions, c.Action)
		}
	}
	var want []string
	for range nodes {
		want = append(want, "TerminateInstances", "RunInstances")
	}
	if !slices.Equal(actions, want) {
		return fmt.Errorf("the calls were %v, want one termination and one launch at a time", actions)
	}
	live := a.live()
	for n := 1; n < len(nodes); n++ {
		earlier, later := live[nodes[n-1]], live[nodes[n]]
		if later.LaunchTime.Before(*earlier.LaunchTime) {
			return fmt.Errorf("%s was replaced before %s", nodes[n], nodes[n-1])
		}
	}
	return nil
}

func TestABadImageCostsOneNodeAndAGoodOneRepairs(t *testing.T) {
	a := newAccount(t)
	a.readiness = `ready_timeout = "20s"`
	a.nodesReport(func(name string, i ec2types.Instance) model.BootReport {
		if *i.ImageId == moto.BaseImageID {
			return model.BootReport{State: model.BootFailed, Error: "no space left on " + name}
		}
		return model.BootReport{State: model.BootReady}
	})
	good := a.config()
	for _, name := range []string{"app1", "app2"} {
		a.change(name, func(n *node) { n.image = moto.BaseImageID })
	}
	bad := a.config()
	var before map[string]string
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: good, Check: check(func() error { before = a.ids(); return nil })},
		{Config: bad, ExpectError: regexp.MustCompile(`(?s)replace node app1 \(1 of 2.*no space left on\s+app1`)},
		{PreConfig: func() {
			after := a.ids()
			if after["app2"] != before["app2"] {
				t.Error("app2 was replaced although app1 did not come up")
			}
		}, Config: good, ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(
			resource.TestCheckResourceAttr(resourceName, "status", "ready"),
			check(func() error {
				if after := a.ids(); after["app2"] != before["app2"] {
					return errors.New("the repair replaced app2, which was fine")
				}
				return nil
			}))},
	}})
}

func TestACreateThatFailsHalfWayKeepsWhatRunsAndTheNextApplyRepairs(t *testing.T) {
	a := newAccount(t)
	a.must(a.Front.Inject(fakeaws.Fault{Action: "RunInstances", Nth: 3, Effect: fakeaws.Fail, Code: "InstanceLimitExceeded", Message: "no more"}))
	var before map[string]string
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: a.config(), ExpectNonEmptyPlan: true, Check: resource.ComposeTestCheckFunc(
			resource.TestCheckResourceAttr(resourceName, "status", "incomplete"),
			check(func() error {
				if before = a.ids(); len(before) != 6 {
					return fmt.Errorf("%d instances run, want 6", len(before))
				}
				return nil
			}))},
		{Config: a.config(), ConfigPlanChecks: inPlace(), Check: check(func() error {
			after := a.ids()
			for name, id := range before {
				if after[name] != id {
					return fmt.Errorf("node %s was replaced", name)
				}
			}
			return a.checkInstances()
		})},
		{Config: a.config(), ConfigPlanChecks: nothingToDo()},
	}})
}

func TestALostNodeIsRepairedAndNoOtherTouched(t *testing.T) {
	a := newAccount(t)
	var before map[string]string
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: a.config(), Check: check(func() error { before = a.ids(); return nil })},
		{PreConfig: func() {
			_, err := a.EC2.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{before["db1"]}})
			a.must(err)
		}, Config: a.config(), ConfigPlanChecks: inPlace(), Check: resource.ComposeTestCheckFunc(check(a.checkInstances), check(a.checkAttached), check(func() error {
			after := a.ids()
			for name, id := range before {
				if changed := after[name] != id; changed != (name == "db1") {
					return fmt.Errorf("node %s changed: %v", name, changed)
				}
			}
			return nil
		}))},
	}})
}

// driftCases returns changes made outside Terraform, by name.
func (a *account) driftCases() map[string]func() {
	role := aws.String(appRole)
	return map[string]func(){
		"a port opened by hand": func() {
			_, err := a.EC2.AuthorizeSecurityGroupIngress(a.t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: aws.String(a.group("db")),
				IpPermissions: []ec2types.IpPermission{{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), IpRanges: []ec2types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}}}})
			a.must(err)
		},
		"a policy made wider": func() {
			_, err := a.IAM.PutRolePolicy(a.t.Context(), &iam.PutRolePolicyInput{RoleName: role, PolicyName: aws.String("xeroops"),
				PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`)})
			a.must(err)
		},
		"an instance profile taken away": func() { // moto does not show a replaced one
			out, err := a.EC2.DescribeIamInstanceProfileAssociations(a.t.Context(), &ec2.DescribeIamInstanceProfileAssociationsInput{
				Filters: []ec2types.Filter{{Name: aws.String("instance-id"), Values: []string{a.ids()["db2"]}}}})
			a.must(err)
			_, err = a.EC2.DisassociateIamInstanceProfile(a.t.Context(), &ec2.DisassociateIamInstanceProfileInput{AssociationId: out.IamInstanceProfileAssociations[0].AssociationId})
			a.must(err)
		},
		"a stopped node": func() {
			_, err := a.EC2.StopInstances(a.t.Context(), &ec2.StopInstancesInput{InstanceIds: []string{a.ids()["app2"]}})
			a.must(err)
		},
		"the topology changed": func() { a.putObject(layout.Topology(), "{}") },
		"credentials deleted":  func() { a.deleteObject(layout.Credentials(model.RoleApp)) },
		"an address taken away": func() {
			out, err := a.EC2.DescribeAddresses(a.t.Context(), &ec2.DescribeAddressesInput{AllocationIds: []string{a.eips[0]}})
			a.must(err)
			_, err = a.EC2.DisassociateAddress(a.t.Context(), &ec2.DisassociateAddressInput{AssociationId: out.Addresses[0].AssociationId})
			a.must(err)
		},
		"a volume detached": func() {
			_, err := a.EC2.DetachVolume(a.t.Context(), &ec2.DetachVolumeInput{VolumeId: &a.volumes[0], InstanceId: aws.String(a.ids()["db1"])})
			a.must(err)
		},
		"the check turned on at the gateway": func() {
			_, err := a.EC2.ModifyInstanceAttribute(a.t.Context(), &ec2.ModifyInstanceAttributeInput{InstanceId: aws.String(a.ids()["gateway"]), SourceDestCheck: &ec2types.AttributeBooleanValue{Value: aws.Bool(true)}})
			a.must(err)
		},
		"a route removed": func() {
			out, err := a.EC2.DescribeRouteTables(a.t.Context(), &ec2.DescribeRouteTablesInput{Filters: []ec2types.Filter{{Name: aws.String("association.subnet-id"), Values: []string{a.private}}}})
			a.must(err)
			_, err = a.EC2.DeleteRoute(a.t.Context(), &ec2.DeleteRouteInput{RouteTableId: out.RouteTables[0].RouteTableId, DestinationCidrBlock: aws.String("10.100.0.0/16")})
			a.must(err)
		},
		"a tag changed": func() {
			_, err := a.EC2.CreateTags(a.t.Context(), &ec2.CreateTagsInput{Resources: []string{a.ids()["app1"]}, Tags: []ec2types.Tag{{Key: aws.String("team"), Value: aws.String("other")}}})
			a.must(err)
		},
	}
}

func TestDriftIsShownAndRepaired(t *testing.T) {
	a := newAccount(t)
	cases := a.driftCases()
	a.extra = `tags = { team = "platform" }`
	steps := []resource.TestStep{{Config: a.config()}}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		steps = append(steps, resource.TestStep{PreConfig: func() { t.Log(name); cases[name]() }, Config: a.config(), ConfigPlanChecks: inPlace(),
			Check: resource.ComposeTestCheckFunc(check(a.checkInstances), check(a.checkAttached), check(a.checkObjects))})
	}
	steps = append(steps, resource.TestStep{Config: a.config(), ConfigPlanChecks: nothingToDo()})
	a.Test(resource.TestCase{Steps: steps})
}

func TestADeletedClusterIsMadeAgain(t *testing.T) {
	a := newAccount(t)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: a.config()},
		{PreConfig: a.removeEverything, Config: a.config(),
			ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectResourceAction(resourceName, plancheck.ResourceActionCreate)}},
			Check:            check(a.checkInstances)},
	}})
}
