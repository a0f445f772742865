package deployments

import (
	"archive/zip"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/internal/pep"
	"github.com/xeroops/xeroops/internal/registry"
)

const (
	// SystemPython is the image's.
	SystemPython   = "/usr/bin/python3"
	installTimeout = 5 * time.Minute
	// spareBytes stay free on the disk, for logs and the rest of the node.
	spareBytes = 64 << 20
	// maxBytes bounds what a bundle says that it takes, so that no sum overflows.
	maxBytes = 1 << 40
)

//go:embed python_offers.py
var pythonOffers string

// python makes environments, and runs nothing of what it puts there: a Python of the
// environment, which a .pth file in it makes run anything, starts only while it is
// empty. Its commands also know nothing of this process's environment, which holds
// secrets.
type python struct {
	// command prepares a program, to run in a folder.
	command func(ctx context.Context, folder, name string, args ...string) *exec.Cmd
}

func commandOnNode(ctx context.Context, folder, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = folder
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "HOME=/nonexistent", "TMPDIR=" + os.TempDir()}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its children end with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// offers is what the image's Python has for applications.
func (p python) offers(ctx context.Context) (registry.Python, error) {
	var found struct {
		registry.Python
		Distributions map[string]string `json:"distributions"` // as they name themselves
	}
	out, err := p.run(ctx, SystemPython, "-I", "-c", pythonOffers)
	if err == nil {
		err = json.Unmarshal(out, &found)
	}
	if err != nil {
		return registry.Python{}, fmt.Errorf("read what %s offers: %w", SystemPython, err)
	}
	offered := registry.Python{Version: found.Version, Platform: found.Platform, Distributions: map[pep.Name]pep.Version{}}
	for name, version := range found.Distributions {
		n, nameErr := pep.ParseName(name)
		v, versionErr := pep.ParseVersion(version)
		// What has no valid name or version, no wheel can depend on.
		if nameErr == nil && versionErr == nil {
			offered.Distributions[n] = v
		}
	}
	return offered, nil
}

// install makes an environment at folder with the wheels of a bundle, and nothing
// but them and what the image has.
func (p python) install(ctx context.Context, folder string, m bundle.Manifest, s store) error {
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	if _, err := p.run(ctx, SystemPython, "-I", "-m", "venv", "--without-pip", "--system-site-packages", folder); err != nil {
		return fmt.Errorf("make the environment: %w", err)
	}
	wheels := filepath.Join(folder, ".wheels") // pip wants the files by their names
	if err := os.Mkdir(wheels, 0o755); err != nil {
		return fmt.Errorf("make the environment: %w", err)
	}
	args := []string{"-I", "-m", "pip", "install", "--no-index", "--no-deps", "--no-compile", "--ignore-installed",
		"--no-cache-dir", "--disable-pip-version-check", "--no-input", "--quiet"}
	for _, w := range m.Wheels {
		name := filepath.Join(wheels, w.File)
		if err := os.Link(s.wheel(w.SHA256), name); err != nil {
			return fmt.Errorf("make the environment: %w", err)
		}
		args = append(args, name)
	}
	if _, err := p.run(ctx, filepath.Join(folder, "bin/python"), args...); err != nil {
		return fmt.Errorf("install the wheels: %w", err)
	}
	return os.RemoveAll(wheels)
}

// compile writes byte code, which the application, to whom its environment is
// read-only, can't. Without it every start compiles anew. The image's own Python
// makes the same, and heeds no .pth file there.
func (p python) compile(ctx context.Context, folder string) error {
	_, err := p.run(ctx, SystemPython, "-I", "-m", "compileall", "-q", filepath.Join(folder, "lib"))
	return err
}

// run returns the standard output; an error has the last of the standard error.
func (p python) run(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := p.command(ctx, "/", name, args...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", filepath.Base(name), errors.Join(err, ctx.Err()), lastLines(said.String(), 10))
	}
	return out.Bytes(), nil
}

// unpackedBytes is what wheels take once installed, and half as much again for
// byte code.
func unpackedBytes(m bundle.Manifest, s store) (uint64, error) {
	var sum uint64
	for _, w := range m.Wheels {
		z, err := zip.OpenReader(s.wheel(w.SHA256))
		if err != nil {
			return 0, wrong("%s is no wheel: %w", w.File, err)
		}
		for _, f := range z.File {
			if sum += min(f.UncompressedSize64, maxBytes); sum > maxBytes {
				return 0, wrong("%s says that it unpacks to more than %d TiB", w.File, maxBytes>>40)
			}
		}
		if err := z.Close(); err != nil {
			return 0, err
		}
	}
	return sum + sum/2, nil
}

func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
