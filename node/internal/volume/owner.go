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

// give makes everything on the volume the owner's. Ids of system users differ
// from image to image, and a volume outlives its instance: what belonged to
// the owner's old ids goes to the new ones. The top folder comes last, so that
// what was interrupted is done again.
func (v Volume) give() error {
	if v.Owner == "" {
		return nil
	}
	owner, err := user.Lookup(v.Owner)
	if err != nil {
		return fmt.Errorf("data volume %s: %w; the role's package makes that user", v.ID, err)
	}
	uid, err := strconv.Atoi(owner.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(owner.Gid)
	if err != nil {
		return err
	}
	if err := chown(v.Where, uid, gid); err != nil {
		return fmt.Errorf("data volume %s: give it to %s: %w", v.ID, v.Owner, err)
	}
	return nil
}

func chown(top string, uid, gid int) error {
	info, err := os.Stat(top)
	if err != nil {
		return err
	}
	was, ok := info.Sys().(*syscall.Stat_t)
	if !ok || (int(was.Uid) == uid && int(was.Gid) == gid) {
		return nil
	}
	if was.Uid != 0 { // root's: newly formatted, and lost+found is to stay root's
		err = filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || path == top {
				return err
			}
			return chownOf(path, entry, was, uid, gid)
		})
		if err != nil {
			return err
		}
	}
	return os.Chown(top, uid, gid)
}

func chownOf(path string, entry fs.DirEntry, was *syscall.Stat_t, uid, gid int) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	is, ok := info.Sys().(*syscall.Stat_t)
	if !ok || is.Uid != was.Uid {
		return nil
	}
	return os.Lchown(path, uid, gid)
}
