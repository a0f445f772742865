//go:build linux

package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func testConfig(t *testing.T) Config {
	t.Helper()
	run, err := os.MkdirTemp("", "l") // t.TempDir is too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(run) })
	c, err := Config{Name: fmt.Sprintf("unit-%d", os.Getpid()), RunRoot: run, StateRoot: t.TempDir(), CacheDir: t.TempDir()}.Complete()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCleanKeepsADirectoryThatNoLabCreated(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("cleaning up control groups needs root")
	}
	c := testConfig(t)
	theirs := filepath.Join(c.StateDir(), "thesis.txt")
	if err := os.MkdirAll(c.StateDir(), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(theirs, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Clean(); err == nil || !strings.Contains(err.Error(), c.StateDir()) {
		t.Errorf("Clean: %v, want an error about %s", err, c.StateDir())
	}
	if _, err := os.Stat(theirs); err != nil {
		t.Fatal(err)
	}
	if err := makeOwn(c.StateDir()); err != nil {
		t.Fatal(err)
	}
	if err := c.Clean(); err != nil {
		t.Fatal(err)
	}
	if c.Leftovers() {
		t.Error("the lab's own directory is left")
	}
}

func TestLockExcludesALabOfTheSameName(t *testing.T) {
	c, other := testConfig(t), testConfig(t)
	lock, err := c.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Lock(); !errors.Is(err, ErrRunning) {
		t.Errorf("same run directory: %v, want ErrRunning", err)
	}
	if _, err := other.Lock(); !errors.Is(err, ErrElsewhere) {
		t.Errorf("other run directory: %v, want ErrElsewhere", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if lock, err = other.Lock(); err != nil {
		t.Fatal(err)
	}
	if err := lock.Close(); err != nil {
		t.Error(err)
	}
}

func TestEndingLabDoesNotBecomeReady(t *testing.T) {
	s := state{seen: make(chan struct{})}
	s.begin("making the network")
	s.ending()
	s.ready()
	if got := s.get().Phase; got != PhaseEnding {
		t.Errorf("phase is %s, want %s", got, PhaseEnding)
	}
}
