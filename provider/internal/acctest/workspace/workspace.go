// Package workspace runs Terraform or OpenTofu with the provider's binary on a copy
// of an example. Unlike terraform-plugin-testing, it runs the provider as a process
// that the crash sweep can kill and the benchmark can measure.
package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/xeroops/xeroops/internal/testkit/tfcli"
)

// Module returns the directory of go.mod, which contains the examples.
func Module() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	file := strings.TrimSpace(string(out))
	if file == "" || file == os.DevNull {
		return "", errors.New("find the module: run this in a checkout of the repository")
	}
	return filepath.Dir(file), nil
}

// Build compiles the provider into dir like a release, stripped, and returns the
// path of the binary.
func Build(ctx context.Context, module, dir string) (string, error) {
	binary := filepath.Join(dir, "terraform-provider-xeroops")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "./provider")
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the provider: %w\n%s", err, out)
	}
	return binary, nil
}

// Workspace is a directory in which Terraform runs.
type Workspace struct {
	dir       string // directory of the workspace
	root      string // directory in which Terraform runs
	cli       tfcli.CLI
	variables []string
	env       []string

	mu      sync.Mutex
	running *os.Process // Terraform, or nil
}

// Options are the settings of a workspace.
type Options struct {
	Dir       string            // empty directory for the workspace
	Module    string            // the checkout
	Example   string            // the example's directory, relative to the module: examples/complete
	Binary    string            // the provider's binary, from Build
	Files     map[string]string // files in addition to the example, or in place of one: content by name
	Variables map[string]string // variables of the configuration
	Env       map[string]string // environment of Terraform and the provider
}

// New copies the examples and writes a CLI configuration with which Terraform uses
// the binary and contacts no registry.
func New(ctx context.Context, o Options) (*Workspace, error) {
	cli, err := tfcli.Find()
	if err != nil {
		return nil, err
	}
	w := &Workspace{dir: o.Dir, root: filepath.Join(o.Dir, o.Example), cli: cli}
	if o.Example == "" {
		w.root = filepath.Join(o.Dir, "configuration")
	} else if err := tfcli.CopyExamples(filepath.Join(o.Dir, "examples"), filepath.Join(o.Module, "examples")); err != nil {
		// The whole directory, because examples refer to ../modules.
		return nil, fmt.Errorf("copy the examples: %w", err)
	}
	for name, content := range o.Files {
		path := filepath.Join(w.root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			return nil, err
		}
	}
	if err := w.writeProvider(o.Binary); err != nil {
		return nil, err
	}
	for name, value := range o.Variables {
		w.variables = append(w.variables, "-var", name+"="+value)
	}
	w.env = append(os.Environ(), "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "TF_CLI_CONFIG_FILE="+w.path("terraformrc"))
	for name, value := range o.Env {
		w.env = append(w.env, name+"="+value)
	}
	_, err = w.Run(ctx, "init", "-input=false", "-no-color")
	return w, err
}

// Root returns the directory in which Terraform runs.
func (w *Workspace) Root() string { return w.root }

func (w *Workspace) path(name string) string { return filepath.Join(w.dir, name) }

// version is the binary's version in the workspace, which no release has.
const version = "0.0.1"

// writeProvider installs a script as the provider that records its process id and
// executes the provider. dev_overrides makes Terraform use it regardless of the
// lock file; the mirror is for init, which ignores overrides.
func (w *Workspace) writeProvider(binary string) error {
	script := fmt.Sprintf("#!/bin/sh\necho $$ >> '%s'\nexec '%s' \"$@\"\n", w.path("pids"), binary)
	override := w.path("override")
	files := map[string]string{filepath.Join(override, "terraform-provider-xeroops"): script}
	for _, host := range []string{"registry.terraform.io", "registry.opentofu.org"} {
		platform := runtime.GOOS + "_" + runtime.GOARCH
		files[filepath.Join(w.path("mirror"), host, "xeroops/xeroops", version, platform, "terraform-provider-xeroops_v"+version)] = script
	}
	for path, content := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil { //nolint:gosec // an executable
			return err
		}
	}
	config := fmt.Sprintf(`provider_installation {
  dev_overrides {
    "xeroops/xeroops" = %q
  }
  filesystem_mirror {
    path = %q
  }
}
`, override, w.path("mirror"))
	return os.WriteFile(w.path("terraformrc"), []byte(config), 0o600)
}

