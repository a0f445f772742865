package cluster

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/awsclient"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/envfile"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// reference is a work on the reference cluster of docs/design.md#reference-cluster, with a group
// for each role and an instance for each node.
func reference() *work {
	nodes := []nodeSpec{
		{Name: "edge", Role: model.RoleLoadBalancer, Address: "10.0.1.10", EIPID: "eipalloc-1"},
		{Name: "gateway", Role: model.RoleWireGuard, Address: "10.0.1.11", EIPID: "eipalloc-2"},
		{Name: "app1", Role: model.RoleApp, Address: "10.0.2.10"},
		{Name: "app2", Role: model.RoleApp, Address: "10.0.2.11"},
		{Name: "management", Role: model.RoleManagement, Address: "10.0.2.20"},
		{Name: "db1", Role: model.RoleDB, Address: "10.0.2.30", VolumeID: "vol-1"},
		{Name: "db2", Role: model.RoleDB, Address: "10.0.2.31", VolumeID: "vol-2"},
	}
	w := &work{
		view: view{ProviderData: &base.ProviderData{Client: &awsclient.Client{Region: "eu-west-1"}}, name: "production", uploads: "uploads-1",
			seen:    &observed{vpcID: "vpc-1", live: map[string]instance{}, groups: map[model.Role]ec2types.SecurityGroup{}, objects: map[string]string{}},
			objects: newObjectMemory()},
		spec: spec{Name: "production", VPCID: "vpc-1", VPNCIDR: "10.100.0.0/16", Nodes: map[string]nodeSpec{},
			Buckets: buckets{"uploads-1", "pgdump-1", "walg-1", "logs-1"}},
	}
	for _, n := range nodes {
		n.InstanceType, n.ImageID, n.SubnetID = "t3.small", "ami-1", "subnet-1"
		w.spec.Nodes[n.Name] = n
		w.seen.groups[n.Role] = ec2types.SecurityGroup{GroupId: aws.String("sg-" + string(n.Role))}
		w.seen.live[n.Name] = instance{node: n.Name, role: n.Role, Instance: ec2types.Instance{InstanceId: aws.String("i-" + n.Name),
			InstanceType: "t3.small", ImageId: aws.String("ami-1"), SubnetId: aws.String("subnet-1"), PrivateIpAddress: aws.String(n.Address),
			State: &ec2types.InstanceState{Name: ec2types.InstanceStateNameRunning}}}
	}
	return w
}

func TestGroupsOpenWhatTheTableOfServicesSaysAndNothingElse(t *testing.T) {
	w := reference()
	for _, role := range model.Roles() {
		rules := w.wantedRules(role)
		for r := range rules {
			if !allowedByTable(role, r) {
				t.Errorf("role %s opens %+v, which service-ports.json does not say", role, r)
			}
		}
		for _, s := range model.ServicesOf(role) {
			for _, p := range s.Ports {
				n := 0
				for r := range rules {
					if r.from == p.Port && r.to == p.Last() && r.protocol == p.Protocol {
						n++
					}
				}
				if n != len(p.From) {
					t.Errorf("role %s, port %d: %d openings, want %d", role, p.Port, n, len(p.From))
				}
			}
		}
	}
}

func allowedByTable(role model.Role, r rule) bool {
	source := map[string]string{"0.0.0.0/0": model.FromInternet, "10.100.0.0/16": model.FromVPN}[r.cidr]
	if r.otherGroup != "" {
		source = strings.TrimPrefix(r.otherGroup, "sg-")
	}
	for _, s := range model.ServicesOf(role) {
		for _, p := range s.Ports {
			if p.Port == r.from && p.Last() == r.to && p.Protocol == r.protocol && slices.Contains(p.From, source) {
				return true
			}
		}
	}
	return false
}

func TestRulesSurviveTheirWayThroughEC2(t *testing.T) {
	for r := range reference().wantedRules(model.RoleManagement) {
		if back := flattenRules([]ec2types.IpPermission{r.permission()}); !back[r] || len(back) != 1 {
			t.Errorf("%+v came back as %+v", r, back)
		}
	}
	foreign := rule{protocol: "-1", other: "ipv6:::/0"}
	if back := flattenRules([]ec2types.IpPermission{foreign.permission()}); !back[foreign] {
		t.Errorf("a foreign rule came back as %+v, so it could not be closed", back)
	}
}

func TestANodeMayReadOnlyItsOwnRolesCredentials(t *testing.T) {
	w := reference()
	p := policy{arn: "arn:aws:s3:::", buckets: w.spec.Buckets, cluster: w.spec.Name, layout: w.layout()}
	for _, role := range model.Roles() {
		document, err := json.Marshal(append(p.common(role, w.spec.nodesOf(role)), p.forRole(role)...))
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range model.Roles() {
			if has := strings.Contains(string(document), w.layout().Credentials(other)); has != (other == role) {
				t.Errorf("the policy of %s names the credentials of %s: %v", role, other, has)
			}
		}
		for _, wide := range []string{`"*"`, `"s3:*"`, p.arn + w.spec.Buckets.Uploads + "/*", "/clusters/*"} {
			if strings.Contains(string(document), wide) {
				t.Errorf("the policy of %s is as wide as %s", role, wide)
			}
		}
	}
}

