package cluster

import (
	"maps"
	"testing"

	model "github.com/xeroops/xeroops/internal/cluster"
)

func TestASecretThatIsNotGivenAnyMoreGoesAndInternalOnesStay(t *testing.T) {
	before := merged(t, model.Roles(), nil, map[model.Role]secrets{model.RoleApp: {"API_KEY": "one", "OTHER": "two"}}, false)
	after := merged(t, model.Roles(), internalOnly(before), map[model.Role]secrets{model.RoleApp: {"OTHER": "two"}}, false)
	if _, stays := before[model.RoleApp]["API_KEY"]; !stays {
		t.Error("the secrets that it is taken from were changed")
	}
	delete(before[model.RoleApp], "API_KEY")
	for _, role := range model.Roles() {
		if !maps.Equal(before[role], after[role]) {
			t.Errorf("role %s has %v, want %v", role, after[role], before[role])
		}
	}
}
