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

// widest is a build that makes every kind of call.
var widest = map[string]any{
	"ami_regions": []string{otherRegion}, "ami_users": []string{"111122223333"}, "encrypt_boot": false,
	"deprecate_at": "2099-01-01T00:00:00Z",
}

// interruptions are the ways in which a call ends a build or tries to.
var interruptions = map[string]func(fakeaws.Fault, context.CancelFunc) fakeaws.Fault{
	"refused": func(f fakeaws.Fault, _ context.CancelFunc) fakeaws.Fault {
		f.Effect, f.Code, f.Message = fakeaws.Fail, "InjectedFault", "by the test"
		return f
	},
	"answer lost": func(f fakeaws.Fault, _ context.CancelFunc) fakeaws.Fault {
		f.Effect = fakeaws.DropAfter
		return f
	},
	"cancelled after": func(f fakeaws.Fault, cancel context.CancelFunc) fakeaws.Fault {
		f.Effect, f.After = fakeaws.Observe, func(*fakeaws.Call) { cancel() }
		return f
	},
}

// TestAnInterruptedBuildLeavesNothing interrupts a build at each of its calls
// in turn: at each in one of the three ways, or, with XEROOPS_SWEEP=full, in
// all of them.
func TestAnInterruptedBuildLeavesNothing(t *testing.T) {
	r := newRig(t)
	before := r.Holdings()
	ways := []string{"cancelled after", "refused", "answer lost"}
	full := os.Getenv(cluster.EnvSweep) == "full"
	builds := 0
	for n := 1; ; n++ {
		chosen := ways
		if !full {
			chosen = ways[n%len(ways):][:1]
		}
		calls := 0
		for _, way := range chosen {
			r.interrupt(before, fmt.Sprintf("call %d %s", n, way), fakeaws.Fault{Service: fakeaws.EC2, Nth: n}, way)
			calls = max(calls, r.ec2Calls())
			builds++
		}
		if calls < n {
			t.Logf("%d builds, up to %d calls each", builds, n-1)
			return
		}
	}
}

func TestAnAnswerThatIsNeverGivenLeavesNothing(t *testing.T) {
	r := newRig(t)
	before := r.Holdings()
	for _, action := range []string{"ImportKeyPair", "CreateSecurityGroup", "RunInstances", "CreateImage", "CopyImage"} {
		r.interrupt(before, action, fakeaws.Fault{Service: fakeaws.EC2, Action: action, Times: -1}, "answer lost")
	}
}

func TestWhatDoesNotShowAtOnceIsRemovedNevertheless(t *testing.T) {
	r := &rig{World: packertest.NewWith(t, fixups.Options{PendingFor: 10 * time.Millisecond, VisibleAfter: 300 * time.Millisecond}), t: t, more: map[string]any{"max_retries": 8}}
	before := r.Holdings()
	if _, err := r.build(t.Context(), map[string]any{"skip_create_ami": true}); err != nil {
		t.Fatal(err)
	}
	for _, action := range []string{"CreateSecurityGroup", "RunInstances"} {
		r.interrupt(before, action, fakeaws.Fault{Service: fakeaws.EC2, Action: action}, "cancelled after")
	}
}

// interrupt runs a build with a fault, and compares what the account holds.
func (r *rig) interrupt(before []string, name string, fault fakeaws.Fault, way string) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	r.Front.ClearFaults()
	r.Front.ClearCalls()
	if err := r.Front.Inject(interruptions[way](fault, cancel)); err != nil {
		r.t.Fatal(err)
	}
	artifact, err := r.build(ctx, widest)
	said := r.output
	r.Front.ClearFaults()
	if err == nil { // the call was one of cleaning up, or was repeated: the build is whole
		if err := artifact.Destroy(); err != nil {
			r.t.Errorf("%s: destroy the artifact: %v", name, err)
		}
	}
	if diff := packertest.Difference(before, r.Holdings()); diff != "" {
		r.t.Errorf("%s: the build (%v) left\n%s\nIt said:\n%s", name, err, diff, said)
	}
}

func (r *rig) ec2Calls() (n int) {
	for _, c := range r.Front.Calls() {
		if c.Service == fakeaws.EC2 {
			n++
		}
	}
	return n
}
