// Package crashsweep tests that an apply that is interrupted anywhere is repaired
// by the next one. For each k, the k-th mutating call of an apply is disturbed: the
// provider is killed after the call took effect, or the call is throttled, fails
// with HTTP 500, or loses its connection after it took effect. Then the next apply
// must result in exactly what an undisturbed apply creates, a plan must be empty,
// and destroy must leave nothing.
//
// Calls are concurrent, so the k-th call is not the same in every run. Over all k,
// calls of every kind are disturbed.
package crashsweep

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
	"github.com/xeroops/xeroops/internal/fakeaws/inventory"
	"github.com/xeroops/xeroops/internal/fakeaws/permit"
	"github.com/xeroops/xeroops/provider/internal/acctest/account"
	"github.com/xeroops/xeroops/provider/internal/acctest/workspace"
)

// Mode is how the k-th call is disturbed.
type Mode string

// The modes of a sweep.
const (
	Kill        Mode = "kill"     // kill the provider after the call took effect
	Throttle    Mode = "throttle" // fail with RequestLimitExceeded, SlowDown or Throttling
	ServerError Mode = "500"
	DropAnswer  Mode = "drop" // close the connection after the call took effect
)

// Modes returns all modes.
func Modes() []Mode { return []Mode{Kill, Throttle, ServerError, DropAnswer} }

// ErrNotReached is returned if an apply has fewer than k mutating calls.
var ErrNotReached = errors.New("the apply ended before that call")

// Sweep is an example and the result of an undisturbed apply.
type Sweep struct {
	Module    string
	Binary    string
	Example   string            // or, in place of one:
	Files     map[string]string // the files of a configuration
	Variables map[string]string
	// Guard, if not nil, restricts Key, with which the example is then applied.
	Guard *permit.Guard
	Key   string

	// Mutations is the number of mutating calls of the undisturbed apply, and
	// DestroyMutations that of its destroy.
	Mutations, DestroyMutations int
	// want is the content of the account after it.
	want []string
}

// run is the account and workspace of one case.
type run struct {
	sweep   *Sweep
	account *account.Account
	space   *workspace.Workspace
}

func (s *Sweep) start(ctx context.Context, dir string, o fixups.Options) (*run, error) {
	return s.startWith(ctx, dir, o, nil)
}

// startWith starts a run with more files, which prepare returns for the account.
func (s *Sweep) startWith(ctx context.Context, dir string, o fixups.Options, prepare func(context.Context, *account.Account) (map[string]string, error)) (*run, error) {
	var guard []fakeaws.Fixup
	if s.Guard != nil {
		guard = append(guard, s.Guard.Fixup())
	}
	a, err := account.Start(ctx, o, guard...)
	if err != nil {
		return nil, err
	}
	files := maps.Clone(s.Files)
	if prepare != nil {
		more, err := prepare(ctx, a)
		if err != nil {
			a.Close()
			return nil, err
		}
		maps.Copy(files, more)
	}
	env := a.Environment()
	env["AWS_ACCESS_KEY_ID"] = cmp.Or(s.Key, env["AWS_ACCESS_KEY_ID"])
	w, err := workspace.New(ctx, workspace.Options{
		Dir: dir, Module: s.Module, Example: s.Example, Files: files, Binary: s.Binary, Variables: s.Variables, Env: env,
	})
	if err != nil {
		a.Close()
		return nil, err
	}
	return &run{sweep: s, account: a, space: w}, nil
}

// Undisturbed applies and destroys the example in an empty directory, and records
// what the apply creates, for comparison with the other cases.
func (s *Sweep) Undisturbed(ctx context.Context, dir string) error {
	r, err := s.start(ctx, dir, fixups.Options{})
	if err != nil {
		return err
	}
	defer r.account.Close()
	if _, err := r.space.Apply(ctx); err != nil {
		return err
	}
	s.Mutations = r.mutations()
	items, err := r.items(ctx)
	if err != nil {
		return err
	}
	s.want = inventory.Normalised(items)
	err = r.finish(ctx)
	s.DestroyMutations = r.mutations() - s.Mutations
	return err
}

// mutations returns how many mutating calls there were.
func (r *run) mutations() int {
	n := 0
	for _, c := range r.account.Front.Calls() {
		n = max(n, c.Mutation)
	}
	return n
}

