//go:build linux

package tree

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRemoveRefusesATreeWithMounts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	host, dir := t.TempDir(), filepath.Join(t.TempDir(), "a tree")
	kept, point := filepath.Join(host, "kept"), filepath.Join(dir, "dev", "shm")
	if err := os.MkdirAll(point, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kept, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(host, point, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("this host allows no bind mount: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(point, unix.MNT_DETACH) }) // fails if the test has unmounted it
	if err := Remove(dir); err == nil || !strings.Contains(err.Error(), "umount") {
		t.Errorf("got error %v, want one that names the mount", err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Fatalf("the mounted file: %v", err)
	}
	if err := unix.Unmount(point, 0); err != nil {
		t.Fatal(err)
	}
	if err := Remove(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("after removal: %v", err)
	}
	if err := Remove(dir); err != nil {
		t.Errorf("removing nothing: %v", err)
	}
}
