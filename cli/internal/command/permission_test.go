//go:build linux

package command

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/xeroops/xeroops/internal/awscalls"
	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
	"github.com/xeroops/xeroops/internal/fakeaws/iampolicy"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/fakeaws/permit"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/internal/testkit/mototest"
)

func TestAStrangersBucketIsNeitherReadNorWritten(t *testing.T) {
	f := newFixture(t)
	front, err := fakeaws.Start(fakeaws.Options{Upstream: f.moto.URL, Fixups: fixups.All(fixups.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = front.Close() })
	layout := cluster.Layout{Cluster: "production"}
	// A bucket that would send the operator to the stranger's registry.
	const theirs = "uploads-of-another-account"
	stranger := mototest.StrangersBucket(t, front.URL, theirs, map[string]string{layout.Topology(): f.object(layout.Topology())})
	t.Setenv("AWS_ENDPOINT_URL", front.URL)
	for _, args := range [][]string{{"deploy", f.dir, "--wheelhouse", f.house}, {"status", "--cluster", "production"}} {
		f.run(append(args, "--uploads-bucket", theirs)...).expect(t, exitUnreachable, "AccessDenied")
	}
	if keys := mototest.Keys(t, stranger, theirs); !slices.Equal(keys, []string{layout.Topology()}) {
		t.Errorf("the stranger's bucket has %v", keys)
	}
	f.run("status").expect(t, 0)
}

// restrict makes the CLI use an access key that may do what a policy of docs/policies
// allows, without one action if it is not "".
func (f *fixture) restrict(policy, without string) *permit.Guard {
	f.t.Helper()
	guard := permit.New(moto.Account)
	front, err := fakeaws.Start(fakeaws.Options{Upstream: f.moto.URL, Fixups: append([]fakeaws.Fixup{guard.Fixup()}, fixups.All(fixups.Options{})...)})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = front.Close() })
	text, err := os.ReadFile("../../../docs/policies/" + policy + ".json")
	if err != nil {
		f.t.Fatal(err)
	}
	document, err := iampolicy.Parse([]byte(awscalls.Fill(string(text), "aws", "amazonaws.com", moto.Account, "eu-west-1")))
	if err != nil {
		f.t.Fatal(err)
	}
	for i, s := range document.Statements {
		document.Statements[i].Actions = slices.DeleteFunc(s.Actions, func(a string) bool { return a == without })
	}
	const key = "AKIADEPLOYER"
	guard.Restrict(key, document)
	f.t.Setenv("AWS_ACCESS_KEY_ID", key)
	f.t.Setenv("AWS_ENDPOINT_URL", front.URL)
	return guard
}

func TestADeployerNeedsTheDocumentedPolicyAndReadsNoOtherSecret(t *testing.T) {
	f := newFixture(t)
	layout := cluster.Layout{Cluster: "production"}
	secret := layout.Credentials(cluster.RoleManagement)
	f.put(secret, "REDIS_ADMIN_PASSWORD=secret\n")
	f.subscribe("app1", healthy)
	f.subscribe("app2", healthy)
	f.restrict("deploy", "")
	f.run("deploy", f.dir, "--wheelhouse", f.house).expect(t, 0)
	f.run("deployments", "notes").expect(t, 0)
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s3.NewFromConfig(cfg).GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: &secret}); !awswait.HasCode(err, "AccessDenied") {
		t.Errorf("a deployer reads the credentials of management: %v", err)
	}
	for _, without := range []string{"s3:GetObject", "s3:ListBucket"} {
		f.restrict("status", without)
		f.run("status").expect(t, exitUnreachable, "AccessDenied")
		f.restrict("deploy", without)
		f.run("deploy", f.dir, "--wheelhouse", f.house).expect(t, exitUnreachable, "AccessDenied")
	}
	f.edit("pyproject.toml", `version = "1.0.0"`, `version = "1.0.1"`)
	f.restrict("deploy", "s3:PutObject")
	f.run("deploy", f.dir, "--wheelhouse", f.house).expect(t, exitUnreachable, "AccessDenied")
}

func TestStatusNeedsTheDocumentedPolicyAndReadsNoOtherSecret(t *testing.T) {
	f := newFixture(t)
	f.subscribe("app1", healthy)
	f.subscribe("app2", healthy)
	f.run("deploy", f.dir, "--wheelhouse", f.house).expect(t, 0)
	f.restrict("status", "")
	f.run("status").expect(t, 0, "notes")
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	layout := cluster.Layout{Cluster: "production"}
	for _, secret := range []string{layout.OperatorCredentials(registry.UserDeploy), layout.Credentials(cluster.RoleManagement)} {
		if _, err := s3.NewFromConfig(cfg).GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: &secret}); !awswait.HasCode(err, "AccessDenied") {
			t.Errorf("an operator with status.json reads %s: %v", secret, err)
		}
	}
	operator := registry.Open(f.redis, registry.UserStatus, statusPassword)
	defer operator.Close()
	if _, err := registry.Publish(t.Context(), operator, "notes", registry.Desired{Version: "2.0.0"}); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("the user status publishes: %v, want NOPERM", err)
	}
	for _, command := range [][]any{{"HSET", registry.DesiredKey("notes"), "version", "2.0.0"}, {"DEL", registry.ApplicationsKey}, {"SET", registry.NodeKey("app1"), "{}"}, {"PUBLISH", registry.DeploymentChannel, "{}"}} {
		if err := operator.Do(t.Context(), command...).Err(); err == nil || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("%v as the user status: %v, want NOPERM", command, err)
		}
	}
	f.restrict("status", "")
	f.run("deployments", "notes").expect(t, exitUnreachable, "AccessDenied")
}
