package iamrole

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/xeroops/xeroops/internal/awscalls"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws/iampolicy"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
	"github.com/xeroops/xeroops/provider/internal/clusterspec/spectest"
)

func TestAPolicyTooLongForIAMIsRefusedWithTheRoleAndItsNodes(t *testing.T) {
	spec := spectest.Reference()
	add := func(name string, role model.Role) { spec.Nodes[name] = clusterspec.Node{Name: name, Role: role} }
	for n := range 498 { // besides app1 and app2
		add(fmt.Sprintf("app%d", n+3), model.RoleApp)
	}
	if err := CheckPolicies(spec); err != nil {
		t.Errorf("a policy for 500 app nodes is refused: %v", err)
	}
	for n := range 80 { // no prefix tells these from each other
		add(fmt.Sprintf("node%02d", n), model.RoleApp)
		add(fmt.Sprintf("node%02d-db", n), model.RoleDB)
	}
	err := CheckPolicies(spec)
	if err == nil || !strings.Contains(err.Error(), "role app for its 580 nodes") || !strings.Contains(err.Error(), "10240") {
		t.Errorf("with 580 nodes the error is %v", err)
	}
	spec.InstanceProfiles = map[model.Role]string{model.RoleApp: "own", model.RoleDB: "own"}
	if err := CheckPolicies(spec); err != nil {
		t.Errorf("the policy of a role that is not managed is refused: %v", err)
	}
}

func TestPatternsMatchTheRolesOwnNodesAndNoOthers(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // repeatable
	for range 200 {
		spec := &clusterspec.Spec{Nodes: map[string]clusterspec.Node{}}
		for range 40 {
			name := make([]byte, 1+random.IntN(4))
			for i := range name {
				name[i] = "ab1"[random.IntN(3)]
			}
			spec.Nodes[string(name)] = clusterspec.Node{Name: string(name), Role: model.Roles()[random.IntN(3)]}
		}
		for _, role := range model.Roles() {
			patterns := nodePatterns(spec, role)
			for _, n := range spec.Nodes {
				matches := slices.ContainsFunc(patterns, func(pattern string) bool {
					match, err := path.Match(pattern, n.Name)
					return err == nil && match
				})
				if matches != (n.Role == role) {
					t.Fatalf("patterns %v of %s: %s of role %s matches: %v", patterns, role, n.Name, n.Role, matches)
				}
			}
		}
	}
	if got := nodePatterns(spectest.Reference(), model.RoleApp); !slices.Equal(got, []string{"app*"}) {
		t.Errorf("patterns of app1 and app2 are %v", got)
	}
	if got := nodePatterns(spectest.Reference(), model.RoleManagement); !slices.Equal(got, []string{"management"}) {
		t.Errorf("patterns of management are %v", got)
	}
}

