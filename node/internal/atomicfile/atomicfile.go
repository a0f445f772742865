// Package atomicfile replaces files whole: who reads one sees the content of
// before or that of after, also when the power fails in between. A file that
// is already as wanted is left alone, so that its time says when it changed.
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

// WriteFile is [Write] of a file that is the process's own, as os.WriteFile makes it.
func WriteFile(path string, content []byte, mode fs.FileMode) (changed bool, err error) {
	return Write(File{Path: path, Content: content, Mode: mode, UID: -1, GID: -1})
}

// File is a file as it is to be.
type File struct {
	Path    string
	Content []byte
	Mode    fs.FileMode
	UID     int // with GID; the process's own, where -1
	GID     int
}

// Write makes the file so, with its folder, and says whether anything changed.
func Write(f File) (changed bool, err error) {
	if f.IsAsWanted() {
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

// IsAsWanted says whether [Write] would leave the file as it is.
func (f File) IsAsWanted() bool {
	info, err := os.Lstat(f.Path)
	if err != nil || info.Mode() != f.Mode.Perm() || info.Size() != int64(len(f.Content)) {
		return false
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && !f.isOwnedAsWanted(stat) {
		return false
	}
	is, err := os.ReadFile(f.Path)
	return err == nil && bytes.Equal(is, f.Content)
}

func (f File) isOwnedAsWanted(is *syscall.Stat_t) bool {
	return (f.UID < 0 || uint32(f.UID) == is.Uid) && (f.GID < 0 || uint32(f.GID) == is.Gid)
}

// replace writes beside the file and renames, so that a secret is never in a
// file of another mode or owner, not even for a moment.
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
