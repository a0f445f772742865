package deployments

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
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
)

func TestVersionsFollowOneAnotherUnderLoadWithoutAFailedRequest(t *testing.T) {
	r := newRig(t)
	r.start()
	first := r.publish(version{version: "1.0"})
	r.mustBeHealthy("1.0")
	report := r.underLoad(func() {
		r.workers = 2
		r.publish(version{version: "1.1+local"})
		r.mustBeHealthy("1.1+local")
		r.publish(version{version: "2.0", begins: "import nothing_of_that_name"})
		r.mustFail("2.0", "nothing_of_that_name")
		r.publish(version{version: "2.1", health: 503})
		r.mustFail("2.1", "503")
		r.publish(version{version: "2.2", spoilt: true})
		r.mustFail("2.2", "SHA-256")
		if got := r.answer(); got != "1.1+local" {
			t.Errorf("after releases that failed %q answers, not the version before", got)
		}
		began := time.Now()
		r.desire("1.0", first.SHA256)
		r.mustBeHealthy("1.0")
		t.Logf("rollback: %s", time.Since(began))
	})
	t.Log(report)
	if report.Failed > 0 {
		t.Errorf("%d of %d requests failed: %v", report.Failed, report.Requests, report.Errors)
	}
}

// underLoad sends requests on new connections while f runs.
func (r *rig) underLoad(f func()) load.Report {
	r.t.Helper()
	return underLoadAt(fmt.Sprintf("http://127.0.0.1:%d", r.port), f)
}

func underLoadAt(url string, f func()) load.Report {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	reports := make(chan load.Report, 1)
	go func() { reports <- load.Run(ctx, load.Options{URL: url + "/wait/0.02", Rate: 100, Fresh: true}) }()
	f()
	cancel()
	return <-reports
}

func (r *rig) mustFail(version, why string) {
	r.t.Helper()
	p := r.await(version)
	if p.Phase != registry.PhaseFailed || !strings.Contains(p.Error, why) {
		r.t.Errorf("version %s: phase %s, error %q; want it to fail with %q", version, p.Phase, p.Error, why)
	}
	r.t.Logf("%s failed after %d ms: %s", version, p.ElapsedMS, p.Error)
	if _, err := os.Stat(r.store.environment("demo", version)); err == nil {
		r.t.Errorf("the environment of %s, which failed, is still there", version)
	}
}

func TestAFailedReleaseIsTriedAgainOnlyWhenItIsPublishedAgain(t *testing.T) {
	r := newRig(t)
	r.start()
	bad := r.publish(version{version: "1.0", health: 500})
	r.mustFail("1.0", "500")
	r.stop()
	if _, failed := r.store.failed(bad); !failed {
		t.Fatal("the release is not marked as failed")
	}
	info, err := os.Stat(filepath.Join(r.store.root, "demo", failedFile))
	check(t, err)
	if info.Mode() != 0o600 {
		t.Errorf("what the application said is in a file of mode %s", info.Mode())
	}
	check(t, r.registry.Del(t.Context(), registry.ProgressKey("demo", "1.0")).Err())
	r.start() // reads the desired version, as a node does that comes back
	if p := r.await("1.0"); p.Phase != registry.PhaseFailed || p.ElapsedMS != 0 {
		t.Errorf("after a restart: %+v, want the failure of before without a new try", p)
	}
	again := r.desire("1.0", bad.SHA256)
	eventually(t, "the release to be tried again", func() error {
		if _, failed := r.store.failed(again); !failed {
			return os.ErrNotExist
		}
		return nil
	})
}

func TestANodeThatWasDownCatchesUpAndKeepsWhatRanWithoutTheRegistry(t *testing.T) {
	r := newRig(t)
	r.publish(version{version: "1.0"}) // nobody hears the message
	r.start()
	r.mustBeHealthy("1.0")
	r.stop()
	check(t, r.units.Stop(t.Context(), serviceUnit("demo", "1.0"), true)) // the node reboots
	check(t, r.registry.FlushAll(t.Context()).Err())                      // an empty Redis says nothing
	r.start()
	eventually(t, "the version of the disk to answer", func() error {
		if got := r.answer(); got != "1.0" {
			return context.DeadlineExceeded
		}
		return nil
	})
}

