// Package wheel creates the wheels of a bundle on a developer's machine: it builds the
// application, and runs pip to resolve and download its dependencies, for the image's
// Python and platform and without the image's packages.
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

// ErrMissing marks a program that is missing on the developer's machine.
var ErrMissing = errors.New("missing program")

// Python is the command line of a Python with pip.
type Python []string

// FindPython returns a Python with pip, or an error with the command to install one.
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

// command returns a command of Python that does not import from its working directory:
// a project's queue.py must not replace the standard library's. (Python before 3.11
// does not have the variable.)
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

// fileURL returns the URL of a directory, for pip settings that are separated by spaces.
func fileURL(path string) string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(path)}).String()
}
