//go:build linux

package supervisor

import (
	"errors"
	"fmt"
	"os"

	"github.com/xeroops/xeroops/lab/internal/tree"
	"github.com/xeroops/xeroops/lab/internal/volume"
	"github.com/xeroops/xeroops/lab/internal/vpcnet"
	"golang.org/x/sys/unix"
)

// ErrRunning says that the lab has a living supervisor.
var ErrRunning = errors.New("the lab is running")

// Lock takes the lab's lock, which the kernel frees when the process ends,
// however it ends.
func (c Config) Lock() (*os.File, error) {
	if err := os.MkdirAll(c.RunRoot, 0o755); err != nil {
		return nil, fmt.Errorf("lock lab %s: %w", c.Name, err)
	}
	for {
		f, err := os.OpenFile(c.lock(), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock lab %s: %w", c.Name, err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, ErrRunning
			}
			return nil, fmt.Errorf("lock lab %s: %w", c.Name, err)
		}
		// It may have been forgotten by another process before it was locked here.
		held, err := f.Stat()
		if now, gone := os.Stat(c.lock()); err == nil && gone == nil && os.SameFile(held, now) {
			return f, nil
		}
		f.Close()
	}
}

// Forget removes what Clean leaves: log, lock and folders that no other lab uses.
// The caller has the lock.
func (c Config) Forget() error {
	for _, file := range []string{c.LogFile(), c.lock()} {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("clean up lab %s: %w", c.Name, err)
		}
	}
	for _, dir := range []string{c.RunRoot, c.StateRoot} {
		_ = os.Remove(dir) // fails as it should while another lab is in it
	}
	return nil
}

// Clean removes whatever is left of the lab: machines, namespaces, loop devices,
// disks. The caller has the lock. It does all it can before it reports errors.
func (c Config) Clean() error {
	errs := []error{c.Kind().Clean()}
	if _, err := os.Stat(c.volumes()); err == nil {
		store, err := volume.NewStore(c.volumes())
		if err == nil {
			err = store.DetachAll()
		}
		errs = append(errs, err)
	}
	errs = append(errs, vpcnet.Remove(c.NetworkDir()))
	if err := errors.Join(errs...); err != nil {
		// Disks stay while something may still use them.
		return fmt.Errorf("clean up lab %s: %w", c.Name, err)
	}
	if err := errors.Join(tree.Remove(c.StateDir()), tree.Remove(c.RunDir())); err != nil {
		return fmt.Errorf("clean up lab %s: %w", c.Name, err)
	}
	return nil
}

// Leftovers says whether a dead supervisor left anything.
func (c Config) Leftovers() bool {
	for _, dir := range []string{c.RunDir(), c.StateDir()} {
		if _, err := os.Stat(dir); err == nil {
			return true
		}
	}
	return false
}