func TestAKilledDaemonsHalfMadeWorkIsUndone(t *testing.T) {
	r := newRig(t)
	r.start()
	first := r.publish(version{version: "1.0"})
	r.mustBeHealthy("1.0")
	r.publish(version{version: "1.1"})
	r.mustBeHealthy("1.1")
	r.stop()
	// As if it had been killed in a roll back, before it made 1.0 current, and
	// while it made 1.2.
	check(t, r.units.Start(t.Context(), serviceUnit("demo", "1.0")))
	check(t, r.units.Start(t.Context(), trialUnit("demo", "1.0")))
	check(t, os.MkdirAll(r.store.environment("demo", "1.2")+"/bin", 0o755))
	r.start()
	eventually(t, "one unit to run", func() error {
		states, err := r.units.States(t.Context(), unitsOf("demo"))
		if err == nil && (len(states) != 1 || states[serviceUnit("demo", "1.1")] == "") {
			err = context.DeadlineExceeded
		}
		return err
	})
	if _, err := os.Stat(r.store.environment("demo", "1.2")); err == nil {
		t.Error("the half-made environment is still there")
	}
	r.desire("1.0", first.SHA256)
	r.mustBeHealthy("1.0")
}

// full refuses to reload, as systemd does where /run is full.
type full struct{ *processes }

func (full) Reload(context.Context) error { return syscall.ENOSPC }

func TestAVersionThatSystemdDidNotReadIsReadAtTheNextTry(t *testing.T) {
	r := newRig(t)
	d := r.daemon()
	one := r.publish(version{version: "1.0"})
	d.supervisor = full{r.units}
	if err := d.deploy(t.Context(), one, func(registry.Phase) {}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v", err)
	}
	d.supervisor = r.units
	check(t, d.deploy(t.Context(), one, func(registry.Phase) {}))
}

// failing has some unit fail where it does not run.
type failing struct {
	*processes
	unit string
}

func (f failing) States(ctx context.Context, pattern string) (map[string]string, error) {
	states, err := f.processes.States(ctx, pattern)
	if pattern == f.unit && states[f.unit] == "" {
		states[f.unit] = stateFailed
	}
	return states, err
}

func TestJustTheCurrentVersionIsKeptRunning(t *testing.T) {
	r := newRig(t)
	r.start()
	r.publish(version{version: "1.0"})
	r.mustBeHealthy("1.0")
	r.publish(version{version: "1.1"})
	r.mustBeHealthy("1.1")
	r.stop()
	old, is := serviceUnit("demo", "1.0"), serviceUnit("demo", "1.1")
	d := r.daemon()
	d.supervisor = failing{r.units, is}
	current, ok := r.store.current("demo")
	check(t, r.units.Stop(t.Context(), is, true)) // and was killed in the end
	check(t, r.units.Start(t.Context(), old))     // which systemd did not stop
	d.ensure(t.Context(), current, ok)
	if states, _ := r.units.States(t.Context(), unitsOf("demo")); states[is] == "" || states[old] == "" {
		t.Errorf("running: %v; want the current version, and what serves until it does", states)
	}
	d.ensure(t.Context(), current, ok)
	eventually(t, "the other version to end", func() error {
		states, err := r.units.States(t.Context(), unitsOf("demo"))
		if err == nil && (len(states) != 1 || states[is] == "") {
			err = fmt.Errorf("running: %v", states)
		}
		return err
	})
}

func TestTheLastFiveVersionsStayAndShareTheirWheels(t *testing.T) {
	r := newRig(t)
	r.start()
	shared := newWheel("shared", "1", map[string]string{"shared.py": "x = 1\n"})
	for _, v := range []string{"1", "2", "3", "4", "5", "6"} {
		r.publish(version{version: v, wheels: []wheel{shared}})
		r.mustBeHealthy(v)
	}
	eventually(t, "the oldest to go, and its wheel", func() error {
		wheels, err := filepath.Glob(r.store.wheel("*"))
		if n := len(r.store.versions("demo")); n != kept || len(wheels) != kept+1 {
			err = fmt.Errorf("there are %d versions and %d wheels; want %d, and a wheel of each and one they share", n, len(wheels), kept)
		}
		return err
	})
	if _, err := r.store.installed("demo", "1"); err == nil {
		t.Error("version 1 is still there")
	}
	if _, err := os.Stat(r.store.wheel(bundle.Sum(shared.content))); err != nil {
		t.Error(err)
	}
}

