package cluster_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
)

// group returns the id of a role's security group.
func (a *account) group(role string) string {
	out, err := a.EC2.DescribeSecurityGroups(a.t.Context(), &ec2.DescribeSecurityGroupsInput{Filters: []ec2types.Filter{{Name: aws.String("group-name"), Values: []string{"xeroops-production-" + role}}}})
	a.must(err)
	if len(out.SecurityGroups) != 1 {
		a.t.Fatalf("%d security groups of role %s", len(out.SecurityGroups), role)
	}
	return *out.SecurityGroups[0].GroupId
}

func (a *account) putObject(key, content string) {
	_, err := a.S3.PutObject(a.t.Context(), &s3.PutObjectInput{Bucket: &a.uploads, Key: &key, Body: strings.NewReader(content)})
	a.must(err)
}

func (a *account) deleteObject(key string) {
	_, err := a.S3.DeleteObject(a.t.Context(), &s3.DeleteObjectInput{Bucket: &a.uploads, Key: &key})
	a.must(err)
}

// removeEverything deletes the cluster outside Terraform.
func (a *account) removeEverything() {
	var ids []string
	for _, id := range a.ids() {
		ids = append(ids, id)
	}
	for _, eip := range a.eips { // AWS disassociates an address when its instance is terminated, moto does not
		out, err := a.EC2.DescribeAddresses(a.t.Context(), &ec2.DescribeAddressesInput{AllocationIds: []string{eip}})
		a.must(err)
		_, err = a.EC2.DisassociateAddress(a.t.Context(), &ec2.DisassociateAddressInput{AssociationId: out.Addresses[0].AssociationId})
		a.must(err)
	}
	_, err := a.EC2.TerminateInstances(a.t.Context(), &ec2.TerminateInstancesInput{InstanceIds: ids})
	a.must(err)
	for _, role := range model.Roles() {
		_, err := a.EC2.DescribeSecurityGroups(a.t.Context(), &ec2.DescribeSecurityGroupsInput{GroupIds: []string{a.group(string(role))}})
		a.must(err)
	}
	for _, role := range model.Roles() {
		id := a.group(string(role))
		groups, err := a.EC2.DescribeSecurityGroups(a.t.Context(), &ec2.DescribeSecurityGroupsInput{GroupIds: []string{id}})
		a.must(err)
		_, err = a.EC2.RevokeSecurityGroupIngress(a.t.Context(), &ec2.RevokeSecurityGroupIngressInput{GroupId: &id, IpPermissions: groups.SecurityGroups[0].IpPermissions})
		a.must(err)
	}
	for _, role := range model.Roles() {
		_, err := a.EC2.DeleteSecurityGroup(a.t.Context(), &ec2.DeleteSecurityGroupInput{GroupId: aws.String(a.group(string(role)))})
		a.must(err)
		name := aws.String("xeroops-eu-west-1-production-" + string(role))
		_, err = a.IAM.RemoveRoleFromInstanceProfile(a.t.Context(), &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: name, RoleName: name})
		a.must(err)
		_, err = a.IAM.DeleteInstanceProfile(a.t.Context(), &iam.DeleteInstanceProfileInput{InstanceProfileName: name})
		a.must(err)
		_, err = a.IAM.DeleteRolePolicy(a.t.Context(), &iam.DeleteRolePolicyInput{RoleName: name, PolicyName: aws.String("xeroops")})
		a.must(err)
		_, err = a.IAM.DeleteRole(a.t.Context(), &iam.DeleteRoleInput{RoleName: name})
		a.must(err)
	}
}

