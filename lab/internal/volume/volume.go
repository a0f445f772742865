// Package volume keeps the lab's EBS volumes and snapshots: sparse files, which
// are loop devices while attached. No state but the files: what is attached is
// asked of the kernel, so that a new supervisor finds it.
package volume

import "context"

// Store keeps volumes and snapshots in one folder.
type Store struct{ dir string }

// NewStore returns the store in dir, which is made if absent.
func NewStore(dir string) (*Store, error) { return &Store{dir: dir}, nil }

// Create makes an empty volume. One that exists with this size is no error.
func (s *Store) Create(id string, sizeBytes int64) error { return nil }

// CreateFrom makes a volume from a snapshot; it is grown if sizeBytes is larger.
func (s *Store) CreateFrom(ctx context.Context, id, snapshotID string, sizeBytes int64) error {
	return nil
}

// Grow enlarges a volume, also while it is attached. Shrinking is an error.
func (s *Store) Grow(id string, sizeBytes int64) error { return nil }

// Attach returns the loop device of a volume (/dev/loop7), making it if there is
// none. Hand it to machine.Volume.
func (s *Store) Attach(id string) (device string, err error) { return "", nil }

// Detach gives the loop device back. A volume without one is no error.
func (s *Store) Detach(id string) error { return nil }

// Snapshot copies a volume. What the machine has not yet written to the device is
// not in it. The copy takes a while: freeze the machine around it if it may write.
func (s *Store) Snapshot(ctx context.Context, id, snapshotID string) error { return nil }

// Delete removes a detached volume. No such volume is no error.
func (s *Store) Delete(id string) error { return nil }

// DeleteSnapshot removes a snapshot. No such snapshot is no error.
func (s *Store) DeleteSnapshot(snapshotID string) error { return nil }

// DetachAll gives back every loop device whose file is in the store: for down.
func (s *Store) DetachAll() error { return nil }
