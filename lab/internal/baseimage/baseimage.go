// Package baseimage makes what the lab's machines boot from: a Debian 13 tree like
// that of Debian's EC2 image, and images captured from machines on top of it.
// Layers are folders, never written to once made, and shared by all machines.
package baseimage

import "context"

// Base describes the base image.
type Base struct {
	// CacheDir keeps built trees under a name made of their recipe; the default is
	// $XEROOPS_LAB_CACHE, else /var/cache/xeroops-lab.
	CacheDir string
	// Mirror is a Debian mirror's URL; empty is the one of the host's apt sources,
	// else mmdebstrap's default.
	Mirror string
	// CACertificate (PEM) is trusted by everything on the machine.
	CACertificate []byte
}

// Build returns the layers of the base image, top first, building what is not in
// the cache; that takes half a minute. Several processes may call it at once.
func Build(ctx context.Context, b Base) (layers []string, err error) { return nil, nil }

// Store keeps captured images in one folder.
type Store struct{ dir string }

// NewStore returns the store in dir, which is made if absent.
func NewStore(dir string) (*Store, error) { return &Store{dir: dir}, nil }

// Add makes the image id of what capture copies into a new folder, on top of the
// layers that the captured machine booted from.
func (s *Store) Add(id string, below []string, capture func(layer string) error) error { return nil }

// Layers returns an image's layers, top first, or an error that is fs.ErrNotExist.
func (s *Store) Layers(id string) ([]string, error) { return nil, nil }

// Remove removes an image. Its layer goes once no other image is on top of it; the
// caller sees to it that no machine runs on it. No such image is no error.
func (s *Store) Remove(id string) error { return nil }