// A node that is new deploys all applications at once.
func TestAnotherApplicationsDeploymentTakesNoWheelAwayThatIsBeingInstalled(t *testing.T) {
	r := newRig(t)
	d := r.daemon()
	d.python.command = func(ctx context.Context, folder, name string, args ...string) *exec.Cmd {
		d.tidy(ctx, "other") // whose deployment ends right now
		return r.python().command(ctx, folder, name, args...)
	}
	v, err := d.install(t.Context(), r.publish(version{version: "1.0"}), func(registry.Phase) {})
	check(t, err)
	d.tidy(t.Context(), "other")
	if _, err := os.Stat(r.store.wheel(v.Wheels[0].SHA256)); err != nil {
		t.Error(err)
	}
}

func TestWhatMayPassIsTriedAgain(t *testing.T) {
	r := newRig(t)
	// A disk that has less than what always stays free.
	check(t, unix.Mount("tmpfs", r.store.root, "tmpfs", 0, "size=16m"))
	unmount := sync.OnceFunc(func() { check(t, unix.Unmount(r.store.root, unix.MNT_DETACH)) })
	t.Cleanup(unmount)
	r.start()
	first := r.publish(version{version: "1.0"})
	p := r.await("1.0")
	if _, marked := r.store.failed(first); p.Phase != registry.PhaseFailed || !strings.Contains(p.Error, "disk") || marked {
		t.Errorf("with a full disk: %+v, marked %t; want an error that names the disk, and no mark", p, marked)
	}
	unmount()
	r.s3Away.Store(true)
	wake := func() { // as the next minute does
		check(t, r.registry.Publish(t.Context(), registry.DeploymentChannel, `{"service":"demo"}`).Err())
	}
	wake()
	eventually(t, "a failure that names S3", func() error {
		if p := r.await("1.0"); !strings.Contains(p.Error, "s3://") {
			return fmt.Errorf("got %+v", p)
		}
		return nil
	})
	r.s3Away.Store(false)
	wake()
	eventually(t, "health", func() error {
		if p := r.await("1.0"); p.Phase != registry.PhaseHealthy {
			return fmt.Errorf("got %+v", p)
		}
		return nil
	})
}

func TestAPortThatAnotherApplicationHasIsRefused(t *testing.T) {
	r := newRig(t)
	r.start()
	r.publish(version{version: "1.0"})
	r.mustBeHealthy("1.0")
	d := r.daemon()
	other, _ := r.store.current("demo")
	other.Application = "other"
	if err := d.fits(other.Manifest); err == nil || !strings.Contains(err.Error(), "demo's") {
		t.Errorf("got %v, want an error that names whose port it is", err)
	}
	other.Application, other.Python = "demo", "3.11"
	if err := d.fits(other.Manifest); err == nil || !strings.Contains(err.Error(), "3.11") {
		t.Errorf("got %v, want an error that names the bundle's Python", err)
	}
}

func TestAVersionOnTheDiskComesBackOnlyIfItsPortIsStillItsOwn(t *testing.T) {
	r := newRig(t)
	d := r.daemon()
	v := put(t, r.store, "shop", "1.0")
	back := func() error {
		return d.deploy(t.Context(), release{"shop", v.Version, v.SHA256, ""}, func(registry.Phase) {})
	}
	other := put(t, r.store, "other", "1.0").Manifest
	check(t, d.claim(t.Context(), other))
	if err := back(); errors.Is(err, errWrong) || !strings.Contains(fmt.Sprint(err), "other's") {
		t.Errorf("while another application comes up on its port: %v", err)
	}
	check(t, r.store.setCurrent("other", "1.0"))
	d.unclaim(other)
	if err := back(); !errors.Is(err, errWrong) || !strings.Contains(err.Error(), "other's") {
		t.Errorf("with another application on its port: %v", err)
	}
	check(t, r.store.unsetCurrent("other"))
	check(t, d.claim(t.Context(), v.Manifest))
}

