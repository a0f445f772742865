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

	"github.com/xeroops/xeroops/internal/awsfront"
	"github.com/xeroops/xeroops/internal/awsfront/inventory"
	"github.com/xeroops/xeroops/internal/awsfront/mend"
	"github.com/xeroops/xeroops/internal/motoserver"
	"github.com/xeroops/xeroops/provider/internal/provider"
)

// Region is where all tests work.
const Region = "eu-west-1"

// AWS is the account that a test works in.
type AWS struct {
	Front *awsfront.Front
	Moto  *motoserver.Server
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
	shared.stop()
	os.Exit(code)
}

// Setup gives the test an empty account and sets the environment in which the
// provider finds it. It skips the test where moto or Terraform is missing.
func Setup(t *testing.T) *AWS {
	t.Helper()
	cli, err := findCLI()
	if err != nil {
		t.Skip(err)
	}
	if err := shared.start(); errors.Is(err, motoserver.ErrMissing) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	a := shared.account(t, cli)
	if err := a.Moto.Reset(t.Context()); err != nil {
		t.Fatalf("empty the account: %v", err)
	}
	a.Front.Reset()
	a.Front.SetLatency(0)
	cli.setEnvironment(t)
	for name, value := range Environment(a.Front.URL) {
		t.Setenv(name, value)
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

// Environment returns what a process needs to work against a front, and
// nothing of the caller's own AWS configuration.
func Environment(endpoint string) map[string]string {
	return map[string]string{
		"AWS_ENDPOINT_URL":            endpoint,
		"AWS_REGION":                  Region,
		"AWS_ACCESS_KEY_ID":           "test",
		"AWS_SECRET_ACCESS_KEY":       "test",
		"AWS_SESSION_TOKEN":           "",
		"AWS_PROFILE":                 "",
		"AWS_CONFIG_FILE":             os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
		"AWS_EC2_METADATA_DISABLED":   "true",
	}
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
	items, err := inventory.List(a.t.Context(), inventory.Config(a.Moto.URL, Region))
	if err != nil {
		a.t.Fatal(err)
	}
	return inventory.Lines(items)
}

// CheckDestroy fails if the account holds more or less than the baseline.
func (a *AWS) CheckDestroy(*terraform.State) error {
	items, err := inventory.List(context.Background(), inventory.Config(a.Moto.URL, Region))
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

// account is the package's moto and front, made by the first test that needs
// them.
type account struct {
	once  sync.Once
	err   error
	moto  *motoserver.Server
	front *awsfront.Front
}

// shared is package-level because TestMain and the tests have nothing else in
// common.
var shared account

func (s *account) start() error {
	s.once.Do(func() {
		if s.moto, s.err = motoserver.Start(context.Background(), motoserver.Options{}); s.err != nil {
			return
		}
		s.front, s.err = awsfront.Start(awsfront.Options{Upstream: s.moto.URL, Mends: mend.All(mend.Options{})})
	})
	return s.err
}

func (s *account) stop() {
	if s.front != nil {
		_ = s.front.Close()
	}
	if s.moto != nil {
		s.moto.Stop()
	}
}

func (s *account) account(t *testing.T, cli cli) *AWS {
	cfg := inventory.Config(s.moto.URL, Region)
	return &AWS{
		Front: s.front, Moto: s.moto, t: t, OpenTofu: cli.openTofu,
		EC2: ec2.NewFromConfig(cfg), IAM: iam.NewFromConfig(cfg),
		S3: s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }),
	}
}
