package deployments

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/internal/testkit/load"
	"github.com/xeroops/xeroops/node/internal/systemd"
)

func TestDeploymentsUnderLoadFailNoRequest(t *testing.T) {
	f := newFixture(t)
	f.start()
	first := f.publish(version{version: "1.0"})
	f.mustBeHealthy("1.0")
	report := f.underLoad(func() {
		f.workers = 2
		f.publish(version{version: "1.1+local"})
		f.mustBeHealthy("1.1+local")
		f.publish(version{version: "2.0", prelude: "import nothing_of_that_name"})
		f.mustFail("2.0", "nothing_of_that_name")
		f.publish(version{version: "2.1", health: 503})
		f.mustFail("2.1", "503")
		f.publish(version{version: "2.2", corrupt: true})
		f.mustFail("2.2", "SHA-256")
		if got := f.answer(); got != "1.1+local" {
			t.Errorf("after failed releases %q answers, want the former version", got)
		}
		began := time.Now()
		f.desire("1.0", first.SHA256)
		f.mustBeHealthy("1.0")
		t.Logf("rollback: %s", time.Since(began))
	})
	t.Log(report)
	if report.Failed > 0 {
		t.Errorf("%d of %d requests failed: %v", report.Failed, report.Requests, report.Errors)
	}
}

// underLoad sends requests on new connections while during runs.
func (f *fixture) underLoad(during func()) load.Report {
	f.t.Helper()
	return underLoadAt(fmt.Sprintf("http://127.0.0.1:%d", f.port), during)
}

func underLoadAt(url string, during func()) load.Report {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	reports := make(chan load.Report, 1)
	go func() { reports <- load.Run(ctx, load.Options{URL: url + "/wait/0.02", Rate: 100, Fresh: true}) }()
	during()
	cancel()
	return <-reports
}

func (f *fixture) mustFail(version, why string) {
	f.t.Helper()
	p := f.await(version)
	if p.Phase != registry.PhaseFailed || !strings.Contains(p.Error, why) {
		f.t.Errorf("version %s: phase %s, error %q; want it failed with %q", version, p.Phase, p.Error, why)
	}
	f.t.Logf("%s failed after %d ms: %s", version, p.ElapsedMS, p.Error)
	if _, err := os.Stat(f.store.environment("demo", version)); err == nil {
		f.t.Errorf("the environment of %s, which failed, still exists", version)
	}
}

func TestFailedReleaseIsRetriedOnlyAfterPublishingAgain(t *testing.T) {
	f := newFixture(t)
	f.start()
	bad := f.publish(version{version: "1.0", health: 500})
	f.mustFail("1.0", "500")
	f.stop()
	if _, failed := f.store.failed(bad); !failed {
		t.Fatal("the release is not marked as failed")
	}
	info, err := os.Stat(filepath.Join(f.store.root, "demo", failedFile))
	check(t, err)
	if info.Mode() != 0o600 {
		t.Errorf("the file with the application's log has mode %s, want 0600", info.Mode())
	}
	check(t, f.registry.Del(t.Context(), registry.ProgressKey("demo", "1.0")).Err())
	f.start() // reads the desired version like a node that comes back
	if p := f.await("1.0"); p.Phase != registry.PhaseFailed || p.ElapsedMS != 0 {
		t.Errorf("after a restart: %+v, want the former failure without a retry", p)
	}
	again := f.desire("1.0", bad.SHA256)
	eventually(t, "the release to be retried", func() error {
		if _, failed := f.store.failed(again); !failed {
			return os.ErrNotExist
		}
		return nil
	})
}

func TestNodeCatchesUpAfterAnOutageAndRunsWithoutTheRegistry(t *testing.T) {
	f := newFixture(t)
	f.publish(version{version: "1.0"}) // before the daemon listens
	f.start()
	f.mustBeHealthy("1.0")
	f.stop()
	check(t, f.units.Stop(t.Context(), serviceUnit("demo", "1.0"), true)) // the node reboots
	check(t, f.registry.FlushAll(t.Context()).Err())                      // Redis has lost its data
	f.start()
	eventually(t, "the version on the disk to answer", func() error {
		if got := f.answer(); got != "1.0" {
			return context.DeadlineExceeded
		}
		return nil
	})
}

