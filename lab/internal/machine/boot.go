//go:build linux

package machine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// container is a [Machine] that [Container] runs.
type container struct {
	kind  *Container
	spec  Spec
	group group
	ready chan struct{}
	done  chan struct{}

	mu      sync.Mutex // held while booting; guards the fields below
	cmd     *exec.Cmd
	exited  <-chan error // receives cmd's exit status
	leader  int          // pid of the machine's init on the host
	boots   int
	cut     bool // PowerCut was called
	volumes []attached
	err     error
	up      sync.Once // closes ready
}

func newContainer(c *Container, spec Spec, g group) *container {
	m := &container{kind: c, spec: spec, group: g, ready: make(chan struct{}), done: make(chan struct{})}
	for i, v := range spec.Volumes {
		m.volumes = append(m.volumes, attached{Volume: v, index: i + 1})
	}
	return m
}

// launch runs in its own mount namespace. It unmounts the network namespaces of other
// machines, which it would otherwise keep alive, replaces the cgroup mounts by the
// unified hierarchy that systemd-nspawn needs, and mounts the overlay. mount(8) is told
// to use mount(2): fsconfig(2) limits an option to 255 bytes.
const launch = `
for d in $LEGACY; do echo $$ >"$d/cgroup.procs"; done
for n in "${NETNS%/*}"/*; do [ "$n" = "$NETNS" ] || umount -l "$n" 2>/dev/null || :; done
umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
LIBMOUNT_FORCE_MOUNT2=always mount -t overlay -o "$OVERLAY" overlay "$ROOT"
exec systemd-nspawn "$@"`

// bootTimeout is the time limit for starting init, not for reaching multi-user.target.
const bootTimeout = 30 * time.Second

// boot boots the machine and returns once its init is running.
func (m *container) boot(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cut { // PowerCut was called during a reboot
		return ErrPowerCut
	}
	if err := m.makeDirs(); err != nil {
		return err
	}
	groupFile, err := m.group.create(m.spec.MemoryLimitBytes)
	if err != nil {
		return err
	}
	defer groupFile.Close()
	socket := filepath.Join(m.kind.runDir(m.spec.ID), "notify")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("listen for readiness (socket paths are limited to 107 bytes): %w", err)
	}
	console, err := os.OpenFile(m.kind.ConsoleLog(m.spec.ID), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return errors.Join(err, notify.Close())
	}
	defer console.Close()
	m.cmd = m.command(socket)
	m.cmd.Stdout, m.cmd.Stderr = console, console
	m.cmd.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: syscall.CLONE_NEWNS, Setsid: true, UseCgroupFD: true, CgroupFD: int(groupFile.Fd()),
	}
	if err := m.cmd.Start(); err != nil {
		return errors.Join(err, notify.Close())
	}
	m.boots++
	return m.awaitLeader(ctx, notify)
}

