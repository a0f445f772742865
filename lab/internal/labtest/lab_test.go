//go:build linux

// Package labtest holds the lab's end-to-end tests: a lab is started as a user
// starts it, examples/complete is applied, and machines are looked at from the
// inside. They need root and what `xeroops-lab up` needs, and are skipped with a
// reason elsewhere.
package labtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/xeroops/xeroops/lab/internal/reconcile"
	"github.com/xeroops/xeroops/lab/internal/supervisor"
)

// lab is a running lab of this test's own.
type lab struct {
	t      testing.TB
	binary string
	name   string
	config supervisor.Config
	env    []string // of AWS clients
	ec2    *ec2.Client
	s3     *s3.Client
}

// newLab builds xeroops-lab and names a lab, which is not started yet. Whatever
// the test does, nothing of the lab is left after it.
func newLab(t testing.TB) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("the lab needs root")
	}
	name := fmt.Sprintf("test-%d", os.Getpid())
	config, err := supervisor.Config{Name: name, Port: freePort(t)}.Complete()
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, binary: build(t, "lab", "xeroops-lab"), name: name, config: config, env: config.Environment()}
	l.sweep()
	if out, err := l.try("down"); err != nil { // of a run that was killed and had this process id
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the lab's log:\n%s", l.log())
		}
		if out, err := l.try("down"); err != nil {
			t.Errorf("down: %v: %s", err, out)
		}
	})
	endpoint := fmt.Sprintf("http://127.0.0.1:%d", config.Port)
	cfg := aws.Config{Region: config.Region, BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("lab", "lab", "")}
	l.ec2 = ec2.NewFromConfig(cfg)
	l.s3 = s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	return l
}

// drill skips a test that breaks a whole cluster for minutes, unless make drills
// runs it.
func drill(t testing.TB) {
	t.Helper()
	if os.Getenv("XEROOPS_DRILLS") == "" {
		t.Skip("a drill of some minutes: make drills runs it")
	}
}

// sweep ends the labs of test runs that were killed.
func (l *lab) sweep() {
	l.t.Helper()
	for _, pattern := range []string{supervisor.DefaultRunRoot + "/test-*", supervisor.DefaultStateRoot + "/test-*"} {
		left, err := filepath.Glob(pattern)
		if err != nil {
			l.t.Fatal(err)
		}
		for _, path := range left {
			name, _, _ := strings.Cut(filepath.Base(path), ".")
			pid, err := strconv.Atoi(strings.TrimPrefix(name, "test-"))
			if err != nil || syscall.Kill(pid, 0) == nil {
				continue
			}
			if out, err := l.try("down", "--name="+name); err != nil {
				l.t.Logf("end lab %s, which a killed test left: %v: %s", name, err, out)
			}
		}
	}
}

// build compiles one of the project's programs.
func build(t testing.TB, room, program string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), program)
	if out, err := exec.Command("go", "build", "-o", binary, filepath.Join(root(t), room)).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", program, err, out)
	}
	return binary
}

// root is the top of the checkout.
func root(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// up starts the lab, or skips the test where this host can't.
func (l *lab) up() {
	l.t.Helper()
	out, err := l.try("up", fmt.Sprintf("--port=%d", l.config.Port))
	var exit *exec.ExitError
	// A taken port or a full disk is the test's own business, not the host's lack.
	if errors.As(err, &exit) && exit.ExitCode() == 4 && strings.Contains(out, "is missing") {
		l.t.Skip(out)
	}
	if err != nil {
		l.t.Fatalf("up: %v: %s", err, out)
	}
}

// try runs xeroops-lab and returns what it printed.
func (l *lab) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, l.binary, args...)
	cmd.Env = append(os.Environ(), "XEROOPS_LAB_NAME="+l.name)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// run is try where a failure fails the test.
func (l *lab) run(args ...string) string {
	l.t.Helper()
	out, err := l.try(args...)
	if err != nil {
		l.t.Fatalf("xeroops-lab %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

// shell runs a script as root in a machine.
func (l *lab) shell(node, script string) string {
	l.t.Helper()
	return strings.TrimSpace(l.run("shell", node, "--", "sh", "-c", script))
}

// outside runs a script on the internet side.
func (l *lab) outside(script string) (string, error) {
	out, err := l.try("exec", "--", "sh", "-c", script)
	return strings.TrimSpace(out), err
}

func (l *lab) log() string {
	content, err := os.ReadFile(l.config.LogFile())
	if err != nil {
		return err.Error()
	}
	return string(content[max(0, len(content)-6000):])
}

// status lists the instances as a script would read them.
func (l *lab) status() []reconcile.Status {
	l.t.Helper()
	cmd := exec.Command(l.binary, "status", "--json")
	cmd.Env = append(os.Environ(), "XEROOPS_LAB_NAME="+l.name)
	var problem bytes.Buffer
	cmd.Stderr = &problem
	out, err := cmd.Output()
	if err != nil {
		l.t.Fatalf("status: %v: %s", err, problem.String())
	}
	var all []reconcile.Status
	if err := json.Unmarshal(out, &all); err != nil {
		l.t.Fatal(err)
	}
	return all
}

// instance is the status of one node, or nothing.
func (l *lab) instance(name string) (reconcile.Status, bool) {
	l.t.Helper()
	for _, i := range l.status() {
		if i.Node == name || i.InstanceID == name {
			return i, true
		}
	}
	return reconcile.Status{}, false
}

// until polls a condition, which says what it saw, and fails the test when it
// doesn't come true in time. It returns how long that took.
func (l *lab) until(what string, within time.Duration, condition func() (bool, string)) time.Duration {
	l.t.Helper()
	began := time.Now()
	for {
		ok, saw := condition()
		if ok {
			return time.Since(began)
		}
		if time.Since(began) > within {
			l.t.Fatalf("%s: not within %s; last seen: %s\n%s", what, within, saw, l.log())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// untilState waits for an instance's state, and for multi-user if it is to run.
func (l *lab) untilState(name, state string) {
	l.t.Helper()
	l.until(name+" "+state, time.Minute, func() (bool, string) {
		i, _ := l.instance(name)
		return i.State == state && (state != "running" || i.Ready), fmt.Sprintf("%+v", i)
	})
}
