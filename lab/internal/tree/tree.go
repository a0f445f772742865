//go:build linux

// Package tree removes folders that the lab made as root. It never walks through a
// mount: below a tree that a killed build left there may be the host's own /dev.
package tree

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// mountEscapes is how mountinfo writes what would end a field (proc(5)).
var mountEscapes = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// Remove removes dir with everything in it, or nothing of it if something is
// mounted on it or below. No such folder is no error.
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
		return fmt.Errorf("remove %s: look for mounts below it: %w", dir, err)
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