func TestRestartCleansUpAfterAKilledDaemon(t *testing.T) {
	f := newFixture(t)
	f.start()
	first := f.publish(version{version: "1.0"})
	f.mustBeHealthy("1.0")
	f.publish(version{version: "1.1"})
	f.mustBeHealthy("1.1")
	f.stop()
	// The state of a daemon that was killed while it rolled back to 1.0 and installed 1.2.
	check(t, f.units.Start(t.Context(), serviceUnit("demo", "1.0")))
	check(t, f.units.Start(t.Context(), trialUnit("demo", "1.0")))
	check(t, os.MkdirAll(f.store.environment("demo", "1.2")+"/bin", 0o755))
	f.start()
	eventually(t, "one unit to run", func() error {
		states, err := f.units.States(t.Context(), unitsOf("demo"))
		if err == nil && (len(states) != 1 || states[serviceUnit("demo", "1.1")] == "") {
			err = context.DeadlineExceeded
		}
		return err
	})
	if _, err := os.Stat(f.store.environment("demo", "1.2")); err == nil {
		t.Error("the incomplete environment still exists")
	}
	f.desire("1.0", first.SHA256)
	f.mustBeHealthy("1.0")
}

// full fails to reload, like systemd if /run is full.
type full struct{ *processes }

func (full) Reload(context.Context) error { return syscall.ENOSPC }

func TestRetryAfterAFailedReloadReloads(t *testing.T) {
	f := newFixture(t)
	d := f.daemon()
	one := f.publish(version{version: "1.0"})
	d.supervisor = full{f.units}
	if err := d.deploy(t.Context(), one, func(registry.Phase) {}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("deploy() = %v, want ENOSPC", err)
	}
	d.supervisor = f.units
	check(t, d.deploy(t.Context(), one, func(registry.Phase) {}))
}

// failing reports a unit as failed while it is not running.
type failing struct {
	*processes
	unit string
}

func (f failing) States(ctx context.Context, pattern string) (map[string]string, error) {
	states, err := f.processes.States(ctx, pattern)
	if pattern == f.unit && states[f.unit] == "" {
		states[f.unit] = systemd.Failed
	}
	return states, err
}

func TestOnlyTheCurrentVersionIsKeptRunning(t *testing.T) {
	f := newFixture(t)
	f.start()
	f.publish(version{version: "1.0"})
	f.mustBeHealthy("1.0")
	f.publish(version{version: "1.1"})
	f.mustBeHealthy("1.1")
	f.stop()
	old, currentUnit := serviceUnit("demo", "1.0"), serviceUnit("demo", "1.1")
	d := f.daemon()
	d.supervisor = failing{f.units, currentUnit}
	current, ok := f.store.current("demo")
	check(t, f.units.Stop(t.Context(), currentUnit, true))
	check(t, f.units.Start(t.Context(), old)) // which could not be stopped
	d.ensureRunning(t.Context(), current, ok)
	if states, _ := f.units.States(t.Context(), unitsOf("demo")); states[currentUnit] == "" || states[old] == "" {
		t.Errorf("running: %v; want the current version, and the other one until it serves", states)
	}
	d.ensureRunning(t.Context(), current, ok)
	eventually(t, "the other version to stop", func() error {
		states, err := f.units.States(t.Context(), unitsOf("demo"))
		if err == nil && (len(states) != 1 || states[currentUnit] == "") {
			err = fmt.Errorf("running: %v", states)
		}
		return err
	})
}

func TestLastFiveVersionsAreKeptAndShareWheels(t *testing.T) {
	f := newFixture(t)
	f.start()
	shared := newWheel("shared", "1", map[string]string{"shared.py": "x = 1\n"})
	for _, v := range []string{"1", "2", "3", "4", "5", "6"} {
		f.publish(version{version: v, wheels: []wheel{shared}})
		f.mustBeHealthy(v)
	}
	eventually(t, "the oldest version and its wheel to be removed", func() error {
		wheels, err := filepath.Glob(f.store.wheel("*"))
		if n := len(f.store.versions("demo")); n != keptVersions || len(wheels) != keptVersions+1 {
			err = fmt.Errorf("there are %d versions and %d wheels; want %d, each with a wheel, and a shared one", n, len(wheels), keptVersions)
		}
		return err
	})
	if _, err := f.store.installed("demo", "1"); err == nil {
		t.Error("version 1 still exists")
	}
	if _, err := os.Stat(f.store.wheel(bundle.Sum(shared.content))); err != nil {
		t.Error(err)
	}
}

// A new node deploys all applications concurrently.
func TestConcurrentDeploymentRemovesNoWheelThatIsBeingInstalled(t *testing.T) {
	f := newFixture(t)
	d := f.daemon()
	d.python.command = func(ctx context.Context, dir, name string, args ...string) *exec.Cmd {
		d.cleanUp(ctx, "other") // a deployment that ends during this one
		return f.python().command(ctx, dir, name, args...)
	}
	v, err := d.install(t.Context(), f.publish(version{version: "1.0"}), func(registry.Phase) {})
	check(t, err)
	d.cleanUp(t.Context(), "other")
	if _, err := os.Stat(f.store.wheel(v.Wheels[0].SHA256)); err != nil {
		t.Error(err)
	}
}

