// Package volume brings a node's EBS data volume into place: it is found by its
// volume id, formatted only if it is blank, checked, grown with the volume and
// mounted by a systemd mount unit. What is on a volume is never lost here: a
// file system that is damaged, or another's, is an error for a person to judge.
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

// ErrNotAttached is that the volume's device is not there (yet).
var ErrNotAttached = errors.New("the volume is not attached")

// Volume is a data volume and its place on the node.
type Volume struct {
	ID    string   // vol-…
	Where string   // mount point
	Owner string   // user to whom everything on it belongs; "" where it has several
	For   []string // units that use it: they stop before it is unmounted

	// Links is the folder of udev's links by id, ByID by default; Units that of
	// unit files, RuntimeUnits by default.
	Links, Units string
}

// ByID is where udev links devices by their ids.
const ByID = "/dev/disk/by-id"

// RuntimeUnits is where unit files lie that are made anew at each boot.
const RuntimeUnits = "/run/systemd/system"

// Of returns the data volume of a node of the role.
func Of(role cluster.Role, id string) Volume {
	v := Volume{ID: id, Where: "/srv/data", Links: ByID, Units: RuntimeUnits}
	if role == cluster.RoleDB {
		v.Where, v.Owner = "/var/lib/postgresql", "postgres"
	}
	for _, s := range cluster.ServicesOf(role) {
		if s.Name != "sshd" {
			v.For = append(v.For, s.Unit)
		}
	}
	return v
}

// Unit is the name of its mount unit.
func (v Volume) Unit() string { return unit.UnitNamePathEscape(v.Where) + ".mount" }

// link is the name that Nitro instances give a volume's NVMe device.
func (v Volume) link() string {
	return filepath.Join(v.Links, "nvme-Amazon_Elastic_Block_Store_"+strings.ReplaceAll(v.ID, "-", ""))
}

// Device returns the path of its device, or an error that is [ErrNotAttached].
func (v Volume) Device() (string, error) {
	device, err := filepath.EvalSymlinks(v.link())
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("data volume %s: %w: there is no %s", v.ID, ErrNotAttached, v.link())
	}
	if err != nil {
		return "", fmt.Errorf("data volume %s: %w", v.ID, err)
	}
	return device, nil
}

// Mount brings the volume into place. It may be called again at any time.
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
	return v.give()
}

// isMounted says whether the device is mounted in its place already. A place
// where something else is mounted is an error.
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
		return false, fmt.Errorf("data volume %s: %s is mounted on %s already; unmount it, or give the node another data volume", v.ID, m.source, v.Where)
	}
	return true, nil
}

// writeUnit writes the mount unit. Options: no device files and no setuid
// programs on a volume that may come from elsewhere; after an error nothing
// more is written to it.
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
`, v.ID, strings.Join(v.For, " "), v.link(), v.Where)
	return atomicfile.WriteFile(filepath.Join(v.Units, v.Unit()), []byte(text), 0o644)
}

// Trouble says what is wrong with the volume while it is in use, or "".
func (v Volume) Trouble() string {
	m, found, err := mountAt(v.Where)
	switch {
	case err != nil:
		return err.Error()
	case !found:
		return fmt.Sprintf("data volume %s is not mounted on %s", v.ID, v.Where)
	case m.readOnly:
		return fmt.Sprintf("data volume %s has become read-only after an error; see the kernel's log, check the volume, and reboot", v.ID)
	}
	if _, err := os.Stat(v.Where); err != nil {
		return err.Error()
	}
	return ""
}
