package clusterobject

import (
	"crypto/rand"
	"maps"
	"testing"

	model "github.com/xeroops/xeroops/internal/cluster"
)

func merged(t *testing.T, roles []model.Role, existing, configured map[model.Role]secrets, rotate bool) map[model.Role]secrets {
	t.Helper()
	out, err := mergeCredentials(roles, existing, configured, rotate, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEachRoleGetsItsOwnCredentialsAndNoOthers(t *testing.T) {
	all := merged(t, model.Roles(), nil, nil, false)
	for _, role := range model.Roles() {
		wanted := map[string]bool{}
		for _, c := range model.CredentialsOf(role) {
			wanted[c.Name] = true
		}
		for name, value := range all[role] {
			if !wanted[name] {
				t.Errorf("role %s holds %s", role, name)
			}
			if len(value) < 32 {
				t.Errorf("%s of role %s is %d characters short", name, role, len(value))
			}
		}
		if len(all[role]) != len(wanted) {
			t.Errorf("role %s has %d credentials, want %d", role, len(all[role]), len(wanted))
		}
	}
}

func TestASharedSecretIsTheSameInAllItsRoles(t *testing.T) {
	all := merged(t, model.Roles(), nil, nil, false)
	for _, c := range model.InternalCredentials() {
		for _, role := range c.Roles {
			if all[role][c.Name] != all[c.Roles[0]][c.Name] {
				t.Errorf("%s differs between %s and %s", c.Name, role, c.Roles[0])
			}
		}
	}
}

func TestExistingSecretsAreKeptAlsoWhenAnInterruptedRunWroteOnlySome(t *testing.T) {
	before := merged(t, model.Roles(), nil, nil, false)
	half := map[model.Role]secrets{model.RoleApp: before[model.RoleApp]} // the run ended after one object
	after := merged(t, model.Roles(), half, nil, false)
	for name, value := range before[model.RoleApp] {
		if after[model.RoleApp][name] != value {
			t.Errorf("%s of the app nodes changed", name)
		}
	}
	if after[model.RoleDB]["POSTGRES_APP_PASSWORD"] != before[model.RoleApp]["POSTGRES_APP_PASSWORD"] {
		t.Error("the database got another password than the applications have")
	}
}

func TestARotationChangesAllButWhatProtectsBackups(t *testing.T) {
	before := merged(t, model.Roles(), nil, nil, false)
	after := merged(t, model.Roles(), before, nil, true)
	for _, c := range model.InternalCredentials() {
		role := c.Roles[0]
		if same := before[role][c.Name] == after[role][c.Name]; same != c.Permanent {
			t.Errorf("%s: same after a rotation is %v, want %v", c.Name, same, c.Permanent)
		}
	}
}

func TestAConfiguredSecretWinsEverywhereItIsUsed(t *testing.T) {
	configured := map[model.Role]secrets{model.RoleDB: {"POSTGRES_APP_PASSWORD": "chosen", "EXTRA": "own"}}
	all := merged(t, model.Roles(), merged(t, model.Roles(), nil, nil, false), configured, false)
	if all[model.RoleApp]["POSTGRES_APP_PASSWORD"] != "chosen" || all[model.RoleDB]["POSTGRES_APP_PASSWORD"] != "chosen" {
		t.Error("a secret configured for one role did not reach the other that shares it")
	}
	if all[model.RoleDB]["EXTRA"] != "own" || all[model.RoleApp]["EXTRA"] != "" {
		t.Error("a secret of the customer's own is not in its role alone")
	}
}

// The pair is Alice's of RFC 7748, section 6.1.
func TestPublicKeyFollowsFromThePrivateOne(t *testing.T) {
	got, err := wireGuardPublicKey("dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=")
	if err != nil || got != "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=" {
		t.Errorf("got %s, %v", got, err)
	}
	for _, bad := range []string{"", "not base64!", "c2hvcnQ="} {
		if key, err := wireGuardPublicKey(bad); err == nil {
			t.Errorf("%q is taken for a private key (%s)", bad, key)
		}
	}
}

func TestASecretThatIsNotConfiguredAnyMoreGoesAndInternalOnesStay(t *testing.T) {
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
