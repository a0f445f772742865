//go:build linux

package machine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/xeroops/xeroops/lab/internal/baseimage"
	"github.com/xeroops/xeroops/lab/internal/machine"
)

func TestMachineBootsLikeAnEC2InstanceAndPowersItselfOff(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1)
	f.userData = "#cloud-config\nwrite_files: [{path: /etc/from-user-data, content: hello}]\n"
	m := f.boot(f.spec(1))
	if got := f.run("i-1", "systemctl", "is-system-running"); got != "running" {
		t.Errorf("system is %s: %s", got, f.run("i-1", "systemctl", "--failed"))
	}
	for want, args := range map[string][]string{
		"ip-10-0-2-11":   {"hostname"},
		"hello":          {"cat", "/etc/from-user-data"},
		"i-1":            {"cloud-init", "query", "instance_id"},
		"10.0.2.11/24":   {"ip", "-brief", "address", "show", "eth0"},
		"uid=":           {"id", "admin"},
		"NOPASSWD":       {"sudo", "-l", "-U", "admin"},
		"ssh-ed25519":    {"cat", "/etc/ssh/ssh_host_ed25519_key.pub"},
		"status: done":   {"cloud-init", "status"},
		"bin:/sbin:":     {"sh", "-c", "echo $PATH:"},
		"lo eth0":        {"sh", "-c", "cd /sys/class/net; echo lo $(ls -d e*)"},
		"/ overlay":      {"findmnt", "-n", "-o", "TARGET,FSTYPE", "/"},
		"0::/":           {"cat", "/proc/1/cgroup"},
		"is not found\n": {"sh", "-c", "getent hosts absent.example || echo is not found; echo"},
	} {
		if got := strings.Join(strings.Fields(f.run("i-1", args...)), " "); !strings.Contains(got+"\n", strings.TrimSpace(want)) {
			t.Errorf("%v says %q, want %q in it", args, got, want)
		}
	}
	f.run("i-1", "systemctl", "poweroff")
	f.await("power-off", m.Done())
	check(t, m.Err())
	if _, err := f.try("i-1", "true"); !errors.Is(err, machine.ErrNotRunning) {
		t.Errorf("command in a machine that is off: %v", err)
	}
	if err := m.PowerCut(); !errors.Is(err, machine.ErrNotRunning) {
		t.Errorf("power cut of a machine that is off: %v", err)
	}
}

func TestPowerCutKillsAllProcessesAndKeepsTheDisk(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1)
	m := f.boot(f.spec(1))
	f.run("i-1", "sh", "-c", "echo kept > /root/file; systemd-run --quiet sleep infinity")
	start := time.Now()
	check(t, m.PowerCut())
	t.Logf("power cut in %s", time.Since(start))
	if !errors.Is(m.Err(), machine.ErrPowerCut) {
		t.Errorf("off because of %v", m.Err())
	}
	m = f.boot(f.spec(1))
	if got := f.run("i-1", "cat", "/root/file"); got != "kept" {
		t.Errorf("file has %q after a power cut", got)
	}
	// The journal of the interrupted boot was not closed.
	if got := f.run("i-1", "journalctl", "--list-boots", "--quiet"); len(strings.Split(got, "\n")) != 2 {
		t.Errorf("boots in the journal: %s", got)
	}
	f.powerOff(m)
}

func TestRebootKeepsVolumes(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1)
	m := f.boot(f.spec(1))
	check(t, m.Attach(f.volume("vol-01", 16)))
	// An open session must not keep nsenter, and so the machine, from ending.
	open, err := f.kind.Command(context.Background(), "i-1", "sleep", "infinity")
	check(t, err)
	check(t, open.Start())
	bootID := f.run("i-1", "cat", "/proc/sys/kernel/random/boot_id")
	check(t, m.Reboot())
	eventually(t, func() error {
		out, err := f.try("i-1", "sh", "-c", "systemctl is-system-running --wait; cat /proc/sys/kernel/random/boot_id")
		if err != nil || !strings.HasPrefix(out, "running") || strings.HasSuffix(out, bootID) {
			return fmt.Errorf("%w for the reboot: %w %s", errWaiting, err, out)
		}
		return nil
	})
	if err := open.Wait(); err == nil {
		t.Error("a session outlived a reboot")
	}
	if m.Boots() != 2 {
		t.Errorf("%d boots, want 2", m.Boots())
	}
	f.run("i-1", "test", "-b", "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol01")
	// The machine reboots itself.
	f.run("i-1", "systemctl", "reboot")
	eventually(t, func() error {
		if m.Boots() != 3 {
			return fmt.Errorf("%w: %d boots, want 3", errWaiting, m.Boots())
		}
		return nil
	})
	check(t, m.PowerCut())
}

func (f *fixture) volume(id string, mib int64) machine.Volume {
	f.t.Helper()
	check(f.t, f.volumes.Create(id, mib<<20))
	device, err := f.volumes.Attach(id)
	check(f.t, err)
	return machine.Volume{ID: id, Device: device}
}

