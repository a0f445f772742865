package iamrole

import (
	"errors"
	"fmt"
	"testing"

	"github.com/xeroops/xeroops/internal/awsclient"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/provider/internal/acctest/account"
	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
	"github.com/xeroops/xeroops/provider/internal/clusterspec/spectest"
)

// observed returns the reference cluster's roles in an empty account.
func observed(t *testing.T) (*Roles, *fakeaws.Front) {
	t.Helper()
	a, err := account.Start(t.Context(), fixups.Options{})
	if errors.Is(err, moto.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	for name, value := range a.Environment() {
		t.Setenv(name, value)
	}
	url := a.Front.URL
	client, err := awsclient.New(t.Context(), awsclient.Settings{Region: account.Region, S3UsePathStyle: true,
		Endpoints: awsclient.Endpoints{EC2: url, IAM: url, S3: url, STS: url}})
	if err != nil {
		t.Fatal(err)
	}
	r := New(client, base.NewBucketEncryption(client.S3), spectest.Reference())
	r.ReadPolicies = true
	return r, a.Front
}

func TestIAMTakesThePoliciesOf500AppNodes(t *testing.T) {
	r, _ := observed(t)
	for n := range 498 { // besides app1 and app2
		name := fmt.Sprintf("app%d", n+3)
		r.spec.Nodes[name] = clusterspec.Node{Name: name, Role: model.RoleApp}
	}
	for _, step := range []base.Step{r.Observe, r.Ensure, r.Observe} {
		if err := step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if found := r.Drift(t.Context()); len(found) > 0 {
		t.Errorf("drift is %v", found)
	}
}

func TestDeleteRetriesAProfileThatStillHasItsRole(t *testing.T) {
	r, front := observed(t)
	for _, step := range []base.Step{r.Observe, r.Ensure, r.Observe} {
		if err := step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := front.Inject(fakeaws.Fault{Action: "DeleteInstanceProfile", Nth: 1, Effect: fakeaws.Fail, Status: 409, Code: "DeleteConflict"}); err != nil {
		t.Fatal(err)
	}
	for _, step := range []base.Step{r.Delete, r.Observe} {
		if err := step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if r.Exist() {
		t.Errorf("left over: %v, %v", r.roles, r.profiles)
	}
}
