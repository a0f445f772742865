// Package acctest has the environment of the provider's acceptance tests: a moto
// server behind a fakeaws.Front, shared by the tests of a package and emptied
// before each; an installed Terraform or OpenTofu; and clients to inspect and
// change the account outside of Terraform.
//
// A test package calls [Main] in TestMain, and each test starts with [Setup]. Tests
// of one package share an account and cannot run in parallel; Setup calls t.Setenv,
// which panics in parallel tests. No setup is needed: without moto or Terraform,
// the tests are skipped with the reason.
package acctest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
	"github.com/xeroops/xeroops/internal/fakeaws/inventory"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/testkit/tfcli"
	"github.com/xeroops/xeroops/provider/internal/acctest/account"
	"github.com/xeroops/xeroops/provider/internal/provider"
)

// Region is the region of all tests.
const Region = account.Region

// AWS is the account of a test.
type AWS struct {
	*account.Account
	// These clients connect directly to moto: their calls are not in the Front's log
	// and not subject to its faults.
	EC2 *ec2.Client
	IAM *iam.Client
	S3  *s3.Client
	// OpenTofu reports whether the tests use OpenTofu instead of Terraform.
	OpenTofu bool

	t        *testing.T
	baseline []string
}

// Main runs a package's tests and stops what they started.
func Main(m *testing.M) {
	code := m.Run()
	if shared.Account != nil {
		shared.Close()
	}
	os.Exit(code)
}

// Setup empties the account and sets the environment in which the provider finds
// it. It skips the test if moto or Terraform is missing.
func Setup(t *testing.T) *AWS {
	t.Helper()
	cli, err := tfcli.Find()
	if err != nil {
		t.Skip(err)
	}
	shared, err := startShared()
	if errors.Is(err, moto.ErrMissing) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	if err := shared.Reset(t.Context()); err != nil {
		t.Fatalf("empty the account: %v", err)
	}
	setCLI(t, cli)
	for name, value := range shared.Environment() {
		t.Setenv(name, value)
	}
	direct := shared.Direct()
	a := &AWS{
		Account: shared, t: t, OpenTofu: cli.OpenTofu,
		EC2: ec2.NewFromConfig(direct), IAM: iam.NewFromConfig(direct),
		S3: s3.NewFromConfig(direct, func(o *s3.Options) { o.UsePathStyle = true }),
	}
	t.Cleanup(a.explainFailure)
	return a
}

// explainFailure logs the failed calls and moto's tracebacks.
func (a *AWS) explainFailure() {
	if !a.t.Failed() {
		return
	}
	calls := a.Front.Calls()
	a.t.Logf("the front saw %d calls; those that failed:", len(calls))
	for _, c := range calls {
		if c.Status >= 400 || c.Status == 0 {
			a.t.Logf("  %d %s %s %s: HTTP %d %s", c.Seq, c.Service, c.Action, c.Resource, c.Status, c.Fault)
		}
	}
	a.t.Logf("moto's stderr:\n%s", a.Moto.Stderr())
}

// Factories returns the provider as compiled into the test.
func Factories() map[string]func() (tfprotov6.ProviderServer, error) {
	return map[string]func() (tfprotov6.ProviderServer, error){
		"xeroops": providerserver.NewProtocol6WithError(provider.New("test")()),
	}
}

// Test runs the steps with the provider's factories, and with [AWS.CheckDestroy]
// unless the case has its own check.
func (a *AWS) Test(tc resource.TestCase) {
	a.t.Helper()
	if tc.ProtoV6ProviderFactories == nil {
		tc.ProtoV6ProviderFactories = Factories()
	}
	if tc.CheckDestroy == nil {
		tc.CheckDestroy = a.CheckDestroy
	}
	resource.Test(a.t, tc)
}

// KeepBaseline makes the current content of the account the baseline of
// CheckDestroy.
func (a *AWS) KeepBaseline() {
	a.t.Helper()
	a.baseline = a.Inventory()
}

// Inventory returns the content of the account, one line per item.
func (a *AWS) Inventory() []string {
	a.t.Helper()
	items, err := a.Items(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	return inventory.Lines(items)
}

// CheckDestroy returns an error if the content of the account differs from the
// baseline.
func (a *AWS) CheckDestroy(*terraform.State) error {
	items, err := a.Items(context.Background())
	if err != nil {
		return err
	}
	now := inventory.Lines(items)
	left, lost := missing(a.baseline, now), missing(now, a.baseline)
	if len(left)+len(lost) == 0 {
		return nil
	}
	return fmt.Errorf("after destroy, remaining:\n  %s\nmissing:\n  %s",
		strings.Join(left, "\n  "), strings.Join(lost, "\n  "))
}

// missing returns the lines of all that are not in known.
func missing(known, all []string) []string {
	in := map[string]bool{}
	for _, line := range known {
		in[line] = true
	}
	var lines []string
	for _, line := range all {
		if !in[line] {
			lines = append(lines, line)
		}
	}
	return lines
}

// Check returns f as a check of a step.
func Check(f func(context.Context) error) resource.TestCheckFunc {
	return func(*terraform.State) error { return f(context.Background()) }
}

// ID returns the id of a resource in the state.
func ID(s *terraform.State, address string) (string, error) {
	r, ok := s.RootModule().Resources[address]
	if !ok {
		return "", fmt.Errorf("no %s in the state", address)
	}
	return r.Primary.ID, nil
}

// Do returns a check that calls f with the id of a resource.
func Do(address string, f func(ctx context.Context, id string) error) resource.TestCheckFunc {
	return func(s *terraform.State) error {
		id, err := ID(s, address)
		if err != nil {
			return err
		}
		return f(context.Background(), id)
	}
}

// shared is the package's account, started by the first test that needs it. It is a
// package variable because TestMain and the tests share nothing else.
var shared struct {
	once sync.Once
	*account.Account
	err error
}

func startShared() (*account.Account, error) {
	shared.once.Do(func() { shared.Account, shared.err = account.Start(context.Background(), fixups.Options{}) })
	return shared.Account, shared.err
}
