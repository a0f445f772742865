//go:build linux

package supervisor

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// inotifyInstances is how many inotify(7) instances root may have, on all
// machines together: systemd and each of its services that watches files takes
// some, about 30 a machine. Linux's default is 128; Debian's cloud images have it.
const (
	inotifyInstances = 1024
	inotifyLimit     = "/proc/sys/fs/inotify/max_user_instances"
)

// allowWatches raises that limit where it is lower, since machines die of it with
// "Too many open files". It is not lowered again: another lab may need it.
func (s *Supervisor) allowWatches() error {
	text, err := os.ReadFile(inotifyLimit)
	if err != nil {
		return err
	}
	is, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("read %s: %w", inotifyLimit, err)
	}
	if is >= inotifyInstances {
		return nil
	}
	if err := os.WriteFile(inotifyLimit, []byte(strconv.Itoa(inotifyInstances)), 0o600); err != nil {
		return fmt.Errorf("%d inotify instances are too few for the machines; run sysctl fs.inotify.max_user_instances=%d: %w", is, inotifyInstances, err)
	}
	s.log.Info("raised the host's limit", "fs.inotify.max_user_instances", inotifyInstances, "was", is)
	return nil
}
