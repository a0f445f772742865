//go:build linux

// Package volume keeps the lab's EBS volumes and snapshots: sparse files, which
// are loop devices while attached. No state but the files: what is attached is
// asked of the kernel, so that a new supervisor finds it.
package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
)

// Store keeps volumes and snapshots in one folder: ID.img.
type Store struct {
	dir string
	mu  sync.Mutex // between asking whether a volume has a device and making one
}

var validID = regexp.MustCompile(`^(vol|snap)-[a-z0-9]+$`)

// NewStore returns the store in dir, which is made if absent.
func NewStore(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		// The kernel names a device's file by its real path.
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("open volume store: %w", err)
	}
	return &Store{dir: dir}, nil
}

func (s *Store) path(id string) string { return filepath.Join(s.dir, id+".img") }

// Create makes an empty volume. One that exists with this size is no error.
func (s *Store) Create(id string, sizeBytes int64) error {
	if !validID.MatchString(id) || sizeBytes <= 0 {
		return fmt.Errorf("create volume %q of %d bytes: bad id or size", id, sizeBytes)
	}
	if info, err := os.Stat(s.path(id)); err == nil {
		if info.Size() != sizeBytes {
			return fmt.Errorf("create volume %s: it exists with %d bytes, not %d", id, info.Size(), sizeBytes)
		}
		return nil
	}
	tmp := s.path(id) + ".new"
	err := os.WriteFile(tmp, nil, 0o600)
	if err == nil {
		err = os.Truncate(tmp, sizeBytes)
	}
	if err == nil {
		err = os.Rename(tmp, s.path(id))
	}
	if err != nil {
		return fmt.Errorf("create volume %s: %w", id, err)
	}
	return nil
}

// CreateFrom makes a volume from a snapshot; it is grown if sizeBytes is larger.
// One that exists is no error.
func (s *Store) CreateFrom(ctx context.Context, id, snapshotID string, sizeBytes int64) error {
	if err := s.copy(ctx, snapshotID, id); err != nil {
		return fmt.Errorf("create volume %s: %w", id, err)
	}
	return s.Grow(id, sizeBytes)
}

// copy makes one image of another, unless it is there; it is there only whole.
func (s *Store) copy(ctx context.Context, from, to string) error {
	if !validID.MatchString(from) || !validID.MatchString(to) {
		return fmt.Errorf("copy %q to %q: bad id", from, to)
	}
	if _, err := os.Stat(s.path(to)); err == nil {
		return nil
	}
	tmp := s.path(to) + ".new"
	cmd := exec.CommandContext(ctx, "cp", "--sparse=always", "--reflink=auto", s.path(from), tmp)
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("copy %s: %w: %s", from, err, out), remove(tmp))
	}
	return os.Rename(tmp, s.path(to))
}

// Grow enlarges a volume, also while it is attached. Its size is no error, a
// smaller one is.
func (s *Store) Grow(id string, sizeBytes int64) error {
	info, err := os.Stat(s.path(id))
	if err != nil {
		return fmt.Errorf("grow volume %s: %w", id, err)
	}
	if sizeBytes < info.Size() {
		return fmt.Errorf("grow volume %s: %d bytes are less than its %d; volumes don't shrink", id, sizeBytes, info.Size())
	}
	if err := os.Truncate(s.path(id), sizeBytes); err != nil {
		return fmt.Errorf("grow volume %s: %w", id, err)
	}
	device, err := s.device(id)
	if err == nil && device != "" {
		err = setCapacity(device)
	}
	if err != nil {
		return fmt.Errorf("grow volume %s: %w", id, err)
	}
	return nil
}

// Attach returns the loop device of a volume (/dev/loop7), making it if there is
// none. Hand it to machine.Volume.
func (s *Store) Attach(id string) (device string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	device, err = s.device(id)
	if err == nil && device == "" {
		device, err = makeLoop(s.path(id))
	}
	if err != nil {
		return "", fmt.Errorf("attach volume %s: %w", id, err)
	}
	return device, nil
}

// Detach gives the loop device back. A volume without one is no error.
func (s *Store) Detach(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	device, err := s.device(id)
	if err == nil && device != "" {
		err = clearLoop(device)
	}
	if err != nil {
		return fmt.Errorf("detach volume %s: %w", id, err)
	}
	return nil
}

// Snapshot copies a volume; a snapshot that exists is no error. What the machine
// has not yet written to the device is not in it. The copy takes a while: freeze
// the machine around it if it may write.
func (s *Store) Snapshot(ctx context.Context, id, snapshotID string) error {
	device, err := s.device(id)
	if err == nil && device != "" {
		err = syncDevice(device)
	}
	if err == nil {
		err = s.copy(ctx, id, snapshotID)
	}
	if err != nil {
		return fmt.Errorf("make snapshot %s of volume %s: %w", snapshotID, id, err)
	}
	return nil
}

// Delete removes a detached volume. No such volume is no error.
func (s *Store) Delete(id string) error {
	device, err := s.device(id)
	if err == nil && device != "" {
		err = fmt.Errorf("it is attached as %s; detach it first", device)
	}
	if err == nil {
		err = remove(s.path(id))
	}
	if err != nil {
		return fmt.Errorf("delete volume %s: %w", id, err)
	}
	return nil
}

// DeleteSnapshot removes a snapshot. No such snapshot is no error.
func (s *Store) DeleteSnapshot(snapshotID string) error {
	if err := remove(s.path(snapshotID)); err != nil {
		return fmt.Errorf("delete snapshot %s: %w", snapshotID, err)
	}
	return nil
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// DetachAll gives back every loop device whose file is in the store: for down.
func (s *Store) DetachAll() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	loops, err := loops()
	if err != nil {
		return fmt.Errorf("detach all volumes: %w", err)
	}
	var errs []error
	for _, l := range loops {
		if filepath.Dir(l.file) == s.dir {
			errs = append(errs, clearLoop(l.device))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("detach all volumes: %w", err)
	}
	return nil
}

// device is the loop device of a volume, empty if it has none.
func (s *Store) device(id string) (string, error) {
	loops, err := loops()
	if err != nil {
		return "", err
	}
	for _, l := range loops {
		if l.file == s.path(id) {
			return l.device, nil
		}
	}
	return "", nil
}
