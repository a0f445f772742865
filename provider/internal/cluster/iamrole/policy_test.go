package iamrole

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
	"github.com/xeroops/xeroops/provider/internal/clusterspec/spectest"
)

func TestAPolicyTooLongForIAMIsRefusedWithTheRoleAndItsNodes(t *testing.T) {
	spec := spectest.Reference()
	if err := CheckPolicies(spec); err != nil {
		t.Errorf("a policy of the reference cluster is refused: %v", err)
	}
	for n := range 78 { // besides app1 and app2
		name := fmt.Sprintf("app-%d", n)
		spec.Nodes[name] = clusterspec.Node{Name: name, Role: model.RoleApp}
	}
	err := CheckPolicies(spec)
	if err == nil || !strings.Contains(err.Error(), "role app for its 80 nodes") || !strings.Contains(err.Error(), "10240") {
		t.Errorf("with 80 nodes the error is %v", err)
	}
	spec.InstanceProfiles = map[model.Role]string{model.RoleApp: "own"}
	if err := CheckPolicies(spec); err != nil {
		t.Errorf("the policy of a role that is not managed is refused: %v", err)
	}
}

func TestANodeMayReadOnlyItsOwnRolesCredentials(t *testing.T) {
	spec := spectest.Reference()
	layout := spec.Layout()
	for _, role := range model.Roles() {
		document, err := policyDocument(spec, "aws", role)
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
