//go:build linux

// Package labtest has the lab's end-to-end tests. They start labs with xeroops-lab up,
// apply examples/complete and run commands in the machines. They need root and what
// xeroops-lab up needs, and are skipped with a reason on other hosts.
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
	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/lab/internal/reconcile"
	"github.com/xeroops/xeroops/lab/internal/supervisor"
)

// lab is a lab, and the clients that a test uses it with.
type lab struct {
	t      testing.TB
	binary string
	name   string
	config supervisor.Config
	env    []string // environment for AWS clients
	ec2    *ec2.Client
	s3     *s3.Client
}

// newLab returns a lab of the test's own, which is not started yet. It is removed
// after the test.
func newLab(t testing.TB) *lab {
	t.Helper()
	l := nameLab(t, fmt.Sprintf("test-%d", os.Getpid()))
	t.Cleanup(func() {
		l.logIfFailed(t)
		if out, err := l.try("down"); err != nil {
			t.Errorf("down: %v: %s", err, out)
		}
	})
	return l
}

// sharedLab returns the running lab that tests share. They leave no instances and no
// role images in it. Tests that stop a lab, or need a new account, use newLab.
func sharedLab(t *testing.T) *lab {
	t.Helper()
	if shared == nil {
		l := nameLab(t, fmt.Sprintf("test-%d-shared", os.Getpid()))
		l.up()
		shared = l
	}
	l := shared.with(t)
	t.Cleanup(func() {
		l.logIfFailed(t)
		l.until("the test's machines are gone", time.Minute, func() (bool, string) {
			all := l.status()
			return len(all) == 0, fmt.Sprint(all)
		})
	})
	return l
}

var shared *lab

// programs is the directory of the programs that build has compiled.
var programs string

func TestMain(m *testing.M) {
	var err error
	if programs, err = os.MkdirTemp("", "labtest-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if shared != nil {
		if out, err := shared.try("down"); err != nil {
			fmt.Fprintf(os.Stderr, "stop the shared lab: %v: %s\n", err, out)
			code = 1
		}
	}
	_ = os.RemoveAll(programs) // leftovers in the temporary directory do no harm
	os.Exit(code)
}

func nameLab(t testing.TB, name string) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("the lab needs root")
	}
	config, err := supervisor.Config{Name: name, Port: freePort(t)}.Complete()
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, binary: build(t, "lab", "xeroops-lab"), name: name, config: config, env: config.Environment()}
	l.removeLeftovers()
	if out, err := l.try("down"); err != nil { // left by a killed process with the same pid
		t.Fatalf("%v: %s", err, out)
	}
	endpoint := fmt.Sprintf("http://127.0.0.1:%d", config.Port)
	cfg := aws.Config{Region: config.Region, BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("lab", "lab", "")}
	l.ec2 = ec2.NewFromConfig(cfg)
	l.s3 = s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	return l
}

func (l *lab) logIfFailed(t testing.TB) {
	if t.Failed() {
		t.Logf("log of lab %s:\n%s", l.name, l.log())
	}
}

// drill skips a test that takes minutes, unless make drills runs it.
func drill(t testing.TB) {
	t.Helper()
	if os.Getenv(cluster.EnvDrills) == "" {
		t.Skip("a drill that takes minutes: run make drills")
	}
}

// removeLeftovers removes the labs of test processes that were killed.
func (l *lab) removeLeftovers() {
	l.t.Helper()
	for _, pattern := range []string{supervisor.DefaultRunRoot + "/test-*", supervisor.DefaultStateRoot + "/test-*"} {
		left, err := filepath.Glob(pattern)
		if err != nil {
			l.t.Fatal(err)
		}
		for _, path := range left {
			name, _, _ := strings.Cut(filepath.Base(path), ".")
			id, _, _ := strings.Cut(strings.TrimPrefix(name, "test-"), "-")
			pid, err := strconv.Atoi(id)
			if err != nil || syscall.Kill(pid, 0) == nil {
				continue
			}
			if out, err := l.try("down", "--name="+name); err != nil {
				l.t.Logf("remove lab %s of a killed test: %v: %s", name, err, out)
			}
		}
	}
}

// build compiles the main package in dir, once per test process.
func build(t testing.TB, dir, program string) string {
	t.Helper()
	binary := filepath.Join(programs, program)
	if _, err := os.Stat(binary); err == nil {
		return binary
	}
	cmd := exec.Command("go", "build", "-trimpath", "-o", binary, filepath.Join(root(t), dir))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // make build's flags: packages are compiled once for both
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", program, err, out)
	}
	return binary
}

// root returns the directory of the checkout.
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

// up starts the lab, or skips the test if the host lacks something.
func (l *lab) up() {
	l.t.Helper()
	out, err := l.try("up", fmt.Sprintf("--port=%d", l.config.Port))
	var exit *exec.ExitError
	// A taken port or a full disk has the same exit code, but fails the test.
	if errors.As(err, &exit) && exit.ExitCode() == 4 && strings.Contains(out, "is missing") {
		l.t.Skip(out)
	}
	if err != nil {
		l.t.Fatalf("up: %v: %s", err, out)
	}
}

// try runs xeroops-lab and returns its output.
func (l *lab) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, l.binary, args...)
	cmd.Env = append(os.Environ(), cluster.EnvLabName+"="+l.name)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// run runs xeroops-lab, fails the test if that fails, and returns its output.
func (l *lab) run(args ...string) string {
	l.t.Helper()
	out, err := l.try(args...)
	if err != nil {
		l.t.Fatalf("xeroops-lab %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

// shell runs a script as root in a machine and returns its output.
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

// status returns what xeroops-lab status --json prints.
func (l *lab) status() []reconcile.Status {
	l.t.Helper()
	cmd := exec.Command(l.binary, "status", "--json")
	cmd.Env = append(os.Environ(), cluster.EnvLabName+"="+l.name)
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

// instance returns the status of a node, and reports whether it exists.
func (l *lab) instance(name string) (reconcile.Status, bool) {
	l.t.Helper()
	for _, i := range l.status() {
		if i.Node == name || i.InstanceID == name {
			return i, true
		}
	}
	return reconcile.Status{}, false
}

// until polls a condition and returns how long it took. If the condition is not met
// in time, it fails the test with what the condition returned last.
func (l *lab) until(what string, within time.Duration, condition func() (bool, string)) time.Duration {
	l.t.Helper()
	began := time.Now()
	for {
		ok, saw := condition()
		if ok {
			return time.Since(began)
		}
		if time.Since(began) > within {
			l.t.Fatalf("%s: not within %s; last result: %s\n%s", what, within, saw, l.log())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// untilState waits for an instance's state, and for a running one until its machine
// has booted.
func (l *lab) untilState(name, state string) {
	l.t.Helper()
	l.until(name+" is "+state, 2*time.Minute, func() (bool, string) {
		i, _ := l.instance(name)
		return i.State == state && (state != "running" || i.Ready), fmt.Sprintf("%+v", i)
	})
}
