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
	// SystemPython is the image's Python.
	SystemPython   = "/usr/bin/python3"
	installTimeout = 5 * time.Minute
	// spareBytes must stay free on the disk, for logs and the other services.
	spareBytes = 64 << 20
	// maxBytes limits the sizes in a bundle, so that their sum does not overflow.
	maxBytes = 1 << 40
)

//go:embed describe_python.py
var describePython string

// python creates virtual environments without running any code of their packages: the
// environment's own Python, which runs code from .pth files, is started only while the
// environment is empty. Commands do not inherit this process's environment variables,
// some of which are secrets.
type python struct {
	// command returns a command that runs in a directory.
	command func(ctx context.Context, dir, name string, args ...string) *exec.Cmd
}

func commandOnNode(ctx context.Context, dir, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "HOME=/nonexistent", "TMPDIR=" + os.TempDir()}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that its children are killed with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// describe returns what the image's Python provides for applications.
func (p python) describe(ctx context.Context) (registry.Python, error) {
	var found struct {
		registry.Python
		Distributions map[string]string `json:"distributions"` // not normalized
	}
	out, err := p.run(ctx, SystemPython, "-I", "-c", describePython)
	if err == nil {
		err = json.Unmarshal(out, &found)
	}
	if err != nil {
		return registry.Python{}, fmt.Errorf("describe %s: %w", SystemPython, err)
	}
	image := registry.Python{Version: found.Version, Platform: found.Platform, Distributions: map[pep.Name]pep.Version{}}
	for name, version := range found.Distributions {
		n, nameErr := pep.ParseName(name)
		v, versionErr := pep.ParseVersion(version)
		// Wheels cannot depend on a distribution without a valid name and version.
		if nameErr == nil && versionErr == nil {
			image.Distributions[n] = v
		}
	}
	return image, nil
}

// install creates an environment in dir with the wheels of a bundle. Apart from them it
// has only the packages of the image.
func (p python) install(ctx context.Context, dir string, m bundle.Manifest, s store) error {
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	if _, err := p.run(ctx, SystemPython, "-I", "-m", "venv", "--without-pip", "--system-site-packages", dir); err != nil {
		return fmt.Errorf("create the environment: %w", err)
	}
	wheels := filepath.Join(dir, ".wheels") // pip requires the wheels' own file names
	if err := os.Mkdir(wheels, 0o755); err != nil {
		return fmt.Errorf("create the environment: %w", err)
	}
	args := []string{"-I", "-m", "pip", "install", "--no-index", "--no-deps", "--no-compile", "--ignore-installed",
		"--no-cache-dir", "--disable-pip-version-check", "--no-input", "--quiet"}
	for _, w := range m.Wheels {
		name := filepath.Join(wheels, w.File)
		if err := os.Link(s.wheel(w.SHA256), name); err != nil {
			return fmt.Errorf("create the environment: %w", err)
		}
		args = append(args, name)
	}
	if _, err := p.run(ctx, filepath.Join(dir, "bin/python"), args...); err != nil {
		return fmt.Errorf("install the wheels: %w", err)
	}
	return os.RemoveAll(wheels)
}

// compile compiles the environment to byte code, which the application cannot do since the
// environment is read-only for it, so that each start would compile it again. The image's
// Python produces the same byte code without running .pth files.
func (p python) compile(ctx context.Context, dir string) error {
	_, err := p.run(ctx, SystemPython, "-I", "-m", "compileall", "-q", filepath.Join(dir, "lib"))
	return err
}

// run runs a command and returns its standard output. An error has the last lines of its
// standard error.
func (p python) run(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := p.command(ctx, "/", name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", filepath.Base(name), errors.Join(err, ctx.Err()), lastLines(stderr.String(), 10))
	}
	return stdout.Bytes(), nil
}

// unpackedBytes returns the size of installed wheels, plus half of it for byte code.
func unpackedBytes(m bundle.Manifest, s store) (uint64, error) {
	var sum uint64
	for _, w := range m.Wheels {
		z, err := zip.OpenReader(s.wheel(w.SHA256))
		if err != nil {
			return 0, permanent("%s is not a wheel: %w", w.File, err)
		}
		for _, f := range z.File {
			if sum += min(f.UncompressedSize64, maxBytes); sum > maxBytes {
				return 0, permanent("%s unpacks to more than %d TiB according to its directory", w.File, maxBytes>>40)
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
