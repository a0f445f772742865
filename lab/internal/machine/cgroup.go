//go:build linux

package machine

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hierarchies are the host's mounted control groups. The unified one (v2) is
// required: freezing and killing are done there. On a hybrid host, memory and
// block I/O are controllers of v1, with a mount each; else those paths are empty.
type hierarchies struct{ unified, memory, blkio string }

func findHierarchies() (hierarchies, error) {
	var h hierarchies
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return h, fmt.Errorf("find control groups: %w", err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		field := strings.Fields(s.Text()) // device, path, type, options
		switch options := strings.Split(field[3], ","); {
		case field[2] == "cgroup2":
			h.unified = cmp.Or(h.unified, field[1])
		case field[2] == "cgroup" && slices.Contains(options, "memory"):
			h.memory = field[1]
		case field[2] == "cgroup" && slices.Contains(options, "blkio"):
			h.blkio = field[1]
		}
	}
	if h.unified == "" {
		return h, errors.New("find control groups: no cgroup2 is mounted; mount one (mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified)")
	}
	return h, nil
}

// CheckHost says what the host's control groups lack for machines.
func CheckHost() error {
	_, err := findHierarchies()
	return err
}

// group is the control group of one machine, in each hierarchy.
type group struct {
	h    hierarchies
	name string // LAB/ID
}

func (g group) unified() string { return filepath.Join(g.h.unified, g.name) }

// legacy are the v1 directories that a machine's processes have to be put in; in
// v2 they are born there.
func (g group) legacy() (dirs []string) {
	for _, root := range []string{g.h.memory, g.h.blkio} {
		if root != "" {
			dirs = append(dirs, filepath.Join(root, g.name))
		}
	}
	return dirs
}

// create makes the group anew and returns it opened, for a process to start in.
func (g group) create(memoryLimitBytes int64) (*os.File, error) {
	if err := g.remove(); err != nil { // a leftover's processes would be this machine's
		return nil, err
	}
	for _, dir := range append(g.legacy(), g.unified(), filepath.Join(g.unified(), execGroup)) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("make control group: %w", err)
		}
	}
	// Controllers that v1 has taken, or that the host doesn't give, are refused here;
	// limits that need them then say so.
	for _, dir := range []string{g.h.unified, filepath.Dir(g.unified())} {
		for _, c := range []string{"+memory", "+io"} {
			_ = set(filepath.Join(dir, "cgroup.subtree_control"), c)
		}
	}
	if memoryLimitBytes > 0 {
		file := filepath.Join(g.unified(), "memory.max")
		if g.h.memory != "" {
			file = filepath.Join(g.h.memory, g.name, "memory.limit_in_bytes")
		}
		if err := set(file, strconv.FormatInt(memoryLimitBytes, 10)); err != nil {
			return nil, fmt.Errorf("limit memory: %w", err)
		}
	}
	return os.Open(g.unified())
}

