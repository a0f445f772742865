package journal

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

func newTestLogger() (hclog.Logger, *bytes.Buffer) {
	var out bytes.Buffer
	return hclog.New(&hclog.LoggerOptions{Output: &out, DisableTime: true}), &out
}

func TestProblemIsLoggedOnceUntilItChanges(t *testing.T) {
	log, out := newTestLogger()
	var p Problem
	for n, step := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{errors.New("refused"), "[WARN]  sync failed: error=refused node=app1\n"},
		{errors.New("refused"), ""},
		{errors.New("timeout"), "[WARN]  sync failed: error=timeout node=app1\n"},
		{nil, "[INFO]  problem resolved: problem=\"sync failed\" node=app1\n"},
		{nil, ""},
		{errors.New("timeout"), "[WARN]  sync failed: error=timeout node=app1\n"},
	} {
		out.Reset()
		p.Set(log, "sync failed", step.err, "node", "app1")
		if out.String() != step.want {
			t.Errorf("step %d: logged %q, want %q", n+1, out, step.want)
		}
	}
	if p.String() != "timeout" {
		t.Errorf("String() = %q, want the last problem", p.String())
	}
}

func TestProblemsAreLoggedIndependently(t *testing.T) {
	log, out := newTestLogger()
	var p Problems
	a, b := errors.New("a is invalid"), errors.New("b is invalid")
	p.Set(log, "peer ignored", []error{a})
	p.Set(log, "peer ignored", []error{a, b})
	p.Set(log, "peer ignored", []error{b})
	if lines := strings.Count(out.String(), "\n"); lines != 2 {
		t.Errorf("logged %d lines, want one for each problem:\n%s", lines, out)
	}
}

func TestProblemIgnoresTheLocalPortOfAConnection(t *testing.T) {
	log, out := newTestLogger()
	var p Problem
	for port := range 3 {
		local := &net.TCPAddr{IP: net.IPv4(10, 0, 2, 10), Port: 40000 + port}
		p.Set(log, "sync failed", fmt.Errorf("read: %w", &net.OpError{Op: "read", Net: "tcp", Source: local, Err: errors.New("timeout")}))
	}
	if lines := strings.Count(out.String(), "\n"); lines != 1 {
		t.Errorf("logged %d lines, want 1:\n%s", lines, out)
	}
}