func TestVolumeIsAttachedWhileRunningAndAcrossBoots(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1)
	first, second := f.volume("vol-0a", 16), f.volume("vol-0b", 32)
	spec := f.spec(1)
	spec.Volumes = []machine.Volume{first}
	m := f.boot(spec)
	f.run("i-1", "sh", "-ec", "mkfs.ext4 -q "+first.Link()+"; mkdir /data; mount "+first.Link()+" /data; echo kept >/data/file")
	start := time.Now()
	check(t, m.Attach(second))
	check(t, m.Attach(second))
	t.Logf("attached in %s", time.Since(start))
	for link, bytes := range map[string]string{first.Link(): "16777216", second.Link(): "33554432"} {
		if got := f.run("i-1", "blockdev", "--getsize64", link); got != bytes {
			t.Errorf("%s has %s bytes, want %s", link, got, bytes)
		}
	}
	if got := f.run("i-1", "readlink", "-f", second.Link()); got != "/dev/nvme2n1" {
		t.Errorf("the second volume is %s", got)
	}
	check(t, f.volumes.Grow("vol-0b", 64<<20))
	if got := f.run("i-1", "blockdev", "--getsize64", second.Link()); got != "67108864" {
		t.Errorf("grown volume has %s bytes", got)
	}
	if err := m.Detach("vol-0a", false); !errors.Is(err, machine.ErrVolumeInUse) || !strings.Contains(err.Error(), "/data") {
		t.Errorf("detaching a mounted volume: %v", err)
	}
	check(t, m.Detach("vol-0b", false))
	f.run("i-1", "sh", "-c", "! ls /dev/nvme2n1 "+second.Link()+" 2>/dev/null")
	check(t, f.volumes.Detach("vol-0b"))
	check(t, m.PowerCut())

	m = f.boot(spec)
	f.run("i-1", "mount", first.Link(), "/data")
	if got := f.run("i-1", "cat", "/data/file"); got != "kept" {
		t.Errorf("volume has %q after a power cut", got)
	}
	check(t, m.Detach("vol-0a", true))
	f.run("i-1", "sh", "-c", "! findmnt /data && ! ls /dev/nvme1n1 2>/dev/null")
	check(t, f.volumes.Detach("vol-0a"))
	f.powerOff(m)
}

func TestThrottledVolumeIsSlowOrStalledUntilLifted(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1)
	v := f.volume("vol-0c", 16)
	spec := f.spec(1)
	spec.Volumes = []machine.Volume{v}
	m := f.boot(spec)
	write := func(kib int) *exec.Cmd {
		cmd, err := f.kind.Command(context.Background(), "i-1", "dd", "if=/dev/zero", "of="+v.Link(),
			"bs=4k", fmt.Sprint("count=", kib/4), "oflag=direct", "status=none")
		check(t, err)
		return cmd
	}
	timed := func() time.Duration {
		start := time.Now()
		check(t, write(1024).Run())
		return time.Since(start)
	}
	fast := timed()
	needController(t, m.Throttle(v.ID, machine.Throttle{BytesPerSecond: 256 << 10}))
	if slow := timed(); slow < 2*time.Second {
		t.Errorf("1 MiB at 256 KiB/s took %s", slow)
	}
	check(t, m.Throttle(v.ID, machine.Throttle{}))
	eventually(t, func() error {
		if again := timed(); again > 2*time.Second {
			return fmt.Errorf("1 MiB took %s after the limit was lifted, %s before", again, fast)
		}
		return nil
	})

	stalledWrite := func() <-chan struct{} {
		check(t, m.Throttle(v.ID, machine.Stall))
		cmd := write(4)
		check(t, cmd.Start())
		done := make(chan struct{})
		go func() { _ = cmd.Wait(); close(done) }()
		select {
		case <-done:
			t.Error("a write to a stalled volume returned")
		case <-time.After(time.Second):
		}
		return done
	}
	done := stalledWrite()
	check(t, m.Throttle(v.ID, machine.Throttle{}))
	f.await("the write to return", done)
	// A process that waits for a stalled volume must not keep the machine from ending.
	done = stalledWrite()
	check(t, m.PowerCut())
	f.await("the write to end with the machine", done)
}

// needController skips the test if the host lacks the control group controller.
func needController(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, os.ErrNotExist) {
		t.Skip(err)
	}
	check(t, err)
}

func TestFreezeSuspendsAllProcessesUntilThaw(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1)
	m := f.boot(f.spec(1))
	f.run("i-1", "systemd-run", "--quiet", "sh", "-c", "while :; do date +%s%N >/run/tick; sleep 0.01; done")
	tick := func() string {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%s/root/run/tick", f.leader("i-1")))
		return string(b)
	}
	moves := func() error {
		was := tick()
		for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			if tick() != was {
				return nil
			}
		}
		return fmt.Errorf("%w for a tick", errWaiting)
	}
	eventually(t, moves)
	check(t, m.Freeze())
	if err := moves(); err == nil {
		t.Error("a frozen machine ticks")
	}
	check(t, m.Thaw())
	eventually(t, moves)
	check(t, m.Freeze())
	check(t, m.PowerCut())
}

