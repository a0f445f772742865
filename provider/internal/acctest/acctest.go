// Package acctest is what the provider's acceptance tests stand on: a real
// moto_server behind a front, one of each per test package, emptied before
// each test; a real Terraform or OpenTofu; and clients for looking at the
// account behind the provider's back.
//
// A test package calls [Main] from TestMain, and each test begins with
// [Setup]. Tests of one package share an account, so they can't run in
// parallel; Setup uses t.Setenv, which makes a test that tries panic.
// Nothing has to be set by hand: without moto or Terraform the tests are
// skipped and say why.
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

// Region is where all tests work.
const Region = account.Region

// AWS is the account that a test works in.
type AWS struct {
	*account.Account
	// The clients go straight to moto: what a test does with them is neither
	// in the front's log nor hit by its faults.
	EC2 *ec2.Client
	IAM *iam.Client
	S3  *s3.Client
	// OpenTofu says that the tests run with OpenTofu and not with Terraform.
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

// Setup gives the test an empty account and sets the environment in which the
// provider finds it. It skips the test where moto or Terraform is missing.
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

// explainFailure logs what a reader of a failed test asks for next: the calls
// that were refused, and moto's tracebacks.
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

// Factories returns the provider as it is compiled into the test.
func Factories() map[string]func() (tfprotov6.ProviderServer, error) {
	return map[string]func() (tfprotov6.ProviderServer, error){
		"xeroops": providerserver.NewProtocol6WithError(provider.New("test")()),
	}
}

// Test runs the steps with the provider's factories and, unless the case has a
// check of its own, [AWS.CheckDestroy] at the end.
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

// KeepBaseline takes what the account holds now as belonging to the test:
// CheckDestroy then expects it still to be there.
func (a *AWS) KeepBaseline() {
	a.t.Helper()
	a.baseline = a.Inventory()
}

// Inventory lists what the account holds, one thing a line.
func (a *AWS) Inventory() []string {
	a.t.Helper()
	items, err := a.Items(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	return inventory.Lines(items)
}

// CheckDestroy fails if the account holds more or less than the baseline.
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
	return fmt.Errorf("after destroy, left over:\n  %s\ngone that should be there:\n  %s",
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

// Check runs f as one check of a step.
func Check(f func(context.Context) error) resource.TestCheckFunc {
	return func(*terraform.State) error { return f(context.Background()) }
}

// ID returns the id attribute of a resource in the state, for a check or a
// PreConfig that changes the thing behind Terraform's back.
func ID(s *terraform.State, address string) (string, error) {
	r, ok := s.RootModule().Resources[address]
	if !ok {
		return "", fmt.Errorf("no %s in the state", address)
	}
	return r.Primary.ID, nil
}

// Do runs f on the id of a resource.
func Do(address string, f func(ctx context.Context, id string) error) resource.TestCheckFunc {
	return func(s *terraform.State) error {
		id, err := ID(s, address)
		if err != nil {
			return err
		}
		return f(context.Background(), id)
	}
}

// shared is the package's account, made by the first test that needs it. It is
// package-level because TestMain and the tests have nothing else in common.
var shared struct {
	once sync.Once
	*account.Account
	err error
}

func startShared() (*account.Account, error) {
	shared.once.Do(func() { shared.Account, shared.err = account.Start(context.Background(), fixups.Options{}) })
	return shared.Account, shared.err
}
