//go:build linux

// Package tree removes directory trees that the lab created as root. It refuses to
// cross mount points: a killed build may have left the host's /dev mounted in a tree.
package tree

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// mountEscapes decodes the escapes in /proc/self/mountinfo (proc(5)).
var mountEscapes = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// Remove removes dir and its content. If anything is mounted on or below dir, it
// removes nothing and returns an error. A dir that doesn't exist is not an error.
func Remove(dir string) error {
	real, err := filepath.EvalSymlinks(dir)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	if real, err = filepath.Abs(real); err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("remove %s: find mounts below it: %w", dir, err)
	}
	for line := range strings.Lines(string(mounts)) {
		field := strings.Fields(line)
		if len(field) < 5 {
			continue
		}
		if point := mountEscapes.Replace(field[4]); point == real || strings.HasPrefix(point, real+"/") {
			return fmt.Errorf("remove %s: something is mounted on %s; unmount it (umount %s) and try again", dir, point, point)
		}
	}
	return os.RemoveAll(dir)
}