// TestTheBoundaryAllowsWhatNodesNeed compares the roles' policies with the boundary that
// the guide of AWS creates.
func TestTheBoundaryAllowsWhatNodesNeed(t *testing.T) {
	text, err := os.ReadFile("../../../../docs/policies/boundary.json")
	if err != nil {
		t.Fatal(err)
	}
	const account = "123456789012"
	boundary, err := iampolicy.Parse([]byte(awscalls.Fill(string(text), "aws", "amazonaws.com", account, "eu-west-1")))
	if err != nil {
		t.Fatal(err)
	}
	spec := spectest.Reference()
	spec.Buckets = clusterspec.Buckets{Uploads: "uploads-" + account, PGDump: "pgdump-" + account, WALG: "walg-" + account, Logs: "logs-" + account}
	a := awsAccount{partition: "aws", region: "eu-west-1", id: account, keys: map[string]string{spec.Buckets.Uploads: "alias/uploads", spec.Buckets.WALG: "1234abcd-12ab-34cd-56ef-1234567890ab"}}
	context := map[string][]string{"kms:viaservice": {"s3.eu-west-1.amazonaws.com"}}
	checked := 0
	for _, role := range model.Roles() {
		document, err := policyDocument(spec, a, role)
		if err != nil {
			t.Fatal(err)
		}
		var policy struct{ Statement []statement }
		if err := json.Unmarshal([]byte(document), &policy); err != nil {
			t.Fatal(err)
		}
		for _, s := range policy.Statement {
			for _, action := range s.Action {
				for _, resource := range s.Resource { // a pattern, which the boundary has to match as a whole
					checked++
					if iampolicy.Evaluate(iampolicy.Request{Action: action, Resource: resource, Context: context}, boundary) != iampolicy.Allow {
						t.Errorf("the boundary does not allow %s on %s, which role %s needs", action, resource, role)
					}
				}
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d permissions were checked", checked)
	}
}

// allowing returns the statements of a policy that name a KMS key.
func allowing(t *testing.T, document string) (found []statement) {
	t.Helper()
	var policy struct{ Statement []statement }
	if err := json.Unmarshal([]byte(document), &policy); err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(policy.Statement, func(s statement) bool { return !strings.HasPrefix(s.Action[0], "kms:") })
}

func TestARoleUsesTheKeysOfItsBucketsThroughS3Only(t *testing.T) {
	const id, uploads = "1234abcd-12ab-34cd-56ef-1234567890ab", "arn:aws:kms:eu-west-1:210987654321:key/uploads"
	spec := spectest.Reference()
	a := awsAccount{partition: "aws", region: "eu-west-1", id: "123456789012", keys: map[string]string{
		spec.Buckets.Uploads: uploads, spec.Buckets.WALG: id, spec.Buckets.PGDump: "alias/dumps"}}
	policy := func(role model.Role) []statement {
		document, err := policyDocument(spec, a, role)
		if err != nil {
			t.Fatal(err)
		}
		return allowing(t, document)
	}
	viaS3 := map[string]any{"kms:ViaService": []any{"s3.eu-west-1.amazonaws.com"}}
	use := func(sid string, condition map[string]any, keys ...string) statement {
		return statement{Sid: sid, Effect: "Allow", Action: []string{"kms:Decrypt", "kms:GenerateDataKey"}, Resource: keys, Condition: condition}
	}
	equals := map[string]any{"StringEquals": viaS3}
	if got, want := policy(model.RoleApp), []statement{use("UseKeys", equals, uploads)}; !reflect.DeepEqual(got, want) {
		t.Errorf("app:\n got %v\nwant %v", got, want)
	}
	want := []statement{use("UseKeys", equals, "arn:aws:kms:eu-west-1:123456789012:key/"+id, uploads),
		use("UseKeysOfAliases", map[string]any{"StringEquals": viaS3, "ForAnyValue:StringEquals": map[string]any{"kms:ResourceAliases": []any{"alias/dumps"}}},
			"arn:aws:kms:eu-west-1:123456789012:key/*")}
	if got := policy(model.RoleDB); !reflect.DeepEqual(got, want) {
		t.Errorf("db:\n got %v\nwant %v", got, want)
	}
	a.keys = nil
	if got := policy(model.RoleDB); len(got) > 0 {
		t.Errorf("without keys: %v", got)
	}
}

func TestPrincipalsInChinaHaveTheSuffixOfThePartition(t *testing.T) {
	for partition, want := range map[string]string{"aws": `"ec2.amazonaws.com"`, "aws-us-gov": `"ec2.amazonaws.com"`, "aws-cn": `"ec2.amazonaws.com.cn"`} {
		if got := trustPolicy(awsAccount{partition: partition}); !strings.Contains(got, want) {
			t.Errorf("%s: the trust policy is %s", partition, got)
		}
	}
	if got := (awsAccount{partition: "aws-cn"}).s3Services("cn-north-1"); !slices.Contains(got, "s3.cn-north-1.amazonaws.com.cn") {
		t.Errorf("S3 is %v", got)
	}
}

func TestANodeMayReadOnlyItsOwnRolesCredentials(t *testing.T) {
	spec := spectest.Reference()
	layout := spec.Layout()
	for _, role := range model.Roles() {
		document, err := policyDocument(spec, awsAccount{partition: "aws"}, role)
		if err != nil || !json.Valid([]byte(document)) {
			t.Fatalf("%v: %s", err, document)
		}
		for _, other := range model.Roles() {
			if has := strings.Contains(document, layout.Credentials(other)); has != (other == role) {
				t.Errorf("the policy of %s names the credentials of %s: %v", role, other, has)
			}
		}
		for _, wide := range []string{`"*"`, `"s3:*"`, "arn:aws:s3:::" + spec.Buckets.Uploads + "/*", "/clusters/*"} {
			if strings.Contains(document, wide) {
				t.Errorf("the policy of %s is as wide as %s", role, wide)
			}
		}
	}
}
