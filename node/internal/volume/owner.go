package volume

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// chown gives the volume to its owner. The ids of system users differ between images and
// a volume outlives its instance, so files of the owner's former ids are changed to the
// new ones. The top directory comes last, so that an interrupted run is repeated.
func (v Volume) chown() error {
	if v.Owner == "" {
		return nil
	}
	owner, err := user.Lookup(v.Owner)
	if err != nil {
		return fmt.Errorf("data volume %s: %w; the user is created by a package of the role", v.ID, err)
	}
	uid, err := strconv.Atoi(owner.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(owner.Gid)
	if err != nil {
		return err
	}
	if err := chownTree(v.Where, uid, gid); err != nil {
		return fmt.Errorf("data volume %s: change the owner to %s: %w", v.ID, v.Owner, err)
	}
	return nil
}

func chownTree(top string, uid, gid int) error {
	info, err := os.Stat(top)
	if err != nil {
		return err
	}
	old, ok := info.Sys().(*syscall.Stat_t)
	if !ok || (int(old.Uid) == uid && int(old.Gid) == gid) {
		return nil
	}
	if old.Uid != 0 { // root owns a new file system, in which lost+found stays root's
		err = filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || path == top {
				return err
			}
			return chownEntry(path, entry, old.Uid, uid, gid)
		})
		if err != nil {
			return err
		}
	}
	return os.Chown(top, uid, gid)
}

// chownEntry changes the owner of an entry of a former user id.
func chownEntry(path string, entry fs.DirEntry, oldUID uint32, uid, gid int) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid != oldUID {
		return nil
	}
	return os.Lchown(path, uid, gid)
}
