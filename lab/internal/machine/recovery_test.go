//go:build linux

package machine_test

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xeroops/xeroops/lab/internal/machine"
	"github.com/xeroops/xeroops/lab/internal/volume"
	"github.com/xeroops/xeroops/lab/internal/vpcnet"
)

// supervisorDir is the environment variable with the directory of TestSupervisor's lab.
const supervisorDir = "XEROOPS_TEST_LAB_DIR"

// TestSupervisor is the process that TestRemainsOfADeadSupervisorAreFoundAndRemoved
// kills.
func TestSupervisor(t *testing.T) {
	if os.Getenv(supervisorDir) == "" {
		t.Skip("runs only as a process of TestRemainsOfADeadSupervisorAreFoundAndRemoved")
	}
	f := newFixture(t, 2)
	spec := f.spec(1)
	spec.Volumes = []machine.Volume{f.volume("vol-0d", 16)}
	f.boot(spec)
	f.boot(f.spec(2))
	f.run("i-1", "sh", "-ec", "mkfs.ext4 -q /dev/nvme1n1; mkdir -p /data; mount /dev/nvme1n1 /data; echo kept >/data/file")
	fmt.Println("supervisor: up")
	select {}
}

func TestRemainsOfADeadSupervisorAreFoundAndRemoved(t *testing.T) {
	f := newFixture(t, 0) // only for its checks of tools, and to have the base image
	dir, err := os.MkdirTemp("", "lab")
	check(t, err)
	before := traces(t, dir)
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestSupervisor$", "-test.v")
	cmd.Env = append(os.Environ(), supervisorDir+"="+dir)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	var said []string
	for s := bufio.NewScanner(out); s.Scan() && !strings.Contains(s.Text(), "supervisor: up"); {
		said = append(said, s.Text())
	}
	check(t, cmd.Process.Kill())
	_ = cmd.Wait()

	f.kind = fixtureKind(dir)
	running, err := f.kind.Running()
	check(t, err)
	if len(running) != 2 {
		t.Fatalf("running: %v, want both machines of the dead supervisor, which said %v", running, said)
	}
	if _, err := f.kind.Start(context.Background(), f.spec(1)); err == nil || !strings.Contains(err.Error(), "call Clean first") {
		t.Errorf("starting a machine of the dead supervisor: %v", err)
	}
	if got := f.run("i-1", "cat", "/data/file"); got != "kept" {
		t.Errorf("file in the machine of a dead supervisor: %q", got)
	}
	check(t, f.kind.Clean())
	check(t, f.kind.Clean())
	volumes, err := volume.NewStore(filepath.Join(dir, "volumes"))
	check(t, err)
	check(t, volumes.DetachAll())
	check(t, vpcnet.Remove(filepath.Join(dir, "net")))
	check(t, vpcnet.Remove(filepath.Join(dir, "net")))
	check(t, os.RemoveAll(dir))
	if after := traces(t, dir); after != before {
		t.Errorf("left behind:\n%s\nbefore there was:\n%s", after, before)
	}
}

// traces lists what a lab in dir has on the host: mounts, loop devices, control groups
// and processes. The rest of the host may change during a test.
func traces(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	note := func(kind, text string) {
		if strings.Contains(text, filepath.Base(dir)) {
			fmt.Fprintln(&out, kind, text)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	check(t, err)
	for line := range strings.Lines(string(mounts)) {
		note("mount", line)
	}
	loops, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, l := range loops {
		b, _ := os.ReadFile(l)
		note("loop", string(b))
	}
	check(t, filepath.WalkDir("/sys/fs/cgroup", func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			note("cgroup", p)
		}
		return nil // groups may disappear during the walk
	}))
	processes, _ := filepath.Glob("/proc/[0-9]*/cgroup")
	for _, p := range processes {
		groups, _ := os.ReadFile(p)
		args, _ := os.ReadFile(strings.TrimSuffix(p, "cgroup") + "cmdline")
		if len(args) == 0 { // a zombie, until the host's init reaps it
			continue
		}
		note("process", p+" "+string(groups)+string(args))
	}
	return out.String()
}
