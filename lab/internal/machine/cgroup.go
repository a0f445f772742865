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

// hierarchies holds the mount points of the host's control group hierarchies. The
// unified one (cgroup v2) is required for freezing and killing. memory and blkio are
// the v1 controllers of a hybrid host, and empty on others.
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

// CheckHost returns an error if the host's control groups cannot run machines.
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

// legacy returns the v1 directories that a machine's processes must be moved to. In
// v2, they start in their group.
func (g group) legacy() (dirs []string) {
	for _, root := range []string{g.h.memory, g.h.blkio} {
		if root != "" {
			dirs = append(dirs, filepath.Join(root, g.name))
		}
	}
	return dirs
}

// create creates the group and returns its open directory, to start a process in.
func (g group) create(memoryLimitBytes int64) (*os.File, error) {
	if err := g.remove(); err != nil { // it may have processes of a dead supervisor's machine
		return nil, err
	}
	for _, dir := range append(g.legacy(), g.unified(), filepath.Join(g.unified(), execGroup)) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("create control group: %w", err)
		}
	}
	// This fails for controllers in use by v1 or not delegated to this host. Setting a
	// limit that needs them reports the error.
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

// set writes a file of a control group. The file doesn't exist if its controller is
// not enabled.
func set(file, value string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("%w (is the controller enabled?)", err)
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// execGroup is the child group for commands: in v2, only leaf groups have processes.
const execGroup = "exec"

// killTimeout limits the wait for killed processes to end. A process in
// uninterruptible sleep exceeds it.
const killTimeout = 20 * time.Second

// remove kills all processes of the group and removes it with its descendants.
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

// kill kills all processes of the group, including frozen ones.
func (g group) kill() error {
	if err := set(filepath.Join(g.unified(), "cgroup.kill"), "1"); err != nil {
		return fmt.Errorf("kill control group %s: %w", g.name, err)
	}
	return nil
}

// removeTree removes a control group and its descendants, bottom up. os.RemoveAll
// would try to remove their files, which is not possible.
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

// removeGroup removes a control group, retrying while the kernel still cleans up its
// dead processes.
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

// await polls cgroup.events until it has the given line.
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
			return fmt.Errorf("control group %s: not %q after %s; a process is in uninterruptible sleep", g.name, line, timeout)
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

// memoryBytes returns the memory charged to the group without page cache.
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

// throttle limits the group's I/O on a block device. In v1, writeback is charged to
// the root group, so that it gets the limit as well; nothing outside the machine uses
// the device.
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
			line := fmt.Sprintf("%s %d", majorMinor, value) // 0 lifts the limit
			if err := set(filepath.Join(dir, "blkio.throttle."+file), line); err != nil {
				return fmt.Errorf("throttle %s: %w", majorMinor, err)
			}
		}
	}
	return nil
}

// limit returns n in the format of io.max.
func limit(n int64) string {
	if n == 0 {
		return "max"
	}
	return strconv.FormatInt(n, 10)
}
