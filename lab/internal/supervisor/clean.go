//go:build linux

package supervisor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/xeroops/xeroops/lab/internal/tree"
	"github.com/xeroops/xeroops/lab/internal/volume"
	"github.com/xeroops/xeroops/lab/internal/vpcnet"
	"golang.org/x/sys/unix"
)

// ErrRunning reports that the lab has a running supervisor.
var ErrRunning = errors.New("the lab is running")

// ErrElsewhere reports that a lab of this name is running with another RunRoot.
var ErrElsewhere = errors.New("a lab of this name is running with another --run-dir; stop it, or choose another --name")

// Lock is held by a lab's supervisor. The kernel releases it when the process ends.
type Lock struct {
	name net.Listener // abstract socket; keeps labs of one name in different RunRoots apart
	file *os.File
}

// Close releases the lock.
func (l *Lock) Close() error { return errors.Join(l.name.Close(), l.file.Close()) }

// Lock takes the lab's lock, or returns ErrRunning or ErrElsewhere.
func (c Config) Lock() (*Lock, error) {
	file, err := c.lockFile()
	if err != nil {
		return nil, err
	}
	// When a supervisor dies, the kernel may release the file before the name.
	for began := time.Now(); ; time.Sleep(namePollInterval) {
		name, err := net.Listen("unix", "@xeroops-lab/"+c.Name)
		if err == nil {
			return &Lock{name: name, file: file}, nil
		}
		taken := errors.Is(err, unix.EADDRINUSE)
		if taken && time.Since(began) < nameTimeout {
			continue
		}
		if taken {
			err = ErrElsewhere
		}
		return nil, errors.Join(fmt.Errorf("lock lab %s: %w", c.Name, err), file.Close())
	}
}

const (
	namePollInterval = 20 * time.Millisecond
	nameTimeout      = time.Second
)

func (c Config) lockFile() (*os.File, error) {
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
		// Another process may have removed the file between open and flock.
		held, err := f.Stat()
		if now, gone := os.Stat(c.lock()); err == nil && gone == nil && os.SameFile(held, now) {
			return f, nil
		}
		f.Close()
	}
}

// Forget removes what Clean leaves: the log, the lock file and directories that no
// other lab uses. The caller holds the lock.
func (c Config) Forget() error {
	for _, file := range []string{c.LogFile(), c.lock()} {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("clean up lab %s: %w", c.Name, err)
		}
	}
	for _, dir := range []string{c.RunRoot, c.StateRoot} {
		_ = os.Remove(dir) // fails if another lab uses it
	}
	return nil
}

// Clean removes the lab's machines, namespaces, loop devices and disks. The caller
// holds the lock. It continues after errors.
func (c Config) Clean() error {
	for _, dir := range []string{c.RunDir(), c.StateDir()} {
		if err := checkOwn(dir); err != nil {
			return fmt.Errorf("clean up lab %s: %w", c.Name, err)
		}
	}
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
		// Keep the disks: something may still use them.
		return fmt.Errorf("clean up lab %s: %w", c.Name, err)
	}
	if err := errors.Join(tree.Remove(c.StateDir()), tree.Remove(c.RunDir())); err != nil {
		return fmt.Errorf("clean up lab %s: %w", c.Name, err)
	}
	return nil
}

// marker is a file in directories that a lab created.
const marker = ".xeroops-lab"

// makeOwn creates a directory that Clean may remove.
func makeOwn(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, marker), nil, 0o644)
}

// checkOwn returns an error if a directory has content and no lab created it.
func checkOwn(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, marker)); err != nil {
		return fmt.Errorf("%s was not created by a lab (it has no file %s): choose another --name, --run-dir or --state-dir, or remove it", dir, marker)
	}
	return nil
}

// Leftovers reports whether a dead supervisor left anything.
func (c Config) Leftovers() bool {
	for _, dir := range []string{c.RunDir(), c.StateDir()} {
		if _, err := os.Stat(dir); err == nil {
			return true
		}
	}
	return false
}
