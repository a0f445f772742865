package ebs

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/awscalls"
	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
	"github.com/xeroops/xeroops/internal/fakeaws/iampolicy"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/fakeaws/permit"
	"github.com/xeroops/xeroops/packer-plugin/internal/packertest"
)

// builderKey is an access key that may do what docs/policies/build.json allows.
const builderKey = "AKIABUILDER"

// TestABuildNeedsExactlyTheDocumentedPolicy replaces an image and copies it to another
// region with the documented policy, and removes each action from it: a call must then
// be refused.
func TestABuildNeedsExactlyTheDocumentedPolicy(t *testing.T) {
	text, err := os.ReadFile("../../../docs/policies/build.json")
	if err != nil {
		t.Fatal(err)
	}
	policy := awscalls.Fill(string(text), "aws", "amazonaws.com", moto.Account, region)
	policy = strings.ReplaceAll(policy, ":"+region+":", ":*:")
	policy = strings.ReplaceAll(policy, `"`+region+`"`, `"`+region+`", "`+otherRegion+`"`)
	document, err := iampolicy.Parse([]byte(policy))
	if err != nil {
		t.Fatal(err)
	}
	guard := permit.New(moto.Account)
	guard.Restrict(builderKey, document)
	t.Setenv("AWS_ACCESS_KEY_ID", builderKey)
	f := &fixture{Fixture: packertest.NewWith(t, fixups.Options{PendingFor: 10 * time.Millisecond}, guard.Fixup()), t: t}
	config := maps.Clone(widest)
	config["force_deregister"] = true
	for range 2 { // the second build removes the images of the first
		if _, err := f.build(t.Context(), config); err != nil {
			t.Fatal(err)
		}
	}
	// What a build only looks for if it got no response.
	for _, action := range []string{"CreateSecurityGroup", "CreateImage"} {
		if err := f.Front.Inject(fakeaws.Fault{Service: fakeaws.EC2, Action: action, Effect: fakeaws.DropAfter, Times: -1}); err != nil {
			t.Fatal(err)
		}
		if _, err := f.build(t.Context(), config); err == nil {
			t.Fatalf("a build without any response to %s succeeded", action)
		}
		f.Front.ClearFaults()
	}
	needs := guard.Needs(builderKey)
	for i, statement := range document.Statements {
		for _, action := range statement.Actions {
			less := iampolicy.Document{Statements: slices.Clone(document.Statements)}
			less.Statements[i].Actions = slices.DeleteFunc(slices.Clone(statement.Actions), func(a string) bool { return a == action })
			if !slices.ContainsFunc(needs, func(n permit.Need) bool { return iampolicy.Evaluate(n.Request, less) != iampolicy.Allow }) {
				t.Errorf("without %s in statement %s everything succeeds: it is not needed there", action, statement.Sid)
			}
		}
	}
}
