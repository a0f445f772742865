package crashsweep

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/xeroops/xeroops/internal/awscalls"
	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/iampolicy"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/fakeaws/permit"
	"github.com/xeroops/xeroops/provider/internal/acctest/account"
)

// operator is an access key that may do what docs/policies/apply.json allows.
const operator = "AKIAOPERATOR"

// TestAnOperatorNeedsExactlyTheDocumentedPolicy applies, repairs and destroys the
// complete example with the documented policy, and removes each action from it: a
// call must then be refused.
func TestAnOperatorNeedsExactlyTheDocumentedPolicy(t *testing.T) {
	guard := permit.New(moto.Account)
	var policy string
	r := startRun(t, func(t *testing.T) *Sweep {
		s := newSweep(t)
		policy = documented(t, s.Module, "apply", "apply-access")
		s.restrict(t, guard, policy)
		s.Variables["permissions_boundary"] = "arn:aws:iam::" + moto.Account + ":policy/xeroops-boundary"
		return s
	})
	r.applyDriftAndRepair(t)
	needs := guard.Needs(operator)
	t.Logf("%d different needs", len(needs))
	checkEachAction(t, r.sweep.Module, policy, needs)
}

// restrict makes runs of the sweep use an access key with a policy.
func (s *Sweep) restrict(t *testing.T, guard *permit.Guard, policy string) {
	t.Helper()
	guard.Restrict(operator, parse(t, policy))
	s.Guard, s.Key = guard, operator
}

// documented returns the policies of docs/policies with these names as one.
func documented(t *testing.T, module string, names ...string) string {
	t.Helper()
	var all []awscalls.Policy
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(module, "docs", "policies", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var p awscalls.Policy
		if err := json.Unmarshal([]byte(awscalls.Fill(string(text), "aws", "amazonaws.com", moto.Account, account.Region)), &p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	text, err := awscalls.Join(all...).JSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func parse(t *testing.T, policy string) iampolicy.Document {
	t.Helper()
	document, err := iampolicy.Parse([]byte(policy))
	if err != nil {
		t.Fatal(err)
	}
	return document
}

// checkEachAction removes each action of each statement in turn. What is then refused
// has to be a recorded need; calls that the example does not make are those that the
// table of calls has for the provider's code.
func checkEachAction(t *testing.T, module, policy string, needs []permit.Need) {
	t.Helper()
	table, err := awscalls.Load()
	if err != nil {
		t.Fatal(err)
	}
	sites, err := awscalls.Find(t.Context(), module)
	if err != nil {
		t.Fatal(err)
	}
	recorded := map[string]bool{}
	for _, n := range needs {
		recorded[n.Action] = true
	}
	var whole awscalls.Policy
	if err := json.Unmarshal([]byte(policy), &whole); err != nil {
		t.Fatal(err)
	}
	byTable := 0
	for i, statement := range whole.Statements {
		if statement.Effect == "Deny" {
			continue // TestThePoliciesRefuseWhatIsOfOthers
		}
		for _, action := range statement.Action {
			less := whole
			less.Statements = slices.Clone(whole.Statements)
			less.Statements[i].Action = slices.DeleteFunc(slices.Clone(statement.Action), func(a string) bool { return a == action })
			text, err := less.JSON()
			if err != nil {
				t.Fatal(err)
			}
			document := parse(t, string(text))
			refused := slices.ContainsFunc(needs, func(n permit.Need) bool { return iampolicy.Evaluate(n.Request, document) != iampolicy.Allow })
			switch {
			case refused || statement.Sid+" "+action == "Ec2OfTerraform ec2:RevokeSecurityGroupEgress": // of debug_access, which the example does not have
			case !recorded[action] && table.CallNeeding(sites, action) != "":
				byTable++
			default:
				t.Errorf("without %s in statement %s everything succeeds: it is not needed there", action, statement.Sid)
			}
		}
	}
	t.Logf("%d actions are of calls that only other tests make", byTable)
}

// TestADeniedCallIsReportedOnceAndClearly removes one permission and applies.
func TestADeniedCallIsReportedOnceAndClearly(t *testing.T) {
	r := startRun(t, func(t *testing.T) *Sweep {
		s := newSweep(t)
		s.restrict(t, permit.New(moto.Account), `{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"ec2:CreateVpc","Resource":"*"}]}`)
		return s
	})
	out, err := r.space.Apply(t.Context())
	if err == nil || !strings.Contains(out, "UnauthorizedOperation") || !strings.Contains(out, "ec2:CreateVpc") {
		t.Errorf("the apply returned %v", err)
	}
	calls := 0
	for _, c := range r.account.Front.Calls() {
		if c.Service == fakeaws.EC2 && c.Action == "CreateVpc" {
			calls++
		}
	}
	if calls != 1 {
		t.Errorf("the call was made %d times", calls)
	}
	if n := strings.Count(out, "AWS code: UnauthorizedOperation"); n != 1 {
		t.Errorf("%s", fmt.Sprintf("the error is shown %d times:\n%s", n, out))
	}
}