func TestBadInputIsRefusedBeforeAnythingIsChanged(t *testing.T) {
	cases := map[string]struct {
		change func(*account)
		error  string
	}{
		"an address outside the subnet":   {func(a *account) { a.change("app1", func(n *node) { n.address = "10.0.9.9" }) }, `10\.0\.9\.9 is not in subnet`},
		"an address that AWS reserves":    {func(a *account) { a.change("app1", func(n *node) { n.address = "10.0.2.1" }) }, `AWS reserves the first 4`},
		"an address of two nodes":         {func(a *account) { a.change("app1", func(n *node) { n.address = "10.0.2.11" }) }, `Nodes app1 and app2 both have address`},
		"a type that the zone lacks":      {func(a *account) { a.change("app1", func(n *node) { n.instanceType = "m8a.2xlarge" }) }, `AWS does not offer instance type m8a\.2xlarge in\s+zone\s+eu-west-1a`},
		"a type that is not there":        {func(a *account) { a.change("app1", func(n *node) { n.instanceType = "t3.tiny" }) }, `AWS does not offer instance type t3\.tiny in\s+eu-west-1`},
		"another architecture's type":     {func(a *account) { a.change("app1", func(n *node) { n.instanceType = "m6g.large" }) }, `instance type m6g\.large runs \[arm64\]`},
		"a data volume on Xen":            {func(a *account) { a.change("db1", func(n *node) { n.instanceType = "t2.medium" }) }, `t2\.medium is not built\s+on\s+the\s+Nitro`},
		"a root volume below the image's": {func(a *account) { a.extra = `root_volume_gib = 8` }, `set\s+root_volume_gib\s+to\s+15`},
		"another role's image":            {func(a *account) { a.change("app1", func(n *node) { n.image = image("db") }) }, `is for role db, and the node's\s+role\s+is\s+app`},
		"an image that is not there":      {func(a *account) { a.change("app1", func(n *node) { n.image = "ami-0123456789abcdef0" }) }, `image ami-0123456789abcdef0 does not\s+exist`},
		"a subnet that is not there":      {func(a *account) { a.change("app1", func(n *node) { n.subnet = "subnet-0123" }) }, `subnet subnet-0123 does not\s+exist`},
		"an Elastic IP not there":         {func(a *account) { a.change("edge", func(n *node) { n.eip = "eipalloc-0123" }) }, `Elastic IP address\s+eipalloc-0123 does not\s+exist`},
		"an unknown role":                 {func(a *account) { a.change("app1", func(n *node) { n.role = "web" }) }, `value must be one of`},
		"two management nodes":            {func(a *account) { a.change("app1", func(n *node) { n.role = "management" }) }, `A cluster has at most one management`},
		"a VPN range within the VPC":      {func(a *account) { a.extra = ""; a.vpnInVPC = true }, `overlaps the VPC's|is in vpn_cidr`},
		"a name that is too long":         {func(a *account) { a.longName = true }, `at most 28`},
		"more nodes than a policy has room for": {func(a *account) {
			for n := range 80 { // whose names no prefix tells from those of another role
				app, db := a.nodes["app1"], a.nodes["db1"]
				app.address, db.address, db.volume = fmt.Sprintf("10.0.2.%d", 40+n), fmt.Sprintf("10.0.2.%d", 140+n), ""
				a.nodes[fmt.Sprintf("node%02d", n)], a.nodes[fmt.Sprintf("node%02d-db", n)] = app, db
			}
		}, `the policy of role app for its 82\s+nodes`},
		"a name of every host":             {func(a *account) { a.nodes["localhost"] = a.nodes["app1"]; delete(a.nodes, "app1") }, `"localhost" is the node's host name, and every host takes it`},
		"a name that is an address":        {func(a *account) { a.nodes["10"] = a.nodes["app1"]; delete(a.nodes, "app1") }, `"10" is the node's host name, and every host takes it`},
		"the management node's name":       {func(a *account) { a.change("management", func(n *node) { n.role, n.image = "app", image("app") }) }, `Every node calls the node of role management by the\s+name\s+management`},
		"credentials that no env file has": {func(a *account) { a.extra = `credentials_wo = { app = { "db-password" = "b" } }` }, `must be\s+letters, digits\s+and _`},
		"credentials of an unknown role":   {func(a *account) { a.extra = `credentials_wo = { web = { A = "b" } }` }, `unknown role "web"`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := newAccount(t)
			c.change(a)
			a.Front.ClearCalls()
			a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: a.config(), ExpectError: regexp.MustCompile(c.error)}}})
			for _, call := range a.Front.Calls() {
				if call.Mutation > 0 {
					t.Errorf("%s was called", call.Action)
				}
			}
		})
	}
}

func TestNoCapacityFailsSoonAndNamesTheZonesSubnet(t *testing.T) {
	a := newAccount(t)
	a.must(a.Front.Inject(fakeaws.Fault{Action: "RunInstances", Times: -1, Effect: fakeaws.Fail, Status: 500, Code: "InsufficientInstanceCapacity", Message: "none left"}))
	began := time.Now()
	a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: a.config(), ExpectError: regexp.MustCompile(`AWS has no\s+capacity for t3\.\w+ in zone\s+eu-west-1a`)}}})
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s to fail", took)
	}
	for _, c := range a.Front.Calls() {
		if c.Action == "RunInstances" && c.Start.Sub(began) > 20*time.Second {
			t.Error("the launch was retried")
		}
	}
}

// profileTexts are EC2's two messages about a new instance profile.
var profileTexts = []string{
	"Value (xeroops) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
	`IAM Instance Profile "arn:aws:iam::123456789012:instance-profile/xeroops" has no associated IAM Roles`,
}

// ownProfile creates the customer's own instance profile, with a role.
func (a *account) ownProfile(name string) {
	_, err := a.IAM.CreateInstanceProfile(a.t.Context(), &iam.CreateInstanceProfileInput{InstanceProfileName: &name})
	a.must(err)
	_, err = a.IAM.CreateRole(a.t.Context(), &iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: aws.String("{}")})
	a.must(err)
	_, err = a.IAM.AddRoleToInstanceProfile(a.t.Context(), &iam.AddRoleToInstanceProfileInput{InstanceProfileName: &name, RoleName: &name})
	a.must(err)
}

