package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
	"github.com/xeroops/xeroops/internal/fakeaws/inventory"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/testkit/tfcli"
	"github.com/xeroops/xeroops/provider/internal/acctest/account"
	"github.com/xeroops/xeroops/provider/internal/acctest/workspace"
)

// start starts an account that this process uses.
func start(t *testing.T) *account.Account {
	t.Helper()
	a, err := account.Start(t.Context(), fixups.Options{})
	if errors.Is(err, moto.ErrMissing) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	for name, value := range a.Environment() {
		t.Setenv(name, value)
	}
	return a
}

func TestASweepRemovesWhatABrokenRunLeftAndNothingElse(t *testing.T) {
	if _, err := tfcli.Find(); err != nil {
		t.Skip(err)
	}
	a := start(t)
	other, err := ec2.NewFromConfig(a.Direct()).CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.9.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	module, err := workspace.Module()
	if err != nil {
		t.Fatal(err)
	}
	binary, err := workspace.Build(t.Context(), module, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w, err := workspace.New(t.Context(), workspace.Options{Dir: t.TempDir(), Module: module, Example: "examples/complete", Binary: binary, Env: a.Environment(),
		Variables: map[string]string{"name": project, "on_ready_timeout": "skip"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"sweep"}, strings.NewReader(moto.Account+"\n"), &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	items, err := a.Items(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range inventory.Lines(items) {
		if !strings.Contains(line, *other.Vpc.VpcId) {
			t.Errorf("the sweep left %s", line)
		}
	}
	if len(items) == 0 {
		t.Error("the sweep removed another VPC")
	}
}

func TestNothingIsChangedWithoutTheAccountsID(t *testing.T) {
	a := start(t)
	for _, entered := range []string{"", "yes\n", "123456789\n"} {
		var out bytes.Buffer
		for _, args := range [][]string{{"sweep"}, {"test", "-ssh-from", "192.0.2.1/32"}} {
			if err := run(t.Context(), args, strings.NewReader(entered), &out); err == nil || !strings.Contains(err.Error(), "nothing was changed") {
				t.Errorf("%v with %q: %v", args, entered, err)
			}
		}
	}
	for _, c := range a.Front.Calls() {
		if c.Action != "GetCallerIdentity" {
			t.Errorf("%s:%s was called", c.Service, c.Action)
		}
	}
}
