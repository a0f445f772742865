//go:build linux

package command

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
)

// ran is the result of a command of the CLI.
type ran struct {
	code        int
	out, stderr string
}

func (f *fixture) run(args ...string) ran { return f.runWith(f.t.Context(), args...) }

func (f *fixture) runWith(ctx context.Context, args ...string) ran {
	f.t.Helper()
	return f.runWatched(ctx, func(string) {}, args...)
}

// runWatched passes on what the command writes to standard error while it runs.
func (f *fixture) runWatched(ctx context.Context, watch func(written string), args ...string) ran {
	f.t.Helper()
	root := newRoot("test")
	var out, stderr bytes.Buffer
	root.SetOut(&out)
	root.SetErr(io.MultiWriter(&stderr, watcher(watch)))
	root.SetArgs(args)
	code := run(ctx, root)
	f.t.Logf("xeroops %s: exit %d\n%s%s", strings.Join(args, " "), code, out.String(), stderr.String())
	if all := out.String() + stderr.String(); strings.Contains(all, password) || strings.Contains(all, statusPassword) {
		f.t.Error("the password was printed")
	}
	return ran{code, out.String(), stderr.String()}
}

type watcher func(string)

func (w watcher) Write(b []byte) (int, error) {
	w(string(b))
	return len(b), nil
}

func (r ran) expect(t *testing.T, code int, output ...string) {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit %d, want %d", r.code, code)
	}
	for _, s := range output {
		if !strings.Contains(r.out+r.stderr, s) {
			t.Errorf("the output has no %q", s)
		}
	}
}
