// Package procfs reads what the kernel reports in /proc (proc(5)).
package procfs

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory is the memory of the machine, in bytes.
type Memory struct{ Total, Available uint64 }

// ReadMemory reads MemTotal and MemAvailable of proc_meminfo(5).
func ReadMemory() (Memory, error) {
	const path = "/proc/meminfo"
	text, err := os.ReadFile(path)
	if err != nil {
		return Memory{}, err
	}
	bytes := map[string]uint64{}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[2] == "kB" {
			kib, err := strconv.ParseUint(f[1], 10, 64)
			if err != nil {
				return Memory{}, fmt.Errorf("parse %s: %q: %w", path, line, err)
			}
			bytes[f[0]] = kib << 10
		}
	}
	m := Memory{Total: bytes["MemTotal:"], Available: bytes["MemAvailable:"]}
	if m.Total == 0 {
		return m, fmt.Errorf("parse %s: no MemTotal", path)
	}
	return m, nil
}

// ReadBootID returns the kernel's id of this boot, a random UUID.
func ReadBootID() (string, error) { return ReadLine("/proc/sys/kernel/random/boot_id") }

// ReadLine returns the text of a file that has one line.
func ReadLine(path string) (string, error) {
	text, err := os.ReadFile(path)
	return strings.TrimSpace(string(text)), err
}