func TestUserDataIsTheNodesOwnAndDoesNotChangeWithTheImage(t *testing.T) {
	w := reference()
	encoded, err := w.userData(w.spec.Nodes["app1"])
	if err != nil {
		t.Fatal(err)
	}
	text, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || !strings.HasPrefix(string(text), "#cloud-config\n") || strings.Contains(string(text), "{{") {
		t.Fatalf("not a cloud-config: %v\n%s", err, text)
	}
	_, content, _ := strings.Cut(string(text), "instance.env\n    permissions: \"0644\"\n    encoding: b64\n    content: ")
	content, _, _ = strings.Cut(content, "\n")
	env, err := base64.StdEncoding.DecodeString(content)
	if err != nil {
		t.Fatal(err)
	}
	vars, err := envfile.Parse(string(env))
	if err != nil || vars["HOSTNAME"] != "app1" || vars["INSTANCE_ROLE"] != "app" || vars["STATIC_IP"] != "10.0.2.10" || vars["XEROOPS_UPLOADS_BUCKET"] != "uploads-1" {
		t.Errorf("instance.env is %v (%v)", vars, err)
	}
}

func TestAddressesThatAWSKeepsAreRefused(t *testing.T) {
	cidr := netip.MustParsePrefix("10.0.2.0/24")
	for address, want := range map[string]bool{"10.0.2.0": true, "10.0.2.3": true, "10.0.2.4": false, "10.0.2.254": false, "10.0.2.255": true} {
		if got := isReserved(cidr, netip.MustParseAddr(address)); got != want {
			t.Errorf("isReserved(%s) = %v", address, got)
		}
	}
}

func TestTheSameGenerationHasTheSameToken(t *testing.T) {
	w := reference()
	app1, app2 := w.spec.Nodes["app1"], w.spec.Nodes["app2"]
	if again := w.clientToken(app1, 1); again != w.clientToken(app1, 1) {
		t.Error("a repeated launch has another token")
	}
	if w.clientToken(app1, 1) == w.clientToken(app1, 2) || w.clientToken(app1, 1) == w.clientToken(app2, 1) {
		t.Error("two launches share a token")
	}
	w.seen.ended = []instance{{node: "app1", Instance: ec2types.Instance{Tags: w.nodeTags(app1, 3)}}}
	if got := w.lastGeneration("app1"); got != 3 {
		t.Errorf("last generation is %d, want 3", got)
	}
}

func TestNodesThatAreNotReadyAreNamedWithTheirOwnError(t *testing.T) {
	reports := []nodeReport{
		{BootReport: model.BootReport{Node: "app1", State: model.BootReady}},
		{BootReport: model.BootReport{Node: "db1", State: model.BootFailed, Error: "volume vol-1 did not appear"}},
		{BootReport: model.BootReport{Node: "db2"}, none: true},
	}
	w := reference()
	w.spec.OnReadyTimeout = onTimeoutError
	err := w.judge(reports)
	if !errors.Is(err, errNotReady) || !strings.Contains(err.Error(), "db1: Its boot report says failed: volume vol-1 did not appear") ||
		!strings.Contains(err.Error(), "db2: It has written no boot report") || strings.Contains(err.Error(), "app1") {
		t.Errorf("error is %v", err)
	}
	w.spec.OnReadyTimeout = onTimeoutWarn
	if err := w.judge(reports); err != nil {
		t.Errorf("warn ends in an error: %v", err)
	}
}

func TestStatusStaysWhereNothingWasLaunched(t *testing.T) {
	cases := map[string]struct {
		work work
		err  error
		want string
	}{
		"an error":                       {work{priorStatus: statusReady}, errNotReady, statusIncomplete},
		"a change of tags":               {work{priorStatus: statusReady}, nil, statusReady},
		"a launch without waiting":       {work{priorStatus: statusReady, launched: true}, nil, statusUnverified},
		"a launch with reports":          {work{launched: true, verified: true}, nil, statusReady},
		"a launch, one not ready, warn":  {work{launched: true, verified: true, unready: make([]nodeReport, 1)}, nil, statusUnverified},
		"repaired after an interruption": {work{priorStatus: statusIncomplete, launched: true, verified: true}, nil, statusReady},
	}
	for name, c := range cases {
		if got := c.work.status(c.err); got != c.want {
			t.Errorf("%s: status %s, want %s", name, got, c.want)
		}
	}
}
