//go:build linux

package supervisor

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// inotifyInstances is the number of inotify(7) instances for root on all machines
// together. systemd and its services take about 30 per machine; Linux's default limit
// is 128.
const (
	inotifyInstances = 1024
	inotifyLimit     = "/proc/sys/fs/inotify/max_user_instances"
)

// raiseInotifyLimit raises the limit if it is lower, since machines would fail with
// "Too many open files". It is never lowered again: other labs may need it.
func (s *Supervisor) raiseInotifyLimit() error {
	text, err := os.ReadFile(inotifyLimit)
	if err != nil {
		return err
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("read %s: %w", inotifyLimit, err)
	}
	if limit >= inotifyInstances {
		return nil
	}
	if err := os.WriteFile(inotifyLimit, []byte(strconv.Itoa(inotifyInstances)), 0o600); err != nil {
		return fmt.Errorf("raise fs.inotify.max_user_instances from %d, which is too low for the machines: %w; run sysctl fs.inotify.max_user_instances=%d", limit, err, inotifyInstances)
	}
	s.log.Info("raised sysctl", "fs.inotify.max_user_instances", inotifyInstances, "old", limit)
	return nil
}
