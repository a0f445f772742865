package crashsweep

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/testkit/tfcli"
	"github.com/xeroops/xeroops/provider/internal/acctest/workspace"
)

// The environment variables of the sweep.
const (
	// XEROOPS_SWEEP is "full" for every k in every mode and a late run, or one
	// mode for every k in that, or "late"; without it a sample is tried.
	envSweep = cluster.EnvSweep
	// late is one apply in an account where new things are not visible at once.
	late = "late"
	// XEROOPS_SWEEP_PARALLEL is how many cases run side by side; each has a
	// moto of 195 MB.
	envParallel = cluster.EnvSweepWidth
	// XEROOPS_SWEEP_STATE is a file in which a full sweep notes the cases that
	// passed, so that it can be taken up where it was stopped. It holds for one
	// build of the provider.
	envState = cluster.EnvSweepState
)

func TestAnApplyThatIsInterruptedAnywhereIsRepairedByTheNext(t *testing.T) {
	if _, err := tfcli.Find(); err != nil {
		t.Skip(err)
	}
	s := newSweep(t)
	if err := s.Undisturbed(t.Context(), t.TempDir()); errors.Is(err, moto.ErrMissing) {
		t.Skip(err)
	} else if err != nil {
		t.Fatalf("the undisturbed run: %v", err)
	}
	if wanted := os.Getenv(envSweep); wanted == "full" || wanted == late {
		t.Run(late, func(t *testing.T) {
			if err := s.Late(t.Context(), t.TempDir(), time.Second); err != nil {
				t.Error(err)
			}
		})
	}
	cases := chooseCases(t, s.Mutations)
	note := newNotes(t, s.Binary)
	places := make(chan struct{}, parallel(t))
	for _, c := range cases {
		if note.passed(c) {
			continue
		}
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			places <- struct{}{}
			defer func() { <-places }()
			err := s.Case(t.Context(), t.TempDir(), c.mode, c.k)
			if errors.Is(err, ErrNotReached) {
				t.Skip(err)
			}
			note.done(c, len(cases), err)
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func newSweep(t *testing.T) *Sweep {
	t.Helper()
	module, err := workspace.Module()
	if err != nil {
		t.Fatal(err)
	}
	binary, err := workspace.Build(t.Context(), module, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &Sweep{Module: module, Binary: binary, Example: "examples/complete", Variables: map[string]string{
		"on_ready_timeout": "skip", // moto's machines don't boot
		"keep_data":        "false",
		"vpn_peers":        `{laptop = "mUFZxrQmL1bWcPnKkUX0f3sQEBfbTaRcP2pVwX9vNls="}`,
	}}
}

type sweepCase struct {
	mode Mode
	k    int
}

func (c sweepCase) String() string { return fmt.Sprintf("%s/%03d", c.mode, c.k) }

// chooseCases returns every k of the modes that XEROOPS_SWEEP asks for, or a
// few spread over the apply.
func chooseCases(t *testing.T, mutations int) []sweepCase {
	t.Helper()
	wanted := os.Getenv(envSweep)
	var cases []sweepCase
	if wanted == "" {
		for _, percent := range []int{1, 25, 50, 75, 100} {
			cases = append(cases, sweepCase{Kill, max(1, mutations*percent/100)})
		}
		return append(cases, sweepCase{Throttle, mutations / 3}, sweepCase{ServerError, mutations / 2}, sweepCase{DropAnswer, mutations * 2 / 3})
	}
	modes := Modes()
	if wanted == late {
		return nil
	}
	if wanted != "full" {
		modes = []Mode{Mode(wanted)}
		if !slices.Contains(Modes(), modes[0]) {
			t.Fatalf("%s=%s: use full or one of %v", envSweep, wanted, Modes())
		}
	}
	for _, mode := range modes {
		for k := 1; k <= mutations; k++ {
			cases = append(cases, sweepCase{mode, k})
		}
	}
	return cases
}

func parallel(t *testing.T) int {
	t.Helper()
	text := os.Getenv(envParallel)
	if text == "" {
		return 2
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s: use a number of cases, such as 4", envParallel, text)
	}
	return n
}

// notes remembers what passed and says how far the sweep is.
type notes struct {
	mu   sync.Mutex
	file *os.File // nil where nothing is remembered
	seen map[string]bool
	said int
}

// newNotes reads the cases that passed with this very binary.
func newNotes(t *testing.T, binary string) *notes {
	t.Helper()
	n := &notes{seen: map[string]bool{}}
	path := os.Getenv(envState)
	if path == "" {
		return n
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	path = fmt.Sprintf("%s.%x", path, sha256.Sum256(content))[:len(path)+13]
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	n.file, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.file.Close() })
	for lines := bufio.NewScanner(n.file); lines.Scan(); {
		n.seen[strings.TrimSpace(lines.Text())] = true
	}
	return n
}

func (n *notes) passed(c sweepCase) bool { return n.seen[c.String()] }

func (n *notes) done(c sweepCase, all int, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.said++
	result := "ok"
	if err != nil {
		result = "FAILED"
	}
	fmt.Fprintf(os.Stderr, "crash sweep: %s %s (%d of %d)\n", c, result, n.said+len(n.seen), all)
	if n.file != nil && err == nil {
		_, _ = fmt.Fprintln(n.file, c) // without the note the case is only tried again
	}
}
