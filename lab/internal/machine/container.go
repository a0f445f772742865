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

// Container runs machines in systemd-nspawn: Debian's init and services on the host's
// kernel. Root in a machine is root on the host.
type Container struct {
	// RunDir holds files that exist while a machine runs. Its path must be short,
	// because it contains sockets.
	RunDir string
	// StateDir holds the machines' disks and console logs. It must not be on an
	// overlay file system.
	StateDir string
	// CgroupName names the lab's control group, which is at the root of the hierarchy.
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
		return nil, fmt.Errorf("start machine %s: it is running already, in another lab or left by one that died; call Clean first", spec.ID)
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

// groups returns the ids of machines that have a control group.
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

// besideGroup is the control group of Beside. It is not a valid machine id.
const besideGroup = "_beside"

// Beside makes a command start in a control group of the lab that belongs to no
// machine, so that Clean kills the command and all its descendants. The caller closes
// the returned directory once the command has started.
func (c *Container) Beside(cmd *exec.Cmd) (io.Closer, error) {
	g, err := c.group(besideGroup)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(g.unified(), 0o755); err != nil {
		return nil, fmt.Errorf("create control group: %w", err)
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
	g, err := c.group("") // the parent of the machines' groups
	if err == nil {
		err = errors.Join(g.remove(), os.RemoveAll(filepath.Join(c.RunDir, "machines")))
	}
	if err != nil {
		return fmt.Errorf("clean machines: %w", err)
	}
	return nil
}

// inside returns a command that runs in all namespaces of a machine's init.
//
// nsenter must not fork: it stops itself when its child is stopped. systemd stops all
// processes at shutdown, and nsenter, which is outside of the machine, would never be
// continued. The machine could not end, because nsenter would not reap its child. A
// shell in the machine's PID namespace forks instead.
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

// leader returns the pid of a machine's init, from the machine's run directory. It
// checks the process's control group, because the pid may have been reused after a
// supervisor died.
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
		return errors.Join(fmt.Errorf("capture machine %s: it must be off or frozen", id), err)
	}
	upper := filepath.Join(c.diskDir(id), "upper")
	// Deleted files are device nodes, and replaced directories have an extended
	// attribute; cp -a preserves both.
	cmd := exec.CommandContext(ctx, "cp", "-a", "--sparse=always", "--reflink=auto", upper, layer)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("capture machine %s: copy %s: %w: %s", id, upper, err, out)
	}
	return nil
}

// Delete implements [Kind].
func (c *Container) Delete(id string) error {
	if g, err := c.group(id); err != nil || g.populated() {
		return errors.Join(fmt.Errorf("delete machine %s: it must be off", id), err)
	}
	if err := os.RemoveAll(c.diskDir(id)); err != nil {
		return fmt.Errorf("delete machine %s: %w", id, err)
	}
	return nil
}
