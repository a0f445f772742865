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

// ErrRunning says that the lab has a living supervisor.
var ErrRunning = errors.New("the lab is running")

// ErrElsewhere says that a lab of this name runs with another run folder.
var ErrElsewhere = errors.New("a lab of this name runs already with another --run-dir; end that one, or choose another --name")

// Lock is what a lab's supervisor holds. The kernel frees it when the process
// ends, however it ends.
type Lock struct {
	name net.Listener // abstract: control groups and disks go by the name alone
	file *os.File
}

// Close frees the lock.
func (l *Lock) Close() error { return errors.Join(l.name.Close(), l.file.Close()) }

// Lock takes the lab's lock, or returns ErrRunning or ErrElsewhere.
func (c Config) Lock() (*Lock, error) {
	file, err := c.lockFile()
	if err != nil {
		return nil, err
	}
	// Of a killed supervisor, the kernel frees the file and the name in any order.
	for began := time.Now(); ; time.Sleep(nameEvery) {
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
	nameEvery   = 20 * time.Millisecond
	nameTimeout = time.Second
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
		// Disks stay while something may still use them.
		return fmt.Errorf("clean up lab %s: %w", c.Name, err)
	}
	if err := errors.Join(tree.Remove(c.StateDir()), tree.Remove(c.RunDir())); err != nil {
		return fmt.Errorf("clean up lab %s: %w", c.Name, err)
	}
	return nil
}

// marker is the file that tells a folder of a lab from one that was there before.
const marker = ".xeroops-lab"

// makeOwn makes a folder that Clean may remove.
func makeOwn(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, marker), nil, 0o644)
}

// checkOwn refuses a folder with content that is not a lab's.
func checkOwn(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, marker)); err != nil {
		return fmt.Errorf("%s has files but no %s, so no lab made it: choose another --name, --run-dir or --state-dir, or remove it yourself", dir, marker)
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
