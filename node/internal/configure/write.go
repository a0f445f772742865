package configure

import (
	"fmt"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/xeroops/xeroops/node/internal/atomicfile"
)

// InPlace is the file with its mode and owner, as atomicfile writes it.
func (f File) InPlace() (atomicfile.File, error) {
	owner, err := user.Lookup(f.Owner)
	if err != nil {
		return atomicfile.File{}, fmt.Errorf("write %s: %w; the role's package or sysusers make its users", f.Path, err)
	}
	group, err := user.LookupGroup(f.Group)
	if err != nil {
		return atomicfile.File{}, fmt.Errorf("write %s: %w; the role's package or sysusers make its groups", f.Path, err)
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

// Write puts the file in place.
func (f File) Write() error {
	file, err := f.InPlace()
	if err != nil {
		return err
	}
	_, err = atomicfile.Write(file)
	return err
}

// WriteBelow puts the file below a folder, owned by whoever runs this.
func (f File) WriteBelow(folder string) error {
	_, err := atomicfile.WriteFile(filepath.Join(folder, f.Path), f.Content, f.Mode)
	return err
}
