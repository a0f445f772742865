//go:build linux

package volume

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
)

const mib = 1 << 20

func store(t *testing.T) *Store {
	t.Helper()
	s, err := NewStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func needLoop(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("loop devices need root")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skip("this kernel has no loop devices:", err)
	}
}

func sizeOf(t *testing.T, device string) int64 {
	t.Helper()
	f, err := os.Open(device)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := f.Seek(0, 2)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAttachedVolumeGrows(t *testing.T) {
	needLoop(t)
	s := store(t)
	check(t, s.Create("vol-1", 8*mib))
	check(t, s.Create("vol-1", 8*mib))
	device, err := s.Attach("vol-1")
	check(t, err)
	t.Cleanup(func() { check(t, s.DetachAll()) })
	if again, err := s.Attach("vol-1"); err != nil || again != device {
		t.Errorf("attached again as %s (%v), want %s", again, err, device)
	}
	if n := sizeOf(t, device); n != 8*mib {
		t.Errorf("device has %d bytes", n)
	}
	check(t, s.Grow("vol-1", 16*mib))
	if n := sizeOf(t, device); n != 16*mib {
		t.Errorf("grown device has %d bytes", n)
	}
	if err := s.Grow("vol-1", 8*mib); err == nil || !strings.Contains(err.Error(), "cannot shrink") {
		t.Errorf("shrinking: %v", err)
	}
	if err := s.Delete("vol-1"); err == nil || !strings.Contains(err.Error(), "detach it first") {
		t.Errorf("deleting an attached volume: %v", err)
	}
	check(t, s.Detach("vol-1"))
	check(t, s.Detach("vol-1"))
	check(t, s.Delete("vol-1"))
	check(t, s.Delete("vol-1"))
}

func TestSnapshotIsNotChangedByLaterWrites(t *testing.T) {
	needLoop(t)
	s := store(t)
	ctx := context.Background()
	check(t, s.Create("vol-1", 8*mib))
	device, err := s.Attach("vol-1")
	check(t, err)
	t.Cleanup(func() { check(t, s.DetachAll()) })
	check(t, os.WriteFile(device, []byte("first"), 0))
	check(t, s.Snapshot(ctx, "vol-1", "snap-1"))
	check(t, os.WriteFile(device, []byte("later"), 0))
	check(t, s.CreateFrom(ctx, "vol-2", "snap-1", 12*mib))
	check(t, s.CreateFrom(ctx, "vol-2", "snap-1", 12*mib))
	b, err := os.ReadFile(s.path("vol-2"))
	check(t, err)
	if !bytes.HasPrefix(b, []byte("first")) || len(b) != 12*mib {
		t.Errorf("volume of the snapshot begins with %q and has %d bytes", b[:5], len(b))
	}
	if err := s.CreateFrom(ctx, "vol-3", "snap-absent", mib); err == nil {
		t.Error("a volume was created from a snapshot that doesn't exist")
	}
	check(t, s.DeleteSnapshot("snap-1"))
}

func TestNewStoreFindsAndDetachesVolumesOfADeadSupervisor(t *testing.T) {
	needLoop(t)
	s := store(t)
	check(t, s.Create("vol-1", mib))
	device, err := s.Attach("vol-1")
	check(t, err)
	other, err := NewStore(s.dir)
	check(t, err)
	if again, err := other.Attach("vol-1"); err != nil || again != device {
		t.Errorf("found %s (%v), want %s", again, err, device)
	}
	check(t, other.DetachAll())
	if device, err := s.device("vol-1"); err != nil || device != "" {
		t.Errorf("still attached as %s (%v)", device, err)
	}
}
