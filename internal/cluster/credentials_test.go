package cluster

import (
	"maps"
	"testing"
)

// TestApplicationsGetOnlyTheirCredentials fails for a new credential of the app
// role until the table below lists it.
func TestApplicationsGetOnlyTheirCredentials(t *testing.T) {
	visible := map[string]bool{
		"REDIS_NODE_PASSWORD":   false, // for the node's daemons
		"REDIS_APP_PASSWORD":    true,
		"POSTGRES_APP_PASSWORD": true,
		// Each gets the password that root derives for it; the keys are those of all.
		"APPLICATIONS_POSTGRES_KEY": false,
		"APPLICATIONS_REDIS_KEY":    false,
	}
	vars, want := map[string]string{"API_KEY": "the customer's"}, map[string]string{"API_KEY": "the customer's"}
	for _, c := range CredentialsOf(RoleApp) {
		decision, decided := visible[c.Name]
		if !decided {
			t.Errorf("%s: add it to the table of this test", c.Name)
		}
		vars[c.Name] = "secret"
		if decision {
			want[c.Name] = "secret"
		}
	}
	if got := ApplicationCredentials(vars); !maps.Equal(got, want) {
		t.Errorf("applications get %v, want %v", got, want)
	}
	if vars[RedisNodePassword] == "" {
		t.Error("ApplicationCredentials changed its argument")
	}
}

func TestApplicationsGetNoCredentialOfAnotherRole(t *testing.T) {
	for _, c := range InternalCredentials() {
		held := false
		for _, r := range c.Roles {
			held = held || r == RoleApp
		}
		if c.Applications && !held {
			t.Errorf("%s has Applications set, but role app does not hold it", c.Name)
		}
	}
}
