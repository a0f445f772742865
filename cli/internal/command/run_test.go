//go:build linux

package command

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
)

// ran is how a command of the CLI ended.
type ran struct {
	code        int
	out, stderr string
}

func (w *world) run(args ...string) ran { return w.runWith(w.t.Context(), args...) }

func (w *world) runWith(ctx context.Context, args ...string) ran {
	w.t.Helper()
	return w.runWatched(ctx, func(string) {}, args...)
}

// runWatched tells what the command writes to standard error while it runs.
func (w *world) runWatched(ctx context.Context, watch func(written string), args ...string) ran {
	w.t.Helper()
	root := newRoot("test")
	var out, stderr bytes.Buffer
	root.SetOut(&out)
	root.SetErr(io.MultiWriter(&stderr, watcher(watch)))
	root.SetArgs(args)
	code := run(ctx, root)
	w.t.Logf("xeroops %s: exit %d\n%s%s", strings.Join(args, " "), code, out.String(), stderr.String())
	if strings.Contains(out.String()+stderr.String(), password) {
		w.t.Error("the password was printed")
	}
	return ran{code, out.String(), stderr.String()}
}

type watcher func(string)

func (w watcher) Write(b []byte) (int, error) {
	w(string(b))
	return len(b), nil
}

func (r ran) expect(t *testing.T, code int, said ...string) {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit %d, want %d", r.code, code)
	}
	for _, s := range said {
		if !strings.Contains(r.out+r.stderr, s) {
			t.Errorf("it did not say %q", s)
		}
	}
}
