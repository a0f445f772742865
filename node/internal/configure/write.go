package configure

import (
	"fmt"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/xeroops/xeroops/node/internal/atomicfile"
)

// InPlace returns the file as atomicfile writes it, with its mode and owner.
func (f File) InPlace() (atomicfile.File, error) {
	owner, err := user.Lookup(f.Owner)
	if err != nil {
		return atomicfile.File{}, fmt.Errorf("write %s: %w; a package or sysusers.d of the service must create it", f.Path, err)
	}
	group, err := user.LookupGroup(f.Group)
	if err != nil {
		return atomicfile.File{}, fmt.Errorf("write %s: %w; a package or sysusers.d of the service must create it", f.Path, err)
	}
	uid, err := strconv.Atoi(owner.Uid)
	if err != nil {
		return atomicfile.File{}, fmt.Errorf("write %s: user %s: %w", f.Path, f.Owner, err)
	}
	gid, err := strconv.Atoi(group.Gid)
	if err != nil {
		return atomicfile.File{}, fmt.Errorf("write %s: group %s: %w", f.Path, f.Group, err)
	}
	return atomicfile.File{Path: f.Path, Content: f.Content, Mode: f.Mode, UID: uid, GID: gid}, nil
}

// Write writes the file to its path.
func (f File) Write() error {
	file, err := f.InPlace()
	if err != nil {
		return err
	}
	_, err = atomicfile.Write(file)
	return err
}

// WriteBelow writes the file below dir, owned by the caller.
func (f File) WriteBelow(dir string) error {
	_, err := atomicfile.WriteFile(filepath.Join(dir, f.Path), f.Content, f.Mode)
	return err
}