// items returns the content of the account, without the bucket of the state.
func (r *run) items(ctx context.Context) ([]inventory.Item, error) {
	items, err := r.account.Items(ctx)
	return slices.DeleteFunc(items, func(i inventory.Item) bool {
		return i.Name == stateBucket || strings.HasPrefix(i.Name, stateBucket+"/")
	}), err
}

// Case disturbs the k-th call of an apply in an empty directory and checks that
// the next apply repairs it. It returns ErrNotReached if there is no such call.
func (s *Sweep) Case(ctx context.Context, dir string, mode Mode, k int) error {
	r, err := s.start(ctx, dir, fixups.Options{})
	if err != nil {
		return err
	}
	defer r.account.Close()
	disturbed, err := r.disturb(mode, k)
	if err != nil {
		return err
	}
	out, failed := r.space.Apply(ctx)
	if disturbed() == "" {
		return ErrNotReached
	}
	if err := r.repair(ctx, failed != nil); err != nil {
		return fmt.Errorf("%s at call %d, %s: %w\nOutput of the disturbed apply:\n%s", mode, k, disturbed(), err, workspace.AfterPlan(out))
	}
	return nil
}

// repair applies again if the disturbed apply failed, and checks the outcome.
func (r *run) repair(ctx context.Context, again bool) error {
	if again {
		if _, err := r.space.Apply(ctx); err != nil {
			return fmt.Errorf("repair with the next apply: %w", err)
		}
	}
	if err := r.compare(ctx); err != nil {
		return err
	}
	return r.finish(ctx)
}

// Late applies the example in an account where calls do not find new resources for
// a while, as on AWS. One apply must succeed.
func (s *Sweep) Late(ctx context.Context, dir string, visibleAfter time.Duration) error {
	r, err := s.start(ctx, dir, fixups.Options{VisibleAfter: visibleAfter})
	if err != nil {
		return err
	}
	defer r.account.Close()
	if _, err := r.space.Apply(ctx); err != nil {
		return err
	}
	return r.repair(ctx, false)
}

// disturb injects the fault and returns a function that returns the call that was
// disturbed, if any.
func (r *run) disturb(mode Mode, k int) (func() string, error) {
	effect := map[Mode]fakeaws.Effect{
		Kill: fakeaws.Observe, Throttle: fakeaws.Throttle, ServerError: fakeaws.ServerError, DropAnswer: fakeaws.DropAfter,
	}[mode]
	fault := fakeaws.Fault{Mutation: k, Effect: effect}
	if mode == Kill {
		fault.After = func(*fakeaws.Call) { r.space.KillProvider() }
	}
	hit := func() string {
		for _, c := range r.account.Front.Calls() {
			if c.Mutation == k && c.Fault != "" {
				return c.Service + ":" + c.Action + " " + c.Resource
			}
		}
		return ""
	}
	return hit, r.account.Front.Inject(fault)
}

// compare returns an error unless the account has what an undisturbed apply
// creates.
func (r *run) compare(ctx context.Context) error {
	items, err := r.items(ctx)
	if err != nil {
		return err
	}
	got := inventory.Normalised(items)
	if slices.Equal(got, r.sweep.want) {
		return nil
	}
	return fmt.Errorf("the account differs from that of an undisturbed apply\nmissing:\n  %s\nadditional:\n  %s",
		strings.Join(without(r.sweep.want, got), "\n  "), strings.Join(without(got, r.sweep.want), "\n  "))
}

// without returns the lines of all that are not in some, counting duplicates.
func without(all, some []string) []string {
	count := map[string]int{}
	for _, line := range some {
		count[line]++
	}
	var rest []string
	for _, line := range all {
		if count[line]--; count[line] < 0 {
			rest = append(rest, line)
		}
	}
	return rest
}

// finish checks that a plan is empty and that destroy leaves nothing.
func (r *run) finish(ctx context.Context) error {
	if _, err := r.space.PlanEmpty(ctx); err != nil {
		return err
	}
	if _, err := r.space.Destroy(ctx); err != nil {
		return err
	}
	return r.nothingLeft(ctx)
}

func (r *run) nothingLeft(ctx context.Context) error {
	items, err := r.items(ctx)
	if err != nil {
		return err
	}
	if len(items) > 0 {
		return fmt.Errorf("destroy left:\n  %s", strings.Join(inventory.Lines(items), "\n  "))
	}
	return nil
}
