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

// makeNamespace makes a network namespace and binds it on path. Not under
// /run/netns: that folder is iproute2's, whose mount propagation would carry the
// binding into namespaces that then keep it alive.
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

// removeNamespace unbinds the namespace, which ends with its last process.
func removeNamespace(path string) error {
	for {
		// More than one binding is possible after a crash; EINVAL is "none left".
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

// inNamespace runs f on a thread inside the namespace bound on path. What f opens
// stays there; f must not start goroutines that depend on it.
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

// onThread runs f on an operating system thread of its own, which ends with it.
// It is never the main thread: that one would not end, and is whose namespaces
// /proc/self and /proc/net show.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked, so that the thread is thrown away
		if unix.Gettid() == unix.Getpid() {
			done <- onThread(f) // while this goroutine holds the main thread
			runtime.UnlockOSThread()
			return
		}
		done <- f()
	}()
	return <-done
}
