// Package atomicfile replaces files atomically: readers see either the old or the
// new content, even after a power failure. A file that is already up to date is left
// alone, so that its modification time is that of its last change.
package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// WriteFile writes a file that is owned by the process's user, like os.WriteFile, and
// reports whether anything changed.
func WriteFile(path string, content []byte, mode fs.FileMode) (changed bool, err error) {
	return Write(File{Path: path, Content: content, Mode: mode, UID: -1, GID: -1})
}

// File is the desired state of a file.
type File struct {
	Path    string
	Content []byte
	Mode    fs.FileMode
	UID     int // -1: the process's own
	GID     int // -1: the process's own
}

// Write writes the file, creating its directory, and reports whether anything changed.
func Write(f File) (changed bool, err error) {
	if f.IsUpToDate() {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
		return false, fmt.Errorf("write %s: %w", f.Path, err)
	}
	if err := f.replace(); err != nil {
		return false, fmt.Errorf("write %s: %w", f.Path, err)
	}
	return true, nil
}

// IsUpToDate reports whether [Write] would leave the file alone.
func (f File) IsUpToDate() bool {
	info, err := os.Lstat(f.Path)
	if err != nil || info.Mode() != f.Mode.Perm() || info.Size() != int64(len(f.Content)) {
		return false
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && !f.hasOwner(stat) {
		return false
	}
	content, err := os.ReadFile(f.Path)
	return err == nil && bytes.Equal(content, f.Content)
}

func (f File) hasOwner(stat *syscall.Stat_t) bool {
	return (f.UID < 0 || uint32(f.UID) == stat.Uid) && (f.GID < 0 || uint32(f.GID) == stat.Gid)
}

// replace writes a temporary file in the same directory and renames it, so that a secret
// is never in a file with another mode or owner.
func (f File) replace() (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(f.Path), "."+filepath.Base(f.Path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	_, err = tmp.Write(f.Content)
	if err == nil {
		err = tmp.Chown(f.UID, f.GID)
	}
	if err == nil {
		err = tmp.Chmod(f.Mode.Perm())
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), f.Path)
}