// set writes a control group's file. One that isn't there belongs to a controller
// that the host doesn't give its unified hierarchy.
func set(file, value string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("%w (is the controller enabled?)", err)
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// execGroup is where commands run: in v2, a group that has groups has no processes.
const execGroup = "exec"

// killTimeout is how long the kernel may take to end killed processes; one in an
// uninterruptible wait outlives it.
const killTimeout = 20 * time.Second

// remove kills what is in the group and removes it with all groups below.
func (g group) remove() error {
	dir := g.unified()
	if _, err := os.Stat(dir); err == nil {
		if err := g.kill(); err != nil {
			return err
		}
		if err := g.await("populated 0", killTimeout); err != nil {
			return err
		}
	}
	for _, d := range append(g.legacy(), dir) {
		if err := removeTree(d); err != nil {
			return fmt.Errorf("remove control group %s: %w", g.name, err)
		}
	}
	return nil
}

// kill ends every process of the group at once, frozen ones too.
func (g group) kill() error {
	if err := set(filepath.Join(g.unified(), "cgroup.kill"), "1"); err != nil {
		return fmt.Errorf("kill control group %s: %w", g.name, err)
	}
	return nil
}

// removeTree removes a control group, whose files can't be removed, bottom up.
func removeTree(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			dirs = append(dirs, p)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, d := range slices.Backward(dirs) {
		if err := removeGroup(d); err != nil {
			return err
		}
	}
	return nil
}

// removeGroup retries while the kernel still takes away dead processes.
func removeGroup(dir string) error {
	deadline := time.Now().Add(killTimeout)
	for {
		err := os.Remove(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) || time.Now().After(deadline) {
			return ignoreNotExist(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func ignoreNotExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// await polls cgroup.events for a line.
func (g group) await(line string, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for {
		b, err := os.ReadFile(filepath.Join(g.unified(), "cgroup.events"))
		if err != nil {
			return fmt.Errorf("watch control group %s: %w", g.name, err)
		}
		if slices.Contains(strings.Split(string(b), "\n"), line) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("control group %s: not %q after %s; a process hangs in the kernel", g.name, line, timeout)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (g group) populated() bool {
	b, err := os.ReadFile(filepath.Join(g.unified(), "cgroup.events"))
	return err == nil && strings.Contains(string(b), "populated 1")
}

func (g group) frozen() bool {
	b, err := os.ReadFile(filepath.Join(g.unified(), "cgroup.events"))
	return err == nil && strings.Contains(string(b), "frozen 1")
}

func (g group) freeze(on bool) error {
	value, event := "0", "frozen 0"
	if on {
		value, event = "1", "frozen 1"
	}
	if err := set(filepath.Join(g.unified(), "cgroup.freeze"), value); err != nil {
		return fmt.Errorf("freeze control group %s: %w", g.name, err)
	}
	return g.await(event, killTimeout)
}

// memoryBytes is the memory charged less the page cache, which the kernel can drop.
func (g group) memoryBytes() (int64, error) {
	dir, current, prefix := g.unified(), "memory.current", ""
	if g.h.memory != "" {
		dir, current, prefix = filepath.Join(g.h.memory, g.name), "memory.usage_in_bytes", "total_"
	}
	b, err := os.ReadFile(filepath.Join(dir, current))
	if err != nil {
		return 0, fmt.Errorf("read memory use: %w", err)
	}
	used, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read memory use: %w", err)
	}
	stat, err := os.ReadFile(filepath.Join(dir, "memory.stat"))
	if err != nil {
		return 0, fmt.Errorf("read memory use: %w", err)
	}
	for line := range strings.Lines(string(stat)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == prefix+"inactive_file" || name == prefix+"active_file" {
			n, _ := strconv.ParseInt(value, 10, 64)
			used -= n
		}
	}
	return max(used, 0), nil
}

// throttle limits the group's access to a block device. In v1 what the kernel
// writes back later is charged to the root group: so that one, too, gets the
// limit for this device, which is one of the lab's own.
func (g group) throttle(majorMinor string, t Throttle) error {
	if g.h.blkio == "" {
		line := fmt.Sprintf("%s rbps=%[2]s wbps=%[2]s riops=%[3]s wiops=%[3]s", majorMinor, limit(t.BytesPerSecond), limit(t.IOPS))
		if err := set(filepath.Join(g.unified(), "io.max"), line); err != nil {
			return fmt.Errorf("throttle %s: %w", majorMinor, err)
		}
		return nil
	}
	for _, dir := range []string{g.h.blkio, filepath.Join(g.h.blkio, g.name)} {
		for file, value := range map[string]int64{
			"read_bps_device": t.BytesPerSecond, "write_bps_device": t.BytesPerSecond,
			"read_iops_device": t.IOPS, "write_iops_device": t.IOPS,
		} {
			line := fmt.Sprintf("%s %d", majorMinor, value) // 0 lifts
			if err := set(filepath.Join(dir, "blkio.throttle."+file), line); err != nil {
				return fmt.Errorf("throttle %s: %w", majorMinor, err)
			}
		}
	}
	return nil
}

func limit(n int64) string {
	if n == 0 {
		return "max"
	}
	return strconv.FormatInt(n, 10)
}
