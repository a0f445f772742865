// Package wheel makes the wheels of a bundle on a developer's machine: it has the
// application built, and has pip resolve and download what it depends on, for the
// image's Python and platform and without what the image has already.
package wheel

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrMissing marks what the developer's machine lacks.
var ErrMissing = errors.New("this machine lacks something")

// Python is the command line that runs a Python that has pip.
type Python []string

// FindPython returns a Python with pip, or an error that says how to get one.
func FindPython(ctx context.Context) (Python, error) {
	for _, name := range []string{"python3", "python"} {
		python := Python{name}
		if python.command(ctx, "-c", "import pip").Run() == nil {
			return python, nil
		}
	}
	if _, err := exec.LookPath("uv"); err == nil {
		return Python{"uv", "run", "--quiet", "--no-project", "--with", "pip", "python"}, nil
	}
	return nil, fmt.Errorf("%w: neither python3 with pip nor uv is on PATH; on Debian: apt-get install python3-pip; elsewhere: https://docs.astral.sh/uv/", ErrMissing)
}

// command runs Python without the folder that it is run in among those that it
// imports from: a project's queue.py is not the one that pip wants. (Python before
// 3.11 has no such variable.)
func (p Python) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p[0], append(p[1:len(p):len(p)], args...)...)
	cmd.Env = append(os.Environ(), "PYTHONSAFEPATH=1")
	return cmd
}

// run returns an error with the end of what the command printed.
func run(cmd *exec.Cmd, doing string) error {
	cmd.WaitDelay = waitDelay
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %s: %w:\n%s", doing, filepath.Base(cmd.Path), err, lastLines(string(out)))
}

const shownLines = 25

func lastLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-shownLines):], "\n")
}

// fileURL names a folder for pip where spaces separate.
func fileURL(path string) string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(path)}).String()
}
