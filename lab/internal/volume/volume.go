//go:build linux

// Package volume keeps the lab's EBS volumes and snapshots as sparse files, with loop
// devices for attached volumes. It has no state besides the files: it asks the kernel
// which volumes are attached, so that a new supervisor finds them.
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

// Store keeps volumes and snapshots as ID.img in a directory.
type Store struct {
	dir string
	mu  sync.Mutex // serializes attaching and detaching
}

var validID = regexp.MustCompile(`^(vol|snap)-[a-z0-9]+$`)

// NewStore returns the store in dir and creates dir if it doesn't exist.
func NewStore(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		// The kernel reports the resolved path of a device's file.
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("open volume store: %w", err)
	}
	return &Store{dir: dir}, nil
}

func (s *Store) path(id string) string { return filepath.Join(s.dir, id+".img") }

// Create creates an empty volume. It is not an error if the volume exists with this
// size.
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

// CreateFrom creates a volume from a snapshot and grows it to sizeBytes. It is not an
// error if the volume exists.
func (s *Store) CreateFrom(ctx context.Context, id, snapshotID string, sizeBytes int64) error {
	if err := s.copy(ctx, snapshotID, id); err != nil {
		return fmt.Errorf("create volume %s: %w", id, err)
	}
	return s.Grow(id, sizeBytes)
}

// copy copies an image atomically, unless the target exists.
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

// Grow enlarges a volume, which may be attached. It is an error if sizeBytes is less
// than the volume's size.
func (s *Store) Grow(id string, sizeBytes int64) error {
	info, err := os.Stat(s.path(id))
	if err != nil {
		return fmt.Errorf("grow volume %s: %w", id, err)
	}
	if sizeBytes < info.Size() {
		return fmt.Errorf("grow volume %s: cannot shrink from %d to %d bytes", id, info.Size(), sizeBytes)
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

// Attach returns a volume's loop device, such as /dev/loop7, and sets it up if there
// is none.
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

// Detach releases a volume's loop device. A volume without one is not an error.
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

// Snapshot copies a volume, unless the snapshot exists. The copy is not atomic: freeze
// the machine meanwhile if it may write. Data that the machine has not yet written to
// the device is not included.
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

// Delete deletes a detached volume. It is not an error if the volume doesn't exist.
func (s *Store) Delete(id string) error {
	device, err := s.device(id)
	if err == nil && device != "" {
		err = fmt.Errorf("volume is attached as %s; detach it first", device)
	}
	if err == nil {
		err = remove(s.path(id))
	}
	if err != nil {
		return fmt.Errorf("delete volume %s: %w", id, err)
	}
	return nil
}

// DeleteSnapshot deletes a snapshot. It is not an error if the snapshot doesn't exist.
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

// DetachAll releases all loop devices whose files are in the store.
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

// device returns a volume's loop device, or an empty string if it has none.
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
