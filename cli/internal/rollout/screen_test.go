package rollout

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/xeroops/xeroops/internal/printable"
)

var shown = Status{Nodes: []Node{
	{Name: "app1", State: "installing", ElapsedMS: 1234},
	{Name: "app2", State: "failed", ElapsedMS: 5000, Error: "it did not answer on /healthz\nTraceback"},
}}

func TestScreenWritesALinePerChangeWithoutATerminal(t *testing.T) {
	var out bytes.Buffer
	s := NewScreen(&out)
	s.Show(shown)
	s.Show(shown)
	away := shown
	away.Problem = errors.New("connection refused")
	s.Show(away)
	s.Show(away)
	s.Show(shown)
	want := `app1: installing (1.2s)
app2: failed (5s) it did not answer on /healthz
registry does not respond, retrying: connection refused
registry responds again
`
	if out.String() != want {
		t.Errorf("wrote %q, want %q", out.String(), want)
	}
}

func TestScreenDrawsTheTableInPlace(t *testing.T) {
	var out bytes.Buffer
	s := NewScreen(&out)
	s.size = func() (int, int) { return 30, 24 }
	s.Show(shown)
	first := out.String()
	if lines := strings.Split(first, "\n"); len(lines) != 4 {
		t.Errorf("drew %q", first)
	}
	for line := range strings.Lines(first) {
		if len([]rune(strings.TrimSpace(line))) > 30 {
			t.Errorf("%q is wider than the terminal", line)
		}
	}
	out.Reset()
	s.Show(shown)
	if again := out.String(); again != "\x1b[3A\x1b[J"+first {
		t.Errorf("drew %q over %q", again, first)
	}
}

func TestNodesCantDrawOnTheScreen(t *testing.T) {
	attack := Status{Nodes: []Node{{Name: "app1", State: "failed\x1b[2J", Error: "it failed\napp2: healthy (0s)\x1b]0;title\a\u202e"}}}
	for _, terminal := range []bool{true, false} {
		var out bytes.Buffer
		s := NewScreen(printable.NewWriter(&out))
		if terminal {
			s.size = func() (int, int) { return 300, 24 }
		}
		s.Show(attack)
		if strings.ContainsAny(out.String(), "\x1b\a\u202e") || strings.Contains(out.String(), "\napp2") {
			t.Errorf("drew %q", out.String())
		}
	}
}

func TestScreenWritesLinesIfTheTableIsTallerThanTheTerminal(t *testing.T) {
	var out bytes.Buffer
	s := NewScreen(&out)
	s.size = func() (int, int) { return 80, 4 }
	s.Show(shown)
	s.Show(shown)
	if n := strings.Count(out.String(), "app1"); n != 1 || strings.Contains(out.String(), "\x1b") {
		t.Errorf("wrote %q", out.String())
	}
}

func TestSummaryHasTheEndOfATraceback(t *testing.T) {
	for long, want := range map[string]string{
		"it failed": "it failed",
		"it ended while it started; it said:\nTraceback\n  File\nModuleNotFoundError: no greeting\n":                                                       "it ended while it started; it said: … ModuleNotFoundError: no greeting",
		"it exited; last lines of its log:\nTraceback (most recent call last):\n  File\nKeyError: 'TOKEN'\nERROR:    Application startup failed. Exiting.": "it exited; last lines of its log: … KeyError: 'TOKEN'",
	} {
		if got := Summary(long); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
