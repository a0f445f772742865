package volume

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// mount is a line of /proc/self/mountinfo, see proc_pid_mountinfo(5).
type mount struct {
	device   string // major:minor
	source   string
	readOnly bool // the file system, not only this mount
}

// mountAt returns the topmost mount on a path.
func mountAt(path string) (mount, bool, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return mount{}, false, err
	}
	return findMount(string(text), path)
}

func findMount(mountinfo, path string) (m mount, found bool, err error) {
	for line := range strings.Lines(mountinfo) {
		own, fileSystem, ok := strings.Cut(line, " - ")
		fields, rest := strings.Fields(own), strings.Fields(fileSystem)
		if !ok || len(fields) < 6 || len(rest) < 3 {
			return m, false, fmt.Errorf("parse /proc/self/mountinfo: unexpected line %q", line)
		}
		if fields[4] == path {
			found = true
			m = mount{device: fields[2], source: rest[1], readOnly: slices.Contains(strings.Split(rest[2], ","), "ro")}
		}
	}
	return m, found, nil
}

// deviceNumber returns the major:minor number of a block device.
func deviceNumber(device string) (string, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(device, &st); err != nil {
		return "", fmt.Errorf("%s: %w", device, err)
	}
	number := uint64(st.Rdev) //nolint:unconvert // the type depends on the platform
	return fmt.Sprintf("%d:%d", unix.Major(number), unix.Minor(number)), nil
}
