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

// Environment variables of the sweep.
const (
	// envSweep is "full" for all k in all modes and a late run, a mode for all k in
	// this mode, "late", or "terraform" for the kills of Terraform itself. By default a sample is tested.
	envSweep = cluster.EnvSweep
	// late is an apply in an account where new resources are not visible at once.
	late = "late"
	// envParallel is the number of concurrent cases. Each has a moto server of 195
	// MB.
	envParallel = cluster.EnvSweepWidth
	// envState is a file in which a full sweep records the cases that passed, so
	// that it can be resumed. It is valid for one build of the provider.
	envState = cluster.EnvSweepState
)

func TestInterruptedApplyIsRepairedByTheNext(t *testing.T) {
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
	note := newProgress(t, s.Binary)
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
		"owner":            "sweep", // without it, what was complete when the run died has to be imported
		"on_ready_timeout": "skip",  // moto's instances do not boot
		"keep_data":        "false",
		"vpn_peers":        `{laptop = "mUFZxrQmL1bWcPnKkUX0f3sQEBfbTaRcP2pVwX9vNls="}`,
	}}
}

type sweepCase struct {
	mode Mode
	k    int
}

func (c sweepCase) String() string { return fmt.Sprintf("%s/%03d", c.mode, c.k) }

// chooseCases returns the cases that XEROOPS_SWEEP selects, or a sample spread over
// the apply.
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
	if wanted == late || wanted == terraformMode {
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

// progress records passed cases and logs the progress of the sweep.
type progress struct {
	mu          sync.Mutex
	file        *os.File // nil if nothing is recorded
	passedCases map[string]bool
	reported    int
}

// newProgress reads the cases that passed with the same binary.
func newProgress(t *testing.T, binary string) *progress {
	t.Helper()
	p := &progress{passedCases: map[string]bool{}}
	path := os.Getenv(envState)
	if path == "" {
		return p
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	path = fmt.Sprintf("%s.%x", path, sha256.Sum256(content))[:len(path)+13]
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	p.file, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.file.Close() })
	for lines := bufio.NewScanner(p.file); lines.Scan(); {
		p.passedCases[strings.TrimSpace(lines.Text())] = true
	}
	return p
}

func (p *progress) passed(c sweepCase) bool { return p.passedCases[c.String()] }

func (p *progress) done(c sweepCase, all int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reported++
	result := "ok"
	if err != nil {
		result = "FAILED"
	}
	fmt.Fprintf(os.Stderr, "crash sweep: %s %s (%d of %d)\n", c, result, p.reported+len(p.passedCases), all)
	if p.file != nil && err == nil {
		_, _ = fmt.Fprintln(p.file, c) // without the record, the case is repeated
	}
}
