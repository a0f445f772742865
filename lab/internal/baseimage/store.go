//go:build linux

package baseimage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/xeroops/xeroops/lab/internal/tree"
)

// Store keeps captured images in a directory. ID.json lists an image's layers; ID/ is
// the image's own layer.
type Store struct {
	dir string
	mu  sync.Mutex
}

// NewStore returns the store in dir and creates dir if it doesn't exist.
func NewStore(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open image store: %w", err)
	}
	return &Store{dir: dir}, nil
}

// Add adds an image. capture must create the image's own layer at the given path;
// below are the layers that the captured machine booted from.
func (s *Store) Add(id string, below []string, capture func(layer string) error) error {
	s.mu.Lock() // a concurrent sweep would remove the layer that no image lists yet
	defer s.mu.Unlock()
	layer := filepath.Join(s.dir, id)
	if err := once(layer, func(tmp string, _ *os.File) error {
		if err := os.Remove(tmp); err != nil { // capture creates it, with the mode of the root directory
			return err
		}
		return capture(tmp)
	}); err != nil {
		return fmt.Errorf("capture image %s: %w", id, err)
	}
	b, err := json.Marshal(append([]string{layer}, below...))
	if err == nil {
		err = os.WriteFile(s.record(id), b, 0o644)
	}
	if err != nil {
		return fmt.Errorf("record image %s: %w", id, err)
	}
	return nil
}

func (s *Store) record(id string) string { return filepath.Join(s.dir, id+".json") }

// Layers returns an image's layers, top first. The error of an unknown image is
// fs.ErrNotExist.
func (s *Store) Layers(id string) ([]string, error) {
	b, err := os.ReadFile(s.record(id))
	if err != nil {
		return nil, fmt.Errorf("find image %s: %w", id, err)
	}
	var layers []string
	if err := json.Unmarshal(b, &layers); err != nil {
		return nil, fmt.Errorf("read image %s: %w", id, err)
	}
	return layers, nil
}

// Remove removes an image, and the layers that no other image uses. The caller makes
// sure that no machine uses it. Removing an unknown image is not an error.
func (s *Store) Remove(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.Remove(s.record(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove image %s: %w", id, err)
	}
	return s.sweep()
}

// sweep removes layers that no image lists.
func (s *Store) sweep() error {
	records, err := filepath.Glob(filepath.Join(s.dir, "*.json"))
	if err != nil {
		return err
	}
	var used []string
	for _, r := range records {
		id := filepath.Base(r[:len(r)-len(".json")])
		layers, err := s.Layers(id)
		if err != nil {
			return err
		}
		used = append(used, layers...)
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("sweep images: %w", err)
	}
	for _, e := range entries {
		layer := filepath.Join(s.dir, e.Name())
		if !e.IsDir() || filepath.Ext(layer) == ".new" || slices.Contains(used, layer) {
			continue
		}
		if err := errors.Join(tree.Remove(layer), os.RemoveAll(layer+".lock")); err != nil {
			return fmt.Errorf("sweep images: %w", err)
		}
	}
	return nil
}
