//go:build linux

package labtest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/lab/internal/supervisor"
)

// TestDownLeavesTheHostAsItWas searches the host for traces of a lab while it is
// running and after down: of a running lab, of one whose supervisor was killed, and of
// one that was started again after that.
func TestDownLeavesTheHostAsItWas(t *testing.T) {
	l := newLab(t)
	if left := l.traces(); len(left) > 0 {
		t.Fatalf("before up there is: %v", left)
	}
	l.up()
	l.newVPC().launch("one", moto.BaseImageID)
	found := l.traces()
	for _, kind := range []string{"process", "mount", "cgroup", "directory"} {
		if !slices.ContainsFunc(found, func(trace string) bool { return strings.HasPrefix(trace, kind) }) {
			t.Errorf("no %s of the running lab was found: traces is broken", kind)
		}
	}
	spaces := l.namespaces()
	if len(spaces) < 3 {
		t.Errorf("the running lab's processes have only the namespaces %v", spaces)
	}

	l.kill()
	if _, err := l.try("status"); exitCode(err) != 3 {
		t.Errorf("status of a killed lab: exit code %d, want 3", exitCode(err))
	}
	out := l.run("up", fmt.Sprintf("--port=%d", l.config.Port))
	if !strings.Contains(out, "whose supervisor died") {
		t.Errorf("up does not report that the supervisor died: %s", out)
	}
	if all := l.status(); len(all) > 0 {
		t.Errorf("the new lab has instances: %v", all)
	}
	l.gone(spaces)

	l.newVPC().launch("two", moto.BaseImageID)
	l.run("exec", "--", "sh", "-c", "setsid sleep 600 >/dev/null 2>&1 </dev/null &") // ends with the lab
	spaces = l.namespaces()
	l.kill()
	l.run("down")
	l.gone(spaces)
	l.nothingIsLeft()

	l.up()
	l.newVPC().launch("three", moto.BaseImageID)
	l.run("exec", "--", "sh", "-c", "setsid sleep 600 >/dev/null 2>&1 </dev/null &")
	spaces = l.namespaces()
	l.run("down")
	l.gone(spaces)
	l.nothingIsLeft()
	l.run("down") // without a lab is not an error
}

// kill kills the supervisor, as the OOM killer would, and waits until it is gone.
func (l *lab) kill() {
	l.t.Helper()
	state, err := supervisor.NewClient(l.config).State(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	if err := syscall.Kill(state.PID, syscall.SIGKILL); err != nil {
		l.t.Fatal(err)
	}
	l.until("the supervisor is gone", 30*time.Second, func() (bool, string) {
		_, err := supervisor.NewClient(l.config).State(l.t.Context())
		return errors.Is(err, supervisor.ErrDown), fmt.Sprint(err)
	})
}

func (l *lab) cgroup() string { return l.config.Kind().CgroupName }

// traces lists what the host has of the lab: processes, mounts, loop devices, control
// groups and directories. The rest of the host may change during the test.
func (l *lab) traces() []string {
	l.t.Helper()
	var found []string
	for _, pid := range l.processes() {
		command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // it may have ended
		found = append(found, fmt.Sprintf("process %d: %s", pid, strings.ReplaceAll(string(command), "\x00", " ")))
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(l.t, err)
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, "/"+l.name+"/") {
			found = append(found, "mount "+strings.TrimSpace(line))
		}
	}
	loops, err := exec.Command("losetup", "--list", "--noheadings", "--output=NAME,BACK-FILE").Output()
	must(l.t, err)
	for line := range strings.Lines(string(loops)) {
		if strings.Contains(line, "/"+l.name+"/") {
			found = append(found, "loop device "+strings.TrimSpace(line))
		}
	}
	for kind, pattern := range map[string]string{
		"cgroup": "/sys/fs/cgroup/*/" + l.cgroup(), "cgroup of a host without v1": "/sys/fs/cgroup/" + l.cgroup(), "directory": "/*/xeroops-lab/" + l.name, "state directory": "/var/lib/xeroops-lab/" + l.name,
		"file": "/run/xeroops-lab/" + l.name + ".*",
	} {
		dirs, err := filepath.Glob(pattern)
		must(l.t, err)
		for _, dir := range dirs {
			found = append(found, kind+" "+dir)
		}
	}
	return found
}

