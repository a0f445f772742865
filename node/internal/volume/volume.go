// Package volume mounts a node's EBS data volume: it finds the device by its volume id,
// formats it only if it is blank, checks the file system, grows it with the volume and
// mounts it through a systemd mount unit. It never destroys data: a damaged or foreign
// file system is an error that an operator has to resolve.
package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/coreos/go-systemd/v22/unit"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/node/internal/atomicfile"
	"github.com/xeroops/xeroops/node/internal/systemd"
)

// ErrNotAttached reports that the volume's device does not exist (yet).
var ErrNotAttached = errors.New("the volume is not attached")

// Volume is a data volume and its mount point.
type Volume struct {
	ID    string   // vol-…
	Where string   // mount point
	Owner string   // user who owns everything on it; "" if there are several
	Users []string // units that use it and stop before it is unmounted

	Links string // directory of udev's links by id, usually ByID
	Units string // directory of unit files, usually RuntimeUnits
}

// ByID is the directory in which udev links devices by their ids.
const ByID = "/dev/disk/by-id"

// RuntimeUnits is the directory of unit files that do not outlive a boot.
const RuntimeUnits = "/run/systemd/system"

// Of returns the data volume of a node of the role.
func Of(role cluster.Role, id string) Volume {
	v := Volume{ID: id, Where: "/srv/data", Links: ByID, Units: RuntimeUnits}
	if role == cluster.RoleDB {
		v.Where, v.Owner = "/var/lib/postgresql", "postgres"
	}
	for _, s := range cluster.ServicesOf(role) {
		if s.Name != "sshd" {
			v.Users = append(v.Users, s.Unit)
		}
	}
	return v
}

// Unit returns the name of the volume's mount unit.
func (v Volume) Unit() string { return unit.UnitNamePathEscape(v.Where) + ".mount" }

// link returns the path at which udev links the volume's NVMe device on a Nitro instance.
func (v Volume) link() string {
	return filepath.Join(v.Links, "nvme-Amazon_Elastic_Block_Store_"+strings.ReplaceAll(v.ID, "-", ""))
}

// Device returns the path of the volume's device. The error is [ErrNotAttached] while
// there is none.
func (v Volume) Device() (string, error) {
	device, err := filepath.EvalSymlinks(v.link())
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("data volume %s: %w: %s does not exist", v.ID, ErrNotAttached, v.link())
	}
	if err != nil {
		return "", fmt.Errorf("data volume %s: %w", v.ID, err)
	}
	return device, nil
}

// Mount prepares and mounts the volume. It may be called again at any time.
func (v Volume) Mount(ctx context.Context, conn *systemd.Conn) error {
	device, err := v.Device()
	if err != nil {
		return err
	}
	mounted, err := v.isMounted(device)
	if err != nil {
		return err
	}
	if !mounted {
		if err := Prepare(ctx, device); err != nil {
			return fmt.Errorf("data volume %s: %w", v.ID, err)
		}
	}
	changed, err := v.writeUnit()
	if err != nil {
		return err
	}
	if changed {
		if err := conn.Reload(ctx); err != nil {
			return err
		}
	}
	if err := conn.Start(ctx, v.Unit()); err != nil {
		return fmt.Errorf("mount data volume %s: %w", v.ID, err)
	}
	return v.chown()
}

// isMounted reports whether the device is mounted at the mount point. Another device
// there is an error.
func (v Volume) isMounted(device string) (bool, error) {
	m, found, err := mountAt(v.Where)
	if err != nil || !found {
		return false, err
	}
	number, err := deviceNumber(device)
	if err != nil {
		return false, err
	}
	if m.device != number {
		return false, fmt.Errorf("data volume %s: %s is already mounted on %s; unmount it, or configure another data volume", v.ID, m.source, v.Where)
	}
	return true, nil
}

// writeUnit writes the mount unit. Its options refuse device files and setuid programs,
// since the volume may come from elsewhere, and stop writing to it after an error.
func (v Volume) writeUnit() (changed bool, err error) {
	text := fmt.Sprintf(`# Written by xeroops-node boot.
[Unit]
Description=Data volume %s
Before=%s

[Mount]
What=%s
Where=%s
Type=ext4
Options=noatime,nodev,nosuid,errors=remount-ro
`, v.ID, strings.Join(v.Users, " "), v.link(), v.Where)
	return atomicfile.WriteFile(filepath.Join(v.Units, v.Unit()), []byte(text), 0o644)
}

// Check returns an error if the volume is not mounted or can no longer be used.
func (v Volume) Check() error {
	m, found, err := mountAt(v.Where)
	switch {
	case err != nil:
		return err
	case !found:
		return fmt.Errorf("data volume %s is not mounted on %s", v.ID, v.Where)
	case m.readOnly:
		return fmt.Errorf("data volume %s has become read-only after an error; see the kernel's log, check the volume, and reboot", v.ID)
	}
	_, err = os.Stat(v.Where)
	return err
}