func (f *fixture) leader(id string) string {
	b, err := os.ReadFile(filepath.Join(f.kind.RunDir, "machines", id, "leader"))
	check(f.t, err)
	return strings.TrimSpace(string(b))
}

func TestImageOfAMachineBootsAnother(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 2)
	images, err := baseimage.NewStore(filepath.Join(f.kind.StateDir, "images"))
	check(t, err)
	below := f.layers
	// An image of an image: the first adds files, the second removes some.
	for i, change := range []string{"echo one >/etc/one; echo two >/etc/two", "rm /etc/two /usr/bin/less; rm -r /var/lib/apt; mkdir /var/lib/apt"} {
		spec := f.spec(1)
		spec.Layers = below
		m := f.boot(spec)
		f.run("i-1", "sh", "-ec", change)
		if err := f.kind.Capture(context.Background(), "i-1", filepath.Join(f.kind.StateDir, "x")); err == nil || !strings.Contains(err.Error(), "must be off") {
			t.Errorf("capture of a running machine: %v", err)
		}
		f.powerOff(m)
		ami := fmt.Sprintf("ami-%d", i)
		check(t, images.Add(ami, below, func(layer string) error {
			return f.kind.Capture(context.Background(), "i-1", layer)
		}))
		check(t, f.kind.Delete("i-1"))
		below, err = images.Layers(ami)
		check(t, err)
	}
	spec := f.spec(2)
	spec.Layers = below
	m := f.boot(spec)
	if got := f.run("i-2", "sh", "-c", "cat /etc/one; ls /etc/two /usr/bin/less /var/lib/apt/lists 2>/dev/null; cloud-init query instance_id"); got != "one\ni-2" {
		t.Errorf("machine of the image says %q", got)
	}
	if got := f.run("i-2", "hostname"); !strings.HasPrefix(got, "ip-10-0-2-12") {
		t.Errorf("machine of the image is called %s", got)
	}
	f.powerOff(m)
}

func TestFailedBootReportsTheReasonAndLeavesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1)
	spec := f.spec(1)
	spec.Layers = []string{t.TempDir()}
	if _, err := f.kind.Start(context.Background(), spec); err == nil || !strings.Contains(err.Error(), "init was not started") {
		t.Errorf("booting an empty tree: %v", err)
	}
	running, err := f.kind.Running()
	check(t, err)
	if len(running) > 0 {
		t.Errorf("running: %v", running)
	}
	m := f.boot(f.spec(1))
	if _, err := f.kind.Start(context.Background(), f.spec(1)); err == nil || !strings.Contains(err.Error(), "is running already") {
		t.Errorf("starting a running machine: %v", err)
	}
	f.powerOff(m)
}

func TestMemoryLimitHolds(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1)
	spec := f.spec(1)
	spec.MemoryLimitBytes = 128 << 20
	m, err := f.kind.Start(context.Background(), spec)
	needController(t, err)
	f.await("machine to be up", m.Ready())
	if out, err := f.try("i-1", "systemd-run", "--quiet", "--wait", "python3", "-c", "x = bytearray(256 << 20)"); err == nil {
		t.Errorf("256 MiB fit into 128: %s", out)
	}
	f.powerOff(m)
}

func TestSevenMachinesBootAndUseLittleMemory(t *testing.T) {
	const count, maxBytes = 7, 30 << 20
	f := newFixture(t, count)
	start := time.Now()
	var machines []machine.Machine
	for i := 1; i <= count; i++ {
		machines = append(machines, f.start(f.spec(i)))
	}
	for _, m := range machines {
		f.await(m.ID(), m.Ready())
	}
	t.Logf("%d machines ready after %s", count, time.Since(start))
	for _, m := range machines {
		var used int64
		eventually(t, func() (err error) { // cloud-init is about to end
			if used, err = m.MemoryBytes(); err == nil && used > maxBytes {
				err = fmt.Errorf("%w: %s uses %d MiB", errWaiting, m.ID(), used>>20)
			}
			return err
		})
		disk, err := exec.Command("du", "-sk", filepath.Join(f.kind.StateDir, "machines", m.ID())).Output()
		check(t, err)
		kib, _ := strconv.Atoi(strings.Fields(string(disk))[0])
		t.Logf("%s: %d MiB of memory, %d MiB of disk", m.ID(), used>>20, kib>>10)
	}
	for _, m := range machines {
		go func() { _ = m.PowerCut() }()
	}
	for _, m := range machines {
		f.await(m.ID()+" to be off", m.Done())
	}
}
