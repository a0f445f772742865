//go:build linux

package vpcnet

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// makeNamespace creates a network namespace and bind-mounts it on path. path must not
// be in /run/netns, which iproute2 makes a shared mount: other mount namespaces would
// get a copy of the mount and keep the network namespace alive.
func makeNamespace(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make namespace %s: %w", path, err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return fmt.Errorf("make namespace %s: %w", path, err)
	}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		return unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
	})
	if err != nil {
		return errors.Join(fmt.Errorf("make namespace %s: %w (is this root?)", path, err), os.Remove(path))
	}
	return nil
}

// removeNamespace unmounts the namespace, which exists until its last process ends.
func removeNamespace(path string) error {
	for {
		// There can be several mounts after a crash; EINVAL means that none is left.
		err := unix.Unmount(path, unix.MNT_DETACH)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			break
		}
		if err != nil {
			return fmt.Errorf("remove namespace %s: %w", path, err)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove namespace %s: %w", path, err)
	}
	return nil
}

// inNamespace runs f on a thread inside the namespace at path. Sockets that f opens
// belong to the namespace; goroutines that f starts do not.
func inNamespace(path string, f func() error) error {
	ns, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("enter namespace: %w", err)
	}
	defer ns.Close()
	return onThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter namespace %s: %w", path, err)
		}
		return f()
	})
}

// onThread runs f on an OS thread of its own that exits afterwards. It never uses the
// main thread, which would not exit, and whose namespaces /proc/self and /proc/net
// show.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread exits with the goroutine
		if unix.Gettid() == unix.Getpid() {
			done <- onThread(f) // cannot get the main thread, which this goroutine holds
			runtime.UnlockOSThread()
			return
		}
		done <- f()
	}()
	return <-done
}
