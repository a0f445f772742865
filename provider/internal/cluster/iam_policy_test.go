package cluster

import (
	"fmt"
	"strings"
	"testing"

	model "github.com/xeroops/xeroops/internal/cluster"
)

func TestAPolicyTooLongForIAMIsRefusedWithTheRoleAndItsNodes(t *testing.T) {
	w := reference()
	for _, role := range model.Roles() {
		if _, err := w.policyIn("aws", role); err != nil {
			t.Errorf("the reference cluster's policy is refused: %v", err)
		}
	}
	for n := range 78 { // to app1 and app2
		name := fmt.Sprintf("app-%d", n)
		w.spec.Nodes[name] = nodeSpec{Name: name, Role: model.RoleApp}
	}
	_, err := w.policyIn("aws", model.RoleApp)
	if err == nil || !strings.Contains(err.Error(), "role app for its 80 nodes") || !strings.Contains(err.Error(), "10240") {
		t.Errorf("with 80 nodes the error is %v", err)
	}
}