func (m *container) makeDirs() error {
	run, disk := m.kind.runDir(m.spec.ID), m.kind.diskDir(m.spec.ID)
	if err := os.RemoveAll(run); err != nil {
		return err
	}
	for _, d := range []string{filepath.Join(run, "root"), filepath.Join(run, "by-id"), filepath.Join(disk, "work")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := os.Mkdir(filepath.Join(disk, "upper"), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	for _, v := range m.volumes {
		if err := m.link(v); err != nil {
			return err
		}
	}
	// cloud-init uses IMDSv2 only if this file identifies the platform as EC2.
	return os.WriteFile(filepath.Join(run, "hypervisor-uuid"), []byte("ec2d0000-0000-0000-0000-000000000000\n"), 0o444)
}

// command returns the systemd-nspawn command of the machine.
func (m *container) command(socket string) *exec.Cmd {
	run, disk, id := m.kind.runDir(m.spec.ID), m.kind.diskDir(m.spec.ID), m.spec.ID
	root := filepath.Join(run, "root")
	args := []string{"--quiet", "--boot", "--directory=" + root, "--register=no", "--keep-unit",
		"--machine=" + id, "--hostname=" + m.spec.Hostname, "--uuid=" + uuid(id),
		"--network-namespace-path=" + m.spec.NetworkNamespace, "--capability=CAP_NET_ADMIN",
		"--notify-ready=yes", "--link-journal=no", "--resolv-conf=off", "--timezone=off", "--console=read-only",
		"--bind-ro=" + filepath.Join(run, "hypervisor-uuid") + ":/sys/hypervisor/uuid",
		"--bind-ro=" + filepath.Join(run, "by-id") + ":" + byID}
	if _, err := os.Stat("/dev/net/tun"); err == nil { // for wireguard-go
		args = append(args, "--bind=/dev/net/tun")
	}
	for _, v := range m.volumes {
		args = append(args, "--bind="+v.Device+":"+v.node())
	}
	cmd := exec.Command("sh", append([]string{"-ec", launch, "launch"}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "NOTIFY_SOCKET=" + socket,
		"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1", "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network",
		"NETNS=" + m.spec.NetworkNamespace, "ROOT=" + root,
		"LEGACY=" + strings.Join(m.group.legacy(), " "),
		fmt.Sprintf("OVERLAY=lowerdir=%s,upperdir=%s,workdir=%s", strings.Join(m.spec.Layers, ":"),
			filepath.Join(disk, "upper"), filepath.Join(disk, "work"))}
	return cmd
}

// uuid returns the machine-id for a disk without one. It is the same at each boot.
func uuid(id string) string {
	sum := sha256.Sum256([]byte(id))
	return fmt.Sprintf("%x", sum[:16])
}

// awaitLeader waits until systemd-nspawn has reported the pid of init, and keeps
// reading its notifications in the background for readiness.
func (m *container) awaitLeader(ctx context.Context, notify *net.UnixConn) error {
	leader := make(chan int, 1)
	go m.readNotifications(notify, leader)
	exited := make(chan error, 1)
	m.exited = exited
	go func(cmd *exec.Cmd) {
		err := cmd.Wait()
		exited <- errors.Join(err, notify.Close())
	}(m.cmd)
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	select {
	case m.leader = <-leader:
		return m.recordLeader()
	case err := <-exited:
		return fmt.Errorf("init was not started: %w: %s", err, m.consoleTail())
	case <-ctx.Done():
		return fmt.Errorf("init was not started: %w: %s", ctx.Err(), m.consoleTail())
	}
}

// recordLeader writes the pid of init to a file for Command, and applies throttles
// to the new control group.
func (m *container) recordLeader() error {
	for _, v := range m.volumes {
		if err := m.setThrottle(v, v.throttle); err != nil {
			return err
		}
	}
	path := filepath.Join(m.kind.runDir(m.spec.ID), "leader")
	return os.WriteFile(path, []byte(strconv.Itoa(m.leader)), 0o644)
}

func (m *container) readNotifications(notify *net.UnixConn, leader chan<- int) {
	buf := make([]byte, 4096)
	for {
		n, err := notify.Read(buf)
		if err != nil {
			return
		}
		for line := range bytes.Lines(buf[:n]) {
			key, value, _ := strings.Cut(strings.TrimSpace(string(line)), "=")
			switch key {
			case "X_NSPAWN_LEADER_PID":
				if pid, err := strconv.Atoi(value); err == nil {
					select {
					case leader <- pid:
					default:
					}
				}
			case "READY":
				m.up.Do(func() { close(m.ready) })
			}
		}
	}
}

// consoleTail returns the last output of the machine's console and of systemd-nspawn.
func (m *container) consoleTail() string {
	f, err := os.Open(m.kind.ConsoleLog(m.spec.ID))
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil {
		_, _ = f.Seek(max(0, info.Size()-1000), io.SeekStart)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}
