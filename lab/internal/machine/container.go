//go:build linux

package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// Container runs machines in systemd-nspawn: Debian's own init and services, on
// the host's kernel. Root in such a machine is root on the host: run nothing in
// it that you would not run there.
type Container struct {
	// RunDir holds what lives as long as a machine; a short path, sockets are in it.
	RunDir string
	// StateDir holds the machines' disks and console logs. Overlayfs has to be able
	// to write there: not a folder of another overlay.
	StateDir string
	// CgroupName is that of the lab's control group, made at the hierarchy's root.
	CgroupName string
}

var _ Kind = (*Container)(nil)

var validID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// Start implements [Kind].
func (c *Container) Start(ctx context.Context, spec Spec) (Machine, error) {
	if !validID.MatchString(spec.ID) || len(spec.Layers) == 0 {
		return nil, fmt.Errorf("start machine %q: bad id, or no layers", spec.ID)
	}
	if _, err := exec.LookPath("systemd-nspawn"); err != nil {
		return nil, fmt.Errorf("start machine %s: systemd-nspawn is not on PATH; install Debian's package systemd-container: %w", spec.ID, err)
	}
	g, err := c.group(spec.ID)
	if err != nil {
		return nil, fmt.Errorf("start machine %s: %w", spec.ID, err)
	}
	if g.populated() {
		return nil, fmt.Errorf("start machine %s: it has processes already; is another lab running, or did one die? Clean first", spec.ID)
	}
	m := newContainer(c, spec, g)
	if err := m.boot(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start machine %s: %w", spec.ID, err), m.sweep())
	}
	go m.run()
	return m, nil
}

func (c *Container) group(id string) (group, error) {
	h, err := findHierarchies()
	return group{h: h, name: filepath.Join(c.CgroupName, id)}, err
}

func (c *Container) runDir(id string) string  { return filepath.Join(c.RunDir, "machines", id) }
func (c *Container) diskDir(id string) string { return filepath.Join(c.StateDir, "machines", id) }

// ConsoleLog implements [Kind].
func (c *Container) ConsoleLog(id string) string { return filepath.Join(c.diskDir(id), "console.log") }

// Running implements [Kind].
func (c *Container) Running() ([]string, error) {
	ids, err := c.groups()
	if err != nil {
		return nil, fmt.Errorf("list machines: %w", err)
	}
	var running []string
	for _, id := range ids {
		if g, err := c.group(id); err == nil && g.populated() {
			running = append(running, id)
		}
	}
	return running, nil
}

// groups lists the machines that have a control group.
func (c *Container) groups() (ids []string, err error) {
	h, err := findHierarchies()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(h.unified, c.CgroupName))
	if err != nil {
		return nil, ignoreNotExist(err)
	}
	for _, e := range entries {
		if e.IsDir() && e.Name() != besideGroup {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

// besideGroup is no machine's: it breaks validID.
const besideGroup = "_beside"

// Beside has a command start in a control group of the lab's that is no machine's,
// so that Clean ends it with all that it starts. The caller closes what it returns
// once the command has started.
func (c *Container) Beside(cmd *exec.Cmd) (io.Closer, error) {
	g, err := c.group(besideGroup)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(g.unified(), 0o755); err != nil {
		return nil, fmt.Errorf("make control group: %w", err)
	}
	dir, err := os.Open(g.unified())
	if err != nil {
		return nil, fmt.Errorf("open control group: %w", err)
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	return dir, nil
}

// Clean implements [Kind].
func (c *Container) Clean() error {
	g, err := c.group("") // the lab's, with the machines' below it
	if err == nil {
		err = errors.Join(g.remove(), os.RemoveAll(filepath.Join(c.RunDir, "machines")))
	}
	if err != nil {
		return fmt.Errorf("clean machines: %w", err)
	}
	return nil
}

// inside prepares a command in all namespaces of a machine's init.
//
// What nsenter forks, it waits for in a way that stops it when the child is
// stopped; systemd stops every process at shutdown and nsenter, which it does not
// reach, would then never be continued, nor reap its child, without which the
// machine can't end. So nsenter doesn't fork: a shell does.
func inside(leader int, args ...string) []string {
	return append([]string{"nsenter", "--no-fork", "--target", strconv.Itoa(leader),
		"--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd",
		"env", "-i", "HOME=/root", "USER=root", "LANG=C.UTF-8", "TERM=" + os.Getenv("TERM"),
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"sh", "-c", `"$@"; exit $?`, "sh"}, args...)
}

// Command implements [Kind].
func (c *Container) Command(ctx context.Context, id string, args ...string) (*exec.Cmd, error) {
	leader, err := c.leader(id)
	if err != nil {
		return nil, fmt.Errorf("run %q in machine %s: %w", args, id, err)
	}
	g, err := c.group(id)
	if err != nil {
		return nil, fmt.Errorf("run %q in machine %s: %w", args, id, err)
	}
	const join = `for d in $0; do echo $$ >"$d/cgroup.procs" || exit; done; exec "$@"`
	dirs := append(g.legacy(), filepath.Join(g.unified(), execGroup))
	script := []string{"-c", join, strings.Join(dirs, " ")}
	return exec.CommandContext(ctx, "sh", append(script, inside(leader, args...)...)...), nil
}

// leader is the process id of a machine's init, as its run directory has it. One
// left by a dead supervisor may be another's by now, which its group tells.
func (c *Container) leader(id string) (int, error) {
	b, err := os.ReadFile(filepath.Join(c.runDir(id), "leader"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, ErrNotRunning
	}
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, err
	}
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil || !strings.Contains(string(groups), "/"+filepath.Join(c.CgroupName, id)+"/") {
		return 0, ErrNotRunning
	}
	return pid, nil
}

// Capture implements [Kind].
func (c *Container) Capture(ctx context.Context, id, layer string) error {
	if g, err := c.group(id); err != nil || g.populated() && !g.frozen() {
		return errors.Join(fmt.Errorf("capture machine %s: it has to be off or frozen", id), err)
	}
	upper := filepath.Join(c.diskDir(id), "upper")
	// Deleted files are device nodes here and replaced folders have an attribute,
	// both of which -a keeps.
	cmd := exec.CommandContext(ctx, "cp", "-a", "--sparse=always", "--reflink=auto", upper, layer)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("capture machine %s: copy %s: %w: %s", id, upper, err, out)
	}
	return nil
}

// Delete implements [Kind].
func (c *Container) Delete(id string) error {
	if g, err := c.group(id); err != nil || g.populated() {
		return errors.Join(fmt.Errorf("delete machine %s: it has to be off", id), err)
	}
	if err := os.RemoveAll(c.diskDir(id)); err != nil {
		return fmt.Errorf("delete machine %s: %w", id, err)
	}
	return nil
}
