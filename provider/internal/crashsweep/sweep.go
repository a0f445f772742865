// Package crashsweep shows that an apply which is interrupted anywhere is
// repaired by the next one. For each k, something happens at the k-th call of
// an apply that changes something: the provider's process is killed right
// after the call took effect, or the call is throttled, or answered with HTTP
// 500, or its connection is cut after it took effect. The next apply must then
// end with exactly what an undisturbed apply makes, a plan after that must be
// empty, and destroy must leave nothing.
//
// Calls run side by side, so the k-th call is not the same one in every run;
// over all k every kind of call is hit.
package crashsweep

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
	"github.com/xeroops/xeroops/internal/fakeaws/inventory"
	"github.com/xeroops/xeroops/provider/internal/acctest/account"
	"github.com/xeroops/xeroops/provider/internal/acctest/workspace"
)

// Mode is what happens at the k-th call.
type Mode string

// The modes of a sweep.
const (
	Kill        Mode = "kill"     // SIGKILL of the provider after the call took effect
	Throttle    Mode = "throttle" // RequestLimitExceeded, SlowDown or Throttling
	ServerError Mode = "500"
	DropAnswer  Mode = "drop" // the connection is cut after the call took effect
)

// Modes returns all of them.
func Modes() []Mode { return []Mode{Kill, Throttle, ServerError, DropAnswer} }

// ErrNotReached says that an apply had fewer than k such calls.
var ErrNotReached = errors.New("the apply ended before that call")

// Sweep is one example and what an undisturbed apply of it makes.
type Sweep struct {
	Module    string
	Binary    string
	Example   string
	Variables map[string]string

	// Mutations is how many calls of the undisturbed apply change something.
	Mutations int
	// want is what the account then holds.
	want []string
}

// run is one case's account and workspace.
type run struct {
	sweep   *Sweep
	account *account.Account
	space   *workspace.Workspace
}

func (s *Sweep) start(ctx context.Context, dir string, o fixups.Options) (*run, error) {
	a, err := account.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	w, err := workspace.New(ctx, workspace.Options{
		Dir: dir, Module: s.Module, Example: s.Example, Binary: s.Binary, Variables: s.Variables, Env: a.Environment(),
	})
	if err != nil {
		a.Close()
		return nil, err
	}
	return &run{sweep: s, account: a, space: w}, nil
}

// Undisturbed applies and destroys the example in an empty directory, and records
// what the apply creates; the other cases are compared with it.
func (s *Sweep) Undisturbed(ctx context.Context, dir string) error {
	r, err := s.start(ctx, dir, fixups.Options{})
	if err != nil {
		return err
	}
	defer r.account.Close()
	if _, err := r.space.Apply(ctx); err != nil {
		return err
	}
	for _, c := range r.account.Front.Calls() {
		s.Mutations = max(s.Mutations, c.Mutation)
	}
	items, err := r.account.Items(ctx)
	if err != nil {
		return err
	}
	s.want = inventory.Normalised(items)
	return r.finish(ctx)
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
		return fmt.Errorf("%s at call %d, %s: %w\nThe disturbed apply said:\n%s", mode, k, disturbed(), err, workspace.AfterPlan(out))
	}
	return nil
}

// repair applies again if the disturbed apply failed, and checks the outcome.
func (r *run) repair(ctx context.Context, again bool) error {
	if again {
		if _, err := r.space.Apply(ctx); err != nil {
			return fmt.Errorf("the next apply does not repair it: %w", err)
		}
	}
	if err := r.compare(ctx); err != nil {
		return err
	}
	return r.finish(ctx)
}

// Late applies the example where every new thing is unknown to the calls that
// name it for a while, as on AWS; one apply must do.
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

// disturb arms the front and returns a function that names the call that was
// hit, if one was.
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

// compare fails unless the account holds what an undisturbed apply makes.
func (r *run) compare(ctx context.Context) error {
	items, err := r.account.Items(ctx)
	if err != nil {
		return err
	}
	got := inventory.Normalised(items)
	if slices.Equal(got, r.sweep.want) {
		return nil
	}
	return fmt.Errorf("the account holds other things than after an undisturbed apply\nmissing:\n  %s\ntoo many:\n  %s",
		strings.Join(without(r.sweep.want, got), "\n  "), strings.Join(without(got, r.sweep.want), "\n  "))
}

// without returns the lines of all that are not in some, each as often as it
// occurs there more often.
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

// finish plans, which must find nothing to do, and destroys, which must leave
// nothing.
func (r *run) finish(ctx context.Context) error {
	if _, err := r.space.PlanEmpty(ctx); err != nil {
		return err
	}
	if _, err := r.space.Destroy(ctx); err != nil {
		return err
	}
	items, err := r.account.Items(ctx)
	if err != nil {
		return err
	}
	if len(items) > 0 {
		return fmt.Errorf("destroy left:\n  %s", strings.Join(inventory.Lines(items), "\n  "))
	}
	return nil
}
