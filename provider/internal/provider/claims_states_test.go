package provider_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/xeroops/xeroops/provider/internal/acctest/workspace"
)

var providerBinary = sync.OnceValues(func() (string, error) {
	module, err := workspace.Module()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "xeroops-provider-")
	if err != nil {
		return "", err
	}
	return workspace.Build(context.Background(), module, dir)
})

// state is a directory with a configuration and its state. Unlike the steps of an
// acceptance test, it is read only when a test says so.
type state struct {
	*workspace.Workspace
	t *testing.T
}

func (a taggedAccount) newState(config string) state {
	a.t.Helper()
	binary, err := providerBinary()
	a.must(err)
	w, err := workspace.New(a.t.Context(), workspace.Options{Dir: a.t.TempDir(), Binary: binary, Env: a.Environment(), Files: map[string]string{
		"main.tf": config, "versions.tf": `terraform {
  required_providers {
    xeroops = { source = "xeroops/xeroops" }
  }
}`}})
	a.must(err)
	return state{w, a.t}
}

func (s state) configure(config string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.Root(), "main.tf"), []byte(config), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s state) apply(arguments ...string) (out string, err error) {
	return s.Run(s.t.Context(), append([]string{"apply", "-auto-approve", "-input=false", "-no-color"}, arguments...)...)
}

// refused returns an error unless the output of a failed apply has all of the texts,
// regardless of its line breaks.
func refused(out string, err error, texts ...string) error {
	if err == nil {
		return fmt.Errorf("the apply succeeded:\n%s", out)
	}
	words := strings.Join(strings.FieldsFunc(out, func(r rune) bool { return strings.ContainsRune(" \n│╷╵", r) }), " ")
	for _, text := range texts {
		if !strings.Contains(words, text) {
			return fmt.Errorf("the apply does not say %q:\n%s", text, out)
		}
	}
	return nil
}

// A state that was applied once and never read again keeps what it created, whatever
// another configuration of the same names does.
func TestASecondStateAdoptsNothingThatTheFirstAppliedOnce(t *testing.T) {
	owned := func(owner string) string { return "provider \"xeroops\" {\n  owner = \"" + owner + "\"\n}\n" }
	for name, tc := range map[string]struct{ first, second string }{
		"no owner": {"", ""}, "an owner and none": {owned("one"), ""}, "none and an owner": {"", owned("two")}, "two owners": {owned("one"), owned("two")},
	} {
		t.Run(name, func(t *testing.T) {
			a := newTaggedAccount(t)
			unused := "\n"
			for _, kind := range []string{"xeroops_eip", "xeroops_volume", "xeroops_bucket", "xeroops_vpc"} {
				unused += fmt.Sprintf("resource %q \"main\" {\n  name = \"unused-123456789012\"\n  %s\n}\n", kind, taggedKinds[kind].config)
			}
			first, second := a.newState(tc.first+unused), a.newState(tc.second+unused)
			if _, err := first.apply(); err != nil {
				t.Fatal(err)
			}
			before := a.Inventory()
			out, err := second.apply()
			if err := refused(out, err, `xeroops_eip "unused-123456789012" already exists`, `xeroops_volume "unused-123456789012" already exists`,
				`xeroops_bucket "unused-123456789012" already exists`, `xeroops_vpc "unused-123456789012" already exists`); err != nil {
				t.Error(err)
			}
			if now := a.Inventory(); !slices.Equal(now, before) {
				t.Errorf("the account has\n%s\nbefore:\n%s", strings.Join(now, "\n"), strings.Join(before, "\n"))
			}
			if _, err := second.Destroy(t.Context()); err != nil {
				t.Error(err)
			}
			if _, err := first.PlanEmpty(t.Context()); err != nil {
				t.Errorf("after the second state: %v", err)
			}
			if _, err := first.Destroy(t.Context()); err != nil {
				t.Error(err)
			}
			if err := a.CheckDestroy(nil); err != nil {
				t.Errorf("after the first state: %v", err)
			}
		})
	}
}

// machines returns what is the cluster's alone.
func (a taggedAccount) machines() []string {
	a.t.Helper()
	return slices.DeleteFunc(a.Inventory(), func(line string) bool {
		return !strings.HasPrefix(line, "instance ") && !strings.HasPrefix(line, "security-group ")
	})
}

// A plan without a refresh, or an old one, must not change what another state took over.
func TestAnUpdateWithoutRefreshChangesNothingOfAnotherState(t *testing.T) {
	a := newTaggedAccount(t)
	s := a.newState(claimedKinds("", 0))
	if _, err := s.apply(); err != nil {
		t.Fatal(err)
	}
	for n, kind := range kinds() {
		object := map[string]string{"xeroops_cluster": "sg", peerKind: "peer"}[kind]
		if object == "" {
			object = taggedKinds[kind].objects[0]
		}
		s.configure(claimedKinds("", n+1))
		arguments := []string{"-refresh=false"}
		if n%2 == 1 {
			arguments = []string{"old"}
			if _, err := s.Run(t.Context(), "plan", "-out=old", "-input=false", "-no-color"); err != nil {
				t.Fatal(err)
			}
		}
		former := a.claim(t.Context(), "held::of-another-state", object)
		before := a.machines()
		out, err := s.apply(arguments...)
		if err := refused(out, err, "update "+kind, "nothing was changed, because another state may have adopted or imported it"); err != nil {
			t.Errorf("%v: %v", arguments, err)
		}
		if now := a.machines(); kind == "xeroops_cluster" && !slices.Equal(now, before) {
			t.Errorf("after the refused update:\n%s\nbefore:\n%s", strings.Join(now, "\n"), strings.Join(before, "\n"))
		}
		a.claim(t.Context(), former, object)
	}
	if _, err := s.Destroy(t.Context()); err != nil {
		t.Error(err)
	}
}