// A version that ends must not close a connection whose request is on its way,
// which uvicorn by itself does now and then.
func TestConnectionsThatAreOpenWhenAVersionEndsAreServed(t *testing.T) {
	r := newRig(t)
	r.start()
	r.publish(version{version: "1.0"})
	r.mustBeHealthy("1.0")
	unit := serviceUnit("demo", "1.0")
	var connections []net.Conn
	for range 20 {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.port))
		check(t, err)
		t.Cleanup(func() { _ = c.Close() })
		connections = append(connections, c)
	}
	r.stop()
	check(t, r.units.Stop(t.Context(), unit, false))
	first := bufio.NewReader(connections[0])
	eventually(t, "the version to begin its end", func() error {
		if !ask(t, connections[0], first) {
			return fmt.Errorf("the connection stays open")
		}
		return nil
	})
	for _, c := range connections[1:] {
		if !ask(t, c, bufio.NewReader(c)) {
			t.Error("a connection stays open after its answer")
		}
	}
}

// ask sends a request on a connection, which has to be answered.
func ask(t *testing.T, c net.Conn, r *bufio.Reader) (closes bool) {
	t.Helper()
	_, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: demo\r\n\r\n")
	check(t, err)
	res, err := http.ReadResponse(r, nil)
	check(t, err)
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	check(t, err)
	return res.Close
}

func TestAVersionThatFailsOnceItIsAloneGivesWayToTheOneBefore(t *testing.T) {
	r := newRig(t)
	r.start()
	r.publish(version{version: "1.0"})
	r.mustBeHealthy("1.0")
	// Healthy for as long as it is tried, and while both are on the socket.
	tiring := "asked = 0\ndef health():\n    global asked\n    asked += 1\n    return 200 if asked <= goodAnswers else 503\n"
	tiring = strings.ReplaceAll(tiring, "goodAnswers", fmt.Sprint(goodAnswers))
	bad := r.publish(version{version: "1.1", begins: tiring, healthCode: "health()"})
	r.mustFail("1.1", "503")
	eventually(t, "the version before to answer", func() error {
		if got := r.answer(); got != "1.0" {
			return fmt.Errorf("%q answers", got)
		}
		return nil
	})
	if current, _ := r.store.current("demo"); current.Version != "1.0" {
		t.Errorf("current is %s", current.Version)
	}
	if _, failed := r.store.failed(bad); !failed {
		t.Error("the release is not marked as failed")
	}
}

// The daemon's user may read what applications may not.
func TestNothingOfAWheelRunsAsTheDaemon(t *testing.T) {
	r := newRig(t)
	ran := filepath.Join(t.TempDir(), "ran")
	// Python runs this line whenever it starts in the environment.
	curious := fmt.Sprintf(`import sys; open("%s", "a").write(" ".join(sys.orig_argv) + "\n")`, ran)
	r.start()
	r.publish(version{version: "1.0", wheels: []wheel{newWheel("curious", "1", map[string]string{"curious.pth": curious})}})
	r.mustBeHealthy("1.0")
	eventually(t, "byte code", func() error {
		if current, _ := r.store.current("demo"); !r.store.isCompiled(current) {
			return fs.ErrNotExist
		}
		return nil
	})
	content, err := os.ReadFile(ran)
	check(t, err)
	for line := range strings.Lines(string(content)) {
		if !strings.Contains(line, "/serve.py ") {
			t.Errorf("it ran as the daemon, with %s", line)
		}
	}
	if made, err := filepath.Glob(filepath.Join(r.store.environment("demo", "1.0"), "lib/python*/site-packages/demo/__pycache__/*.pyc")); len(made) != 1 {
		t.Errorf("byte code of the application is %v, %v", made, err)
	}
}
