package cluster

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/awsclient"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/envfile"
	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
	"github.com/xeroops/xeroops/provider/internal/clusterspec/spectest"
)

// reference returns an operation on the reference cluster, with a running
// instance for each node.
func reference() *operation {
	op := newOperation(&base.ProviderData{Client: &awsclient.Client{Region: "eu-west-1"}}, spectest.Reference())
	op.actual.vpcID = op.spec.VPCID
	for _, n := range op.spec.SortedNodes() {
		op.actual.live[n.Name] = instance{node: n.Name, role: n.Role, Instance: ec2types.Instance{InstanceId: aws.String("i-" + n.Name),
			InstanceType: "t3.small", ImageId: aws.String("ami-1"), SubnetId: aws.String("subnet-1"), PrivateIpAddress: aws.String(n.Address),
			State: &ec2types.InstanceState{Name: ec2types.InstanceStateNameRunning}}}
	}
	return op
}

func TestUserDataIsTheNodesOwnAndDoesNotChangeWithTheImage(t *testing.T) {
	op := reference()
	encoded, err := op.userData(op.spec.Nodes["app1"])
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
	if err != nil || vars[model.EnvHostname] != "app1" || vars[model.EnvRole] != "app" || vars[model.EnvAddress] != "10.0.2.10" || vars[model.EnvUploadsBucket] != "uploads-1" {
		t.Errorf("instance.env is %v (%v)", vars, err)
	}
}

func TestUserDataOfAClusterOf500NodesIsWithinTheLimitOfEC2(t *testing.T) {
	op := reference()
	for n := range 500 {
		name := fmt.Sprintf("a-long-name-of-an-app-node-%d", n)
		op.spec.Nodes[name] = clusterspec.Node{Name: name, Role: model.RoleApp, Address: "10.0.2.10"}
	}
	encoded, err := op.userData(op.spec.Nodes["app1"])
	if err != nil {
		t.Fatal(err)
	}
	text, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(text) > 16384 {
		t.Fatalf("%d bytes (%v), want at most 16384", len(text), err)
	}
	_, content, _ := strings.Cut(string(text), "/etc/hosts\n    permissions: \"0644\"\n    encoding: b64\n    content: ")
	content, _, _ = strings.Cut(content, "\n")
	hosts, err := base64.StdEncoding.DecodeString(content)
	if err != nil || !strings.HasSuffix(string(hosts), "ip6-loopback\n10.0.2.10 app1.production.internal app1\n") {
		t.Errorf("/etc/hosts is %q (%v)", hosts, err)
	}
}

func TestALaunchThatFailedByItsKeyNamesTheKeyAndTheGrants(t *testing.T) {
	op := reference()
	op.spec.KMSKeyID = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd"
	ended := op.actual.live["app1"]
	for code, wants := range map[string]bool{"Client.InternalError": true, "Client.InvalidKMSKey.InvalidState": true, "Server.InternalError": false} {
		ended.StateReason = &ec2types.StateReason{Code: aws.String(code), Message: aws.String(code + ": Client error on launch")}
		text := op.reason(ended)
		for _, part := range []string{op.spec.KMSKeyID, "kms:CreateGrant", "ami-1"} {
			if strings.Contains(text, part) != wants {
				t.Errorf("%s: %q has %s: %v, want %v", code, text, part, !wants, wants)
			}
		}
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
	op := reference()
	app1, app2 := op.spec.Nodes["app1"], op.spec.Nodes["app2"]
	if again := op.clientToken(app1, 1); again != op.clientToken(app1, 1) {
		t.Error("a repeated launch has another token")
	}
	if op.clientToken(app1, 1) == op.clientToken(app1, 2) || op.clientToken(app1, 1) == op.clientToken(app2, 1) {
		t.Error("two launches share a token")
	}
	op.actual.ended = []instance{{node: "app1", Instance: ec2types.Instance{Tags: op.nodeTags(app1, "3")}}}
	if got := op.lastGeneration("app1"); got != 3 {
		t.Errorf("last generation is %d, want 3", got)
	}
}

func TestNodesThatAreNotReadyAreNamedWithTheirOwnError(t *testing.T) {
	reports := []nodeReport{
		{BootReport: model.BootReport{Node: "app1", State: model.BootReady}},
		{BootReport: model.BootReport{Node: "db1", State: model.BootFailed, Error: "volume vol-1 did not appear"}},
		{BootReport: model.BootReport{Node: "db2"}, missing: true},
	}
	op := reference()
	op.spec.OnReadyTimeout = onTimeoutError
	err := op.checkReports(reports)
	if !errors.Is(err, errNotReady) || !strings.Contains(err.Error(), "db1: boot state is failed: volume vol-1 did not appear") ||
		!strings.Contains(err.Error(), "db2: no boot report") || strings.Contains(err.Error(), "app1") {
		t.Errorf("error is %v", err)
	}
	op.spec.OnReadyTimeout = onTimeoutWarn
	if err := op.checkReports(reports); err != nil {
		t.Errorf("warn ends in an error: %v", err)
	}
}

func TestStatusStaysWhereNothingWasLaunched(t *testing.T) {
	cases := map[string]struct {
		op   operation
		err  error
		want string
	}{
		"an error":                       {operation{priorStatus: statusReady}, errNotReady, statusIncomplete},
		"a change of tags":               {operation{priorStatus: statusReady}, nil, statusReady},
		"a launch without waiting":       {operation{priorStatus: statusReady, launched: true}, nil, statusUnverified},
		"a launch with reports":          {operation{launched: true, readinessVerified: true}, nil, statusReady},
		"a launch, one not ready, warn":  {operation{launched: true, readinessVerified: true, unready: make([]nodeReport, 1)}, nil, statusUnverified},
		"repaired after an interruption": {operation{priorStatus: statusIncomplete, launched: true, readinessVerified: true}, nil, statusReady},
	}
	for name, c := range cases {
		if got := c.op.status(c.err); got != c.want {
			t.Errorf("%s: status %s, want %s", name, got, c.want)
		}
	}
}
