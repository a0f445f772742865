//go:build linux

package machine

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const byID = "/dev/disk/by-id"

func (v Volume) linkName() string {
	return "nvme-Amazon_Elastic_Block_Store_" + strings.Replace(v.ID, "-", "", 1)
}

// attached is a volume of a running machine, with a device node /dev/nvmeINDEXn1 and a
// link to it, as on EC2's Nitro instances. There, index 0 is the root volume.
type attached struct {
	Volume
	index    int
	throttle Throttle
}

func (a attached) node() string { return fmt.Sprintf("/dev/nvme%dn1", a.index) }

// link creates the link in the directory that the machine has as /dev/disk/by-id.
func (m *container) link(v attached) error {
	path := filepath.Join(m.kind.runDir(m.spec.ID), "by-id", v.linkName())
	if err := os.Remove(path); ignoreNotExist(err) != nil {
		return err
	}
	return os.Symlink("../.."+strings.TrimPrefix(v.node(), "/dev"), path)
}

func (m *container) find(volumeID string) int {
	return slices.IndexFunc(m.volumes, func(a attached) bool { return a.ID == volumeID })
}

// freeIndex returns the lowest unused index.
func (m *container) freeIndex() int {
	for i := 1; ; i++ {
		if !slices.ContainsFunc(m.volumes, func(a attached) bool { return a.index == i }) {
			return i
		}
	}
}

func (m *container) Attach(v Volume) error {
	return m.whileOn("attach volume "+v.ID+" to", func() error {
		if m.find(v.ID) >= 0 {
			return nil
		}
		a := attached{Volume: v, index: m.freeIndex()}
		if err := m.makeNode(a); err != nil {
			return err
		}
		if err := m.link(a); err != nil {
			return err
		}
		m.volumes = append(m.volumes, a)
		return nil
	})
}

// diskGID is Debian's group "disk", which owns block devices.
const diskGID = 6

// makeNode creates the device node through /proc/PID/root, without entering the
// machine's namespaces.
func (m *container) makeNode(a attached) error {
	var st unix.Stat_t
	if err := unix.Stat(a.Device, &st); err != nil {
		return fmt.Errorf("%s: %w", a.Device, err)
	}
	path := m.hostPath(a.node())
	if err := unix.Unlink(path); ignoreNotExist(err) != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := unix.Mknod(path, unix.S_IFBLK|0o660, int(st.Rdev)); err != nil {
		return fmt.Errorf("make node %s: %w", path, err)
	}
	return os.Lchown(path, 0, diskGID)
}

func (m *container) hostPath(path string) string {
	return filepath.Join("/proc", strconv.Itoa(m.leader), "root", path)
}

func (m *container) Detach(volumeID string, force bool) error {
	return m.whileOn("detach volume "+volumeID+" from", func() error {
		i := m.find(volumeID)
		if i < 0 {
			return nil
		}
		v := m.volumes[i]
		mounts, err := m.mountsOf(v)
		if err != nil {
			return err
		}
		if len(mounts) > 0 && !force {
			return fmt.Errorf("%w on %s", ErrVolumeInUse, strings.Join(mounts, ", "))
		}
		// Command would join the machine's control group and hang if it is frozen. A
		// node that was attached at boot is a bind mount.
		const script = `for m in "$@"; do umount --lazy "$m"; done
while umount "$0" 2>/dev/null; do :; done
rm -f "$0"`
		args := inside(m.leader, append([]string{"sh", "-ec", script, v.node()}, mounts...)...)
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("remove its node: %w: %s", err, out)
		}
		link := filepath.Join(m.kind.runDir(m.spec.ID), "by-id", v.linkName())
		m.volumes = slices.Delete(m.volumes, i, i+1)
		return errors.Join(m.setThrottle(v, Throttle{}), ignoreNotExist(os.Remove(link)))
	})
}

// mountsOf returns the mount points of the volume in the machine.
func (m *container) mountsOf(v attached) ([]string, error) {
	number, err := majorMinor(v.Device)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/mountinfo", m.leader))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var mounts []string
	s := bufio.NewScanner(f)
	for s.Scan() {
		// See proc_pid_mountinfo(5): the third field is the device, the fifth where.
		if field := strings.Fields(s.Text()); len(field) > 4 && field[2] == number {
			mounts = append(mounts, field[4])
		}
	}
	return mounts, s.Err()
}

func majorMinor(device string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(device, &st); err != nil {
		return "", fmt.Errorf("%s: %w", device, err)
	}
	return fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev)), nil
}

func (m *container) Throttle(volumeID string, t Throttle) error {
	return m.whileOn("throttle volume "+volumeID+" of", func() error {
		i := m.find(volumeID)
		if i < 0 {
			return errors.New("volume is not attached")
		}
		if err := m.setThrottle(m.volumes[i], t); err != nil {
			return err
		}
		m.volumes[i].throttle = t
		return nil
	})
}

// setThrottle sets the limit t for a volume whose last limit is v.throttle. A reboot
// loses limits together with the control group.
func (m *container) setThrottle(v attached, t Throttle) error {
	if v.throttle == (Throttle{}) && t == (Throttle{}) {
		return nil
	}
	number, err := majorMinor(v.Device)
	if err != nil {
		return err
	}
	return m.group.throttle(number, t)
}
