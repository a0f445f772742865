package ebs

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
	"github.com/xeroops/xeroops/packer-plugin/internal/packertest"
)

// widest configures a build that makes every kind of call.
var widest = map[string]any{
	"ami_regions": []string{otherRegion}, "ami_users": []string{"111122223333"}, "encrypt_boot": false,
	"deprecate_at": "2099-01-01T00:00:00Z",
}

// interruptions are the ways to interrupt a build at a call.
var interruptions = map[string]func(fakeaws.Fault, context.CancelFunc) fakeaws.Fault{
	"refused": func(f fakeaws.Fault, _ context.CancelFunc) fakeaws.Fault {
		f.Effect, f.Code, f.Message = fakeaws.Fail, "InjectedFault", "by the test"
		return f
	},
	"response lost": func(f fakeaws.Fault, _ context.CancelFunc) fakeaws.Fault {
		f.Effect = fakeaws.DropAfter
		return f
	},
	"cancelled after": func(f fakeaws.Fault, cancel context.CancelFunc) fakeaws.Fault {
		f.Effect, f.After = fakeaws.Observe, func(*fakeaws.Call) { cancel() }
		return f
	},
}

// TestAnInterruptedBuildLeavesNothing interrupts a build at each of its calls in
// turn, in one of the three ways, or with XEROOPS_SWEEP=full in all of them.
func TestAnInterruptedBuildLeavesNothing(t *testing.T) {
	f := newFixture(t)
	before := f.Holdings()
	ways := []string{"cancelled after", "refused", "response lost"}
	full := os.Getenv(cluster.EnvSweep) == "full"
	builds := 0
	for n := 1; ; n++ {
		chosen := ways
		if !full {
			chosen = ways[n%len(ways):][:1]
		}
		calls := 0
		for _, way := range chosen {
			f.interrupt(before, fmt.Sprintf("call %d %s", n, way), fakeaws.Fault{Service: fakeaws.EC2, Nth: n}, way)
			calls = max(calls, f.ec2Calls())
			builds++
		}
		if calls < n {
			t.Logf("%d builds, up to %d calls each", builds, n-1)
			return
		}
	}
}

func TestACallWithoutAnyResponseLeavesNothing(t *testing.T) {
	f := newFixture(t)
	before := f.Holdings()
	for _, action := range []string{"ImportKeyPair", "CreateSecurityGroup", "RunInstances", "CreateImage", "CopyImage"} {
		f.interrupt(before, action, fakeaws.Fault{Service: fakeaws.EC2, Action: action, Times: -1}, "response lost")
	}
}

func TestResourcesThatAreListedLateAreRemoved(t *testing.T) {
	f := &fixture{Fixture: packertest.NewWith(t, fixups.Options{PendingFor: 10 * time.Millisecond, VisibleAfter: 300 * time.Millisecond}), t: t, more: map[string]any{"max_retries": 8}}
	before := f.Holdings()
	if _, err := f.build(t.Context(), map[string]any{"skip_create_ami": true}); err != nil {
		t.Fatal(err)
	}
	for _, action := range []string{"CreateSecurityGroup", "RunInstances"} {
		f.interrupt(before, action, fakeaws.Fault{Service: fakeaws.EC2, Action: action}, "cancelled after")
	}
}

// interrupt runs a build with a fault and compares the account's resources.
func (f *fixture) interrupt(before []string, name string, fault fakeaws.Fault, way string) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	defer cancel()
	f.Front.ClearFaults()
	f.Front.ClearCalls()
	if err := f.Front.Inject(interruptions[way](fault, cancel)); err != nil {
		f.t.Fatal(err)
	}
	artifact, err := f.build(ctx, widest)
	output := f.output
	f.Front.ClearFaults()
	if err == nil { // the call was repeated, or part of the cleanup
		if err := artifact.Destroy(); err != nil {
			f.t.Errorf("%s: destroy the artifact: %v", name, err)
		}
	}
	if diff := packertest.Difference(before, f.Holdings()); diff != "" {
		f.t.Errorf("%s: the build (%v) left\n%s\noutput:\n%s", name, err, diff, output)
	}
}

func (f *fixture) ec2Calls() (n int) {
	for _, c := range f.Front.Calls() {
		if c.Service == fakeaws.EC2 {
			n++
		}
	}
	return n
}