func TestTransientFailuresAreRetried(t *testing.T) {
	f := newFixture(t)
	// A disk with less space than must stay free.
	check(t, unix.Mount("tmpfs", f.store.root, "tmpfs", 0, "size=16m"))
	unmount := sync.OnceFunc(func() { check(t, unix.Unmount(f.store.root, unix.MNT_DETACH)) })
	t.Cleanup(unmount)
	f.start()
	first := f.publish(version{version: "1.0"})
	p := f.await("1.0")
	if _, marked := f.store.failed(first); p.Phase != registry.PhaseFailed || !strings.Contains(p.Error, "disk") || marked {
		t.Errorf("with a full disk: %+v, marked %t; want an error that names the disk, and no permanent failure", p, marked)
	}
	unmount()
	f.s3Away.Store(true)
	wake := func() { // as resyncInterval does
		check(t, f.registry.Publish(t.Context(), registry.DeploymentChannel, `{"service":"demo"}`).Err())
	}
	wake()
	eventually(t, "an error that names S3", func() error {
		if p := f.await("1.0"); !strings.Contains(p.Error, "s3://") {
			return fmt.Errorf("got %+v", p)
		}
		return nil
	})
	f.s3Away.Store(false)
	wake()
	eventually(t, "the deployment to succeed", func() error {
		if p := f.await("1.0"); p.Phase != registry.PhaseHealthy {
			return fmt.Errorf("got %+v", p)
		}
		return nil
	})
}

func TestPortOfAnotherApplicationIsRefused(t *testing.T) {
	f := newFixture(t)
	f.start()
	f.publish(version{version: "1.0"})
	f.mustBeHealthy("1.0")
	d := f.daemon()
	other, _ := f.store.current("demo")
	other.Application = "other"
	if err := d.checkCompatible(other.Manifest); err == nil || !strings.Contains(err.Error(), "application demo") {
		t.Errorf("checkCompatible() = %v, want an error that names the application with the port", err)
	}
	other.Application, other.Python = "demo", "3.11"
	if err := d.checkCompatible(other.Manifest); err == nil || !strings.Contains(err.Error(), "3.11") {
		t.Errorf("checkCompatible() = %v, want an error that names the bundle's Python", err)
	}
}

func TestVersionOnTheDiskIsDeployedOnlyIfItsPortIsFree(t *testing.T) {
	f := newFixture(t)
	d := f.daemon()
	v := put(t, f.store, "shop", "1.0")
	deploy := func() error {
		return d.deploy(t.Context(), release{"shop", v.Version, v.SHA256, ""}, func(registry.Phase) {})
	}
	other := put(t, f.store, "other", "1.0").Manifest
	check(t, d.claim(t.Context(), other))
	if err := deploy(); errors.Is(err, errPermanent) || !strings.Contains(fmt.Sprint(err), "application other") {
		t.Errorf("while another application is being deployed on the port: %v", err)
	}
	check(t, f.store.setCurrent("other", "1.0"))
	d.unclaim(other)
	if err := deploy(); !errors.Is(err, errPermanent) || !strings.Contains(err.Error(), "application other") {
		t.Errorf("with another application on the port: %v", err)
	}
	check(t, f.store.unsetCurrent("other"))
	check(t, d.claim(t.Context(), v.Manifest))
}

func TestHealthChecksHaveTheHeadersOfTheProject(t *testing.T) {
	f := newFixture(t)
	f.start()
	strict := `200 if dict(scope["headers"])[b"host"] == b"shop.example.com" and scope["scheme"] == "https" else 421`
	f.publish(version{version: "1.0", healthCode: strict})
	f.mustFail("1.0", "GET /healthz with Host demo: status 421")
	f.publish(version{version: "1.1", health: 503})
	f.mustFail("1.1", "not healthy since CAUSE")
	f.publish(version{version: "1.2", healthCode: strict, request: bundle.HealthRequest{HealthHost: "shop.example.com"}})
	f.mustBeHealthy("1.2")
	f.publish(version{version: "1.3", healthCode: strict, request: bundle.HealthRequest{HealthHost: "shop.example.com", HealthProto: "http"}})
	f.mustFail("1.3", "status 421")
}

func TestVersionThatIgnoresSIGTERMIsReplaced(t *testing.T) {
	f := newFixture(t)
	f.start()
	deaf := "import signal\nignore = lambda *_: signal.signal(signal.SIGTERM, signal.SIG_IGN)\nignore()\nsignal.signal = ignore_changes = lambda *_: None\n"
	f.publish(version{version: "1.0", prelude: deaf, limits: bundle.Limits{Drain: 1}})
	f.mustBeHealthy("1.0")
	f.publish(version{version: "1.1", limits: bundle.Limits{StartTimeout: 3}})
	f.mustBeHealthy("1.1") // 1.0 answers until it is killed, for longer than the start timeout
}