func TestANewProfileThatEC2DoesNotKnowYetIsWaitedFor(t *testing.T) {
	a := newAccount(t)
	inject := func(action string) {
		for _, text := range profileTexts {
			a.must(a.Front.Inject(fakeaws.Fault{Action: action, Times: 2, Effect: fakeaws.Fail, Code: "InvalidParameterValue", Message: text}))
		}
	}
	inject("RunInstances")
	first := a.config()
	a.ownProfile("own-app")
	a.KeepBaseline()
	a.extra = `instance_profiles = { app = "own-app" }`
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: first, Check: check(a.checkInstances)},
		{PreConfig: func() { inject("ReplaceIamInstanceProfileAssociation") }, Config: a.config(), Check: check(func() error {
			if arn := aws.ToString(a.live()["app1"].IamInstanceProfile.Arn); !strings.HasSuffix(arn, "/own-app") {
				return fmt.Errorf("app1 has instance profile %s", arn)
			}
			return nil
		})},
	}})
}

func TestProtectionKeepsDestroyAway(t *testing.T) {
	a := newAccount(t)
	unprotected := a.config()
	a.extra = "termination_protection = true"
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: a.config()},
		{Config: a.config(), Destroy: true, ExpectError: regexp.MustCompile(`termination_protection is enabled`)},
		{Config: unprotected},
	}})
}

// gate is the data source that examples/modules/cluster has.
const gate = `
data "xeroops_cluster" "gate" {
  name           = xeroops_cluster.main.name
  uploads_bucket = "uploads-123456789012"
  require_ready  = true
  depends_on     = [xeroops_cluster.main]
}`

func TestAClusterThatNeverBecameReadyCanBeDestroyed(t *testing.T) {
	a := newAccount(t)
	a.readiness = `ready_timeout = "10s"`
	a.Test(resource.TestCase{Steps: []resource.TestStep{ // the destroy at the end also reads the data source
		{Config: a.config() + gate, ExpectError: regexp.MustCompile(`Cluster production is not ready`)},
	}})
}

func TestAClusterWhoseNodeFailedLaterCanBeChangedAndDestroyed(t *testing.T) {
	a := newAccount(t)
	a.readiness = `ready_timeout = "60s"`
	a.nodesReport(allReady)
	first := a.config() + gate
	a.change("app1", func(n *node) { n.image = moto.BaseImageID })
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: first},
		{PreConfig: func() {
			a.putObject(layout.Report("app1"), `{"schema":1,"node":"app1","state":"failed","error":"disk full","instance_id":"`+a.ids()["app1"]+`"}`)
		},
			Config: a.config() + gate, Check: resource.TestCheckResourceAttr("data.xeroops_cluster.gate", "ready", "true")},
		{PreConfig: func() {
			a.putObject(layout.Report("app1"), `{"schema":1,"node":"app1","state":"failed","error":"disk full","instance_id":"`+a.ids()["app1"]+`"}`)
		},
			Config: a.config() + gate, Destroy: true},
	}})
}

func TestNodesThatDoNotReportMakeTheGateFailAndNotTheCluster(t *testing.T) {
	a := newAccount(t)
	a.readiness = `ready_timeout = "10s"`
	var before map[string]string
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: a.config() + gate, ExpectError: regexp.MustCompile(`(?s)Cluster production is not ready.*node app1: no boot report`)},
		{PreConfig: func() { before = a.ids(); a.nodesReport(allReady) }, Config: a.config() + gate, Check: resource.ComposeTestCheckFunc(
			resource.TestCheckResourceAttr(resourceName, "status", "ready"),
			resource.TestCheckResourceAttr("data.xeroops_cluster.gate", "ready", "true"),
			resource.TestCheckResourceAttr("data.xeroops_cluster.gate", "nodes.db1.boot_state", "ready"),
			check(func() error {
				for name, id := range a.ids() {
					if before[name] != id {
						t.Errorf("node %s was replaced", name)
					}
				}
				return nil
			}))},
	}})
}

func TestALostAnswerIsNotAFailure(t *testing.T) {
	for _, action := range []string{"RunInstances", "CreateSecurityGroup", "AttachVolume", "AssociateAddress", "CreateRole", "AddRoleToInstanceProfile", "CreateRoute", "PutObject"} {
		t.Run(action, func(t *testing.T) {
			a := newAccount(t)
			a.must(a.Front.Inject(fakeaws.Fault{Action: action, Nth: 2, Effect: fakeaws.DropAfter}))
			began := time.Now()
			a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: a.config(), Check: resource.ComposeTestCheckFunc(
				resource.TestCheckResourceAttr(resourceName, "status", "unverified"), check(a.checkInstances), check(a.checkAttached), check(a.checkObjects))}}})
			if took := time.Since(began); took > time.Minute {
				t.Errorf("it took %s", took)
			}
		})
	}
}