// processes returns the pids of the lab's processes: those in its control group, and
// those with its name on the command line or its directory in TMPDIR. It ignores
// zombies, which have no command line and may stay until the host's init reaps them.
func (l *lab) processes() []int {
	l.t.Helper()
	var pids []int
	entries, err := filepath.Glob("/proc/[0-9]*")
	must(l.t, err)
	for _, dir := range entries {
		pid, err := strconv.Atoi(filepath.Base(dir))
		command := readOrNothing(dir + "/cmdline")
		if err != nil || command == "" || pid == os.Getpid() || strings.HasPrefix(readOrNothing(dir+"/comm"), "labtest") {
			continue
		}
		if strings.Contains(readOrNothing(dir+"/cgroup"), "/"+l.cgroup()+"/") ||
			slices.Contains(strings.Split(command, "\x00"), "--name="+l.name) ||
			slices.Contains(strings.Split(readOrNothing(dir+"/environ"), "\x00"), "TMPDIR="+l.config.StateDir()) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func readOrNothing(path string) string {
	content, _ := os.ReadFile(path) // fails if the process has ended
	return string(content)
}

// namespaces returns the network, mount and PID namespaces of the lab's processes,
// except the host's.
func (l *lab) namespaces() []string {
	l.t.Helper()
	var all []string
	for _, kind := range []string{"net", "mnt", "pid"} {
		host, err := os.Readlink("/proc/self/ns/" + kind)
		must(l.t, err)
		for _, pid := range l.processes() {
			space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
			if err == nil && space != host && !slices.Contains(all, space) {
				all = append(all, space)
			}
		}
	}
	return all
}

// gone waits until no process of the host is in one of the namespaces. Zombies stay in
// theirs until the host's init reaps them.
func (l *lab) gone(spaces []string) {
	l.t.Helper()
	l.until("no process is in the lab's namespaces", 30*time.Second, func() (bool, string) {
		links, err := filepath.Glob("/proc/[0-9]*/ns/*")
		must(l.t, err)
		for _, link := range links {
			if space, err := os.Readlink(link); err == nil && slices.Contains(spaces, space) {
				return false, link + " is " + space
			}
		}
		return true, ""
	})
}

// nothingIsLeft waits until the host has no traces of the lab.
func (l *lab) nothingIsLeft() {
	l.t.Helper()
	l.until("nothing of the lab is left", 30*time.Second, func() (bool, string) {
		left := l.traces()
		return len(left) == 0, fmt.Sprint(left)
	})
}

func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

func TestUpKeepsARunningLab(t *testing.T) {
	l := sharedLab(t)
	v := l.newVPC()
	v.launch("one", moto.BaseImageID)
	if out := l.run("up"); !strings.Contains(out, "is already running") || !strings.Contains(out, fmt.Sprintf("export AWS_ENDPOINT_URL=http://127.0.0.1:%d", l.config.Port)) {
		t.Errorf("second up: %s", out)
	}
	if _, there := l.instance("one"); !there {
		t.Error("the second up lost the machine")
	}
	if out := l.run("env"); !strings.Contains(out, "AWS_ENDPOINT_URL") {
		t.Errorf("env: %s", out)
	}
	if out := l.run("logs", "one"); !strings.Contains(out, "cloud-init") {
		t.Errorf("logs: %s", out)
	}
}

func TestMakeUpAndDownRefuseALabOfAnotherCheckout(t *testing.T) {
	l := sharedLab(t)
	must(t, os.WriteFile(filepath.Join(l.config.RunDir(), "checkout"), []byte("/elsewhere\n"), 0o600))
	t.Cleanup(func() { must(t, os.RemoveAll(filepath.Join(root(t), ".tools", "up-"+l.name))) })
	for _, verb := range []string{"up", "down"} {
		cmd := exec.Command(filepath.Join(root(t), "scripts", "up.sh"), verb)
		cmd.Env = append(os.Environ(), cluster.EnvLabName+"="+l.name)
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "belongs to /elsewhere") {
			t.Errorf("make %s: %v: %s", verb, err, out)
		}
	}
	l.status() // still running
}

func TestLabFailsIfMotoDies(t *testing.T) {
	l := newLab(t)
	l.up()
	for _, pid := range l.processes() {
		if strings.Contains(readOrNothing(fmt.Sprintf("/proc/%d/cmdline", pid)), "moto_server") {
			must(t, syscall.Kill(pid, syscall.SIGKILL))
		}
	}
	l.until("the lab has ended", time.Minute, func() (bool, string) {
		_, err := l.try("status")
		return exitCode(err) == 3, fmt.Sprint(err)
	})
	if log := l.log(); !strings.Contains(log, "moto exited") {
		t.Errorf("the log does not have the reason: %s", log)
	}
}

func TestUsageErrorsAndMissingTools(t *testing.T) {
	l := newLab(t)
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	empty := t.TempDir()
	for _, c := range []struct {
		what string
		env  []string
		args []string
		code int
		says string
	}{
		{"a lab that is not running", nil, []string{"status"}, 3, "xeroops-lab up"},
		{"a taken port", nil, []string{"up", fmt.Sprintf("--port=%d", port)}, 4, "choose another with --port"},
		{"no tools", []string{"PATH=" + empty}, []string{"up"}, 4, "apt-get install systemd-container"},
		{"no moto", []string{"PATH=" + empty, cluster.EnvMotoServer + "="}, []string{"up"}, 4, "moto_server is missing"},
		{"an unknown flag", nil, []string{"up", "--nonsense"}, 2, "--help"},
		{"a missing argument", nil, []string{"shell"}, 2, "shell NODE"},
		{"a bad name", nil, []string{"status", "--name=Bad_Name"}, 2, "lower-case"},
	} {
		cmd := exec.Command(l.binary, c.args...)
		cmd.Env = append(append(os.Environ(), cluster.EnvLabName+"="+l.name), c.env...)
		out, err := cmd.CombinedOutput()
		if exitCode(err) != c.code || !strings.Contains(string(out), c.says) {
			t.Errorf("%s: exit code %d, want %d; output %q, want %q in it", c.what, exitCode(err), c.code, out, c.says)
		}
	}
	if out, err := l.asNobody("up"); exitCode(err) != 4 || !strings.Contains(out, "run it as root") {
		t.Errorf("without root: %v: %s", err, out)
	}
}

// asNobody runs a copy of xeroops-lab as user nobody, who has no access to the
// original.
func (l *lab) asNobody(args ...string) (string, error) {
	l.t.Helper()
	dir, err := os.MkdirTemp("", "xeroops-lab-nobody-")
	must(l.t, err)
	defer os.RemoveAll(dir)
	must(l.t, os.Chmod(dir, 0o755))
	content, err := os.ReadFile(l.binary)
	must(l.t, err)
	binary := filepath.Join(dir, "xeroops-lab")
	must(l.t, os.WriteFile(binary, content, 0o755))
	cmd := exec.Command(binary, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), cluster.EnvLabName+"="+l.name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	return string(out), err
}