// Apply runs terraform apply and returns its output. The error is not nil if it
// failed.
func (w *Workspace) Apply(ctx context.Context) (string, error) {
	return w.Run(ctx, append([]string{"apply", "-auto-approve", "-input=false", "-no-color"}, w.variables...)...)
}

// Destroy runs terraform destroy.
func (w *Workspace) Destroy(ctx context.Context) (string, error) {
	return w.Run(ctx, append([]string{"destroy", "-auto-approve", "-input=false", "-no-color"}, w.variables...)...)
}

// PlanEmpty runs terraform plan and returns an error if there are changes.
func (w *Workspace) PlanEmpty(ctx context.Context) (string, error) {
	out, err := w.Run(ctx, append([]string{"plan", "-detailed-exitcode", "-input=false", "-no-color"}, w.variables...)...)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 2 {
		return out, fmt.Errorf("the plan has changes:\n%s", out)
	}
	return out, err
}

// Run runs Terraform with the arguments and returns its output.
func (w *Workspace) Run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, w.cli.Path, args...)
	cmd.Dir, cmd.Env = w.root, w.env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Start()
	if err == nil {
		w.setRunning(cmd.Process)
		err = cmd.Wait()
		w.setRunning(nil)
	}
	if err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s", filepath.Base(w.cli.Path), args[0], err, AfterPlan(out.String()))
	}
	return out.String(), nil
}

func (w *Workspace) setRunning(p *os.Process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running = p
}

// KillTerraform kills Terraform, if it is running, but not the provider.
func (w *Workspace) KillTerraform() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running != nil {
		_ = w.running.Kill() // fails if it has exited
	}
}

// AfterPlan returns the output of an apply without the plan at its start.
func AfterPlan(out string) string {
	if at := strings.LastIndex(out, "\nPlan: "); at >= 0 {
		out = out[at:]
	}
	return strings.TrimSpace(out)
}

// ProviderPIDs returns the ids of this workspace's running provider processes.
// Terraform starts several in a run, one after another.
func (w *Workspace) ProviderPIDs() []int {
	content, err := os.ReadFile(w.path("pids"))
	if err != nil {
		return nil // none has started yet
	}
	var alive []int
	for _, field := range strings.Fields(string(content)) {
		pid, err := strconv.Atoi(field)
		if err == nil && w.isProvider(pid) {
			alive = append(alive, pid)
		}
	}
	return alive
}

// isProvider reports whether the process is still the provider, and not a later one
// with the same id.
func (w *Workspace) isProvider(pid int) bool {
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return syscall.Kill(pid, 0) == nil && runtime.GOOS != "linux"
	}
	return bytes.Contains(command, []byte("terraform-provider-xeroops"))
}

// KillProvider kills the provider's processes and returns how many there were.
func (w *Workspace) KillProvider() int {
	pids := w.ProviderPIDs()
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL) // fails if it has exited
	}
	return len(pids)
}

// PeakMemory returns the largest peak resident size in bytes of the running
// provider processes, or 0 if the system does not report it.
func (w *Workspace) PeakMemory() int64 {
	var peak int64
	for _, pid := range w.ProviderPIDs() {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		_, after, _ := strings.Cut(string(status), "VmHWM:")
		fields := strings.Fields(after)
		if len(fields) == 0 {
			continue
		}
		if kib, err := strconv.ParseInt(fields[0], 10, 64); err == nil {
			peak = max(peak, kib*1024)
		}
	}
	return peak
}
