package crashsweep

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/testkit/tfcli"
)

// TestAPlanAsksOnce plans the complete example with nothing to do. What several
// resources and the data source need is asked for once, and what other answers have,
// never.
func TestAPlanAsksOnce(t *testing.T) {
	if _, err := tfcli.Find(); err != nil {
		t.Skip(err)
	}
	s := newSweep(t)
	delete(s.Variables, "vpn_peers") // each reads the topology for its configuration
	r, err := s.start(t.Context(), t.TempDir(), fixups.Options{})
	if errors.Is(err, moto.ErrMissing) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	defer r.account.Close()
	for _, run := range []func() (string, error){
		func() (string, error) { return r.space.Apply(t.Context()) },
		func() (string, error) { return r.space.PlanEmpty(t.Context()) }, // marks what is new as held
	} {
		if _, err := run(); err != nil {
			t.Fatal(err)
		}
	}
	r.account.Front.ClearCalls()
	if _, err := r.space.PlanEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	const topology = "uploads-" + moto.Account + "/clusters/production/topology.json"
	calls := r.calls()
	for action, want := range map[string]int{"DescribeVpcs": 1, "DescribeAddresses": 1, "DescribeRouteTables": 1, "DescribeSecurityGroups": 1, "DescribeVpcEndpoints": 1,
		"DescribeInstances": 1, "ListObjectsV2": 1, "GetCallerIdentity": 1, "ListRoles": 0, "GetObject " + topology: 0} {
		if calls[action] != want {
			t.Errorf("%d calls of %s, want %d", calls[action], action, want)
		}
	}

	// A topology that somebody changed is read, and its content counts.
	objects := s3.NewFromConfig(r.account.Direct(), func(o *s3.Options) { o.UsePathStyle = true })
	_, err = objects.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("uploads-" + moto.Account), Key: aws.String("clusters/production/topology.json"),
		Body: strings.NewReader(`{"schema":1,"cluster":"production","nodes":[{"name":"stranger","role":"app","address":"10.0.2.99"}]}`)})
	if err != nil {
		t.Fatal(err)
	}
	r.account.Front.ClearCalls()
	// Without the example's variables, the data source fails unless all nodes are ready.
	out, err := r.space.Run(t.Context(), "plan", "-refresh-only", "-input=false", "-no-color")
	if err == nil || !strings.Contains(out, "node stranger: no instance") {
		t.Errorf("the changed topology does not count: %v", err)
	}
	if calls := r.calls(); calls["GetObject "+topology] == 0 {
		t.Error("the changed topology was not read")
	}
}

// calls returns the number of calls by action, and by action and what they are about.
func (r *run) calls() map[string]int {
	n := map[string]int{}
	for _, c := range r.account.Front.Calls() {
		n[c.Action]++
		n[c.Action+" "+c.Resource]++
	}
	return n
}