func TestRequestsContinueAndEventsEndWhenAVersionIsReplaced(t *testing.T) {
	f := newFixture(t)
	f.start()
	f.publish(version{version: "1.0", limits: bundle.Limits{Drain: 60}})
	f.mustBeHealthy("1.0")
	get := func(path string) chan string {
		done := make(chan string, 1)
		go func() {
			response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", f.port, path))
			if err != nil {
				done <- err.Error()
				return
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			done <- fmt.Sprintf("%s %v", body[max(0, len(body)-len("1.0\n\n")):], err)
		}()
		return done
	}
	events, slow := get("/events"), get("/wait/28") // longer than the former limit of 25 s
	f.publish(version{version: "1.1"})
	f.mustBeHealthy("1.1")
	if got := <-events; got != "1.0\n\n <nil>" {
		t.Errorf("the stream of events ended with %q, want the last event and no error", got)
	}
	if got := <-slow; got != "1.0 <nil>" {
		t.Errorf("the request in progress got %q", got)
	}
}

// An operator may have stopped an application, and connections to its port wait.
func TestPortThatCannotBeOpenedIsNoFaultOfTheRelease(t *testing.T) {
	f := newFixture(t)
	d := f.daemon()
	d.supervisor = closed{f.units}
	one := f.publish(version{version: "1.0"})
	err := d.deploy(t.Context(), one, func(registry.Phase) {})
	if err == nil || errors.Is(err, errPermanent) || !strings.Contains(err.Error(), fmt.Sprintf("open port %d of this node", f.port)) {
		t.Fatalf("deploy() = %v, want an error of the node that is retried", err)
	}
	d.supervisor = f.units
	check(t, d.deploy(t.Context(), one, func(registry.Phase) {}))
}

// closed cannot start sockets.
type closed struct{ *processes }

func (c closed) Start(ctx context.Context, unit string) error {
	if strings.HasSuffix(unit, ".socket") {
		return errors.New("start " + unit + ": failed")
	}
	return c.processes.Start(ctx, unit)
}

func TestVersionThatFailsOnceItIsAloneIsRolledBack(t *testing.T) {
	f := newFixture(t)
	f.start()
	f.publish(version{version: "1.0"})
	f.mustBeHealthy("1.0")
	// Healthy during the trial, and while both versions are on the socket.
	degrading := "requests = 0\ndef health():\n    global requests\n    requests += 1\n    return 200 if requests <= minAnswers else 503\n"
	degrading = strings.ReplaceAll(degrading, "minAnswers", fmt.Sprint(minAnswers))
	bad := f.publish(version{version: "1.1", prelude: degrading, healthCode: "health()"})
	f.mustFail("1.1", "503")
	eventually(t, "the former version to answer", func() error {
		if got := f.answer(); got != "1.0" {
			return fmt.Errorf("%q answers", got)
		}
		return nil
	})
	if current, _ := f.store.current("demo"); current.Version != "1.0" {
		t.Errorf("current is %s", current.Version)
	}
	if _, failed := f.store.failed(bad); !failed {
		t.Error("the release is not marked as failed")
	}
}

// The daemon's user can read files that applications cannot.
func TestDaemonRunsNoCodeOfWheels(t *testing.T) {
	f := newFixture(t)
	ran := filepath.Join(t.TempDir(), "ran")
	// Python runs this line whenever it starts in the environment.
	pth := fmt.Sprintf(`import sys; open("%s", "a").write(" ".join(sys.orig_argv) + "\n")`, ran)
	f.start()
	f.publish(version{version: "1.0", wheels: []wheel{newWheel("curious", "1", map[string]string{"curious.pth": pth})}})
	f.mustBeHealthy("1.0")
	eventually(t, "byte code", func() error {
		if current, _ := f.store.current("demo"); !f.store.isCompiled(current) {
			return fs.ErrNotExist
		}
		return nil
	})
	content, err := os.ReadFile(ran)
	check(t, err)
	for line := range strings.Lines(string(content)) {
		if !strings.Contains(line, "/serve.py ") {
			t.Errorf("code of the wheel was run by the daemon, with %s", line)
		}
	}
	if made, err := filepath.Glob(filepath.Join(f.store.environment("demo", "1.0"), "lib/python*/site-packages/demo/__pycache__/*.pyc")); len(made) != 1 {
		t.Errorf("the application's byte code is %v, %v; want one file", made, err)
	}
}
