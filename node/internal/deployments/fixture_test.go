package deployments

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sys/unix"

	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/internal/testkit/debiantree"
	"github.com/xeroops/xeroops/internal/wheelfile"
	"github.com/xeroops/xeroops/node/internal/s3test"
)

// deadline is how long a condition may take that usually takes a few seconds.
const deadline = 90 * time.Second

// fixture is an app node: the daemon with Debian's Python and Redis, moto as S3, and in
// place of systemd a supervisor that runs the programs of the units.
type fixture struct {
	t        testing.TB
	store    store
	registry *redis.Client
	s3       *s3.Client
	s3Away   atomic.Bool
	units    *processes
	port     int
	workers  int
	image    registry.Python
	stop     func() // stops the daemon
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	root := filepath.Join(t.TempDir(), "applications")
	check(t, os.Mkdir(root, 0o755))
	f := &fixture{t: t, store: store{root}, port: freePort(t), workers: 1, registry: startRedis(t)}
	f.s3 = startS3(t, &f.s3Away)
	f.units = newProcesses(t, root)
	var err error
	f.image, err = f.python().describe(t.Context())
	check(t, err)
	return f
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) python() python {
	return python{command: func(_ context.Context, dir, name string, args ...string) *exec.Cmd {
		return debiantree.CommandIn(f.t, dir, name, args...)
	}}
}

func (f *fixture) daemon() *daemon {
	log := hclog.New(&hclog.LoggerOptions{Name: "deployments", Output: testWriter{f.t}, Level: hclog.Debug})
	return &daemon{
		deployer: deployer{store: f.store, fetch: fetcher{f.s3, s3test.Bucket, f.store}, python: f.python(), supervisor: f.units, image: f.image, host: "127.0.0.1", log: log},
		node:     "app1", registry: f.registry, workers: map[string]chan struct{}{},
		status: status{path: filepath.Join(filepath.Dir(f.store.root), "applications.json"), store: f.store, supervisor: f.units, log: log, mu: new(sync.Mutex)},
	}
}

// start runs a daemon until the test ends or f.stop is called.
func (f *fixture) start() {
	f.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	d := f.daemon()
	go func() { done <- d.run(ctx) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		check(f.t, <-done)
	})
	f.t.Cleanup(f.stop)
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// freePort returns a port of applications whose trial port is free, too. It holds a lock on
// the port until the test ends, since this package may be tested concurrently.
func freePort(t testing.TB) int {
	t.Helper()
	count := bundle.LastPort - bundle.FirstPort + 1
	first := rand.IntN(count)
	for n := range count {
		port := bundle.FirstPort + (first+n)%count
		if lockPort(t, port) && isFree(port) && isFree(port+trialOffset) {
			return port
		}
	}
	t.Fatalf("no port from %d to %d is free", bundle.FirstPort, bundle.LastPort)
	return 0
}

func lockPort(t testing.TB, port int) bool {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(os.TempDir(), fmt.Sprintf("xeroops-test-port-%d.lock", port)), os.O_CREATE|os.O_RDWR, 0o600)
	check(t, err)
	t.Cleanup(func() { _ = file.Close() })
	return unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}

func isFree(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	return err == nil && l.Close() == nil
}

func startRedis(t testing.TB) *redis.Client {
	t.Helper()
	dir := t.TempDir()
	socket := filepath.Join(dir, "redis")
	cmd := debiantree.CommandIn(t, dir, "redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--dir", dir)
	check(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	c := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = c.Close() })
	eventually(t, "Redis to answer", func() error { return c.Ping(context.Background()).Err() })
	return c
}

// startS3 starts moto behind a proxy that can answer all requests with an error.
func startS3(t testing.TB, away *atomic.Bool) *s3.Client {
	t.Helper()
	target, err := url.Parse(s3test.Start(t))
	check(t, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if away.Load() {
			http.Error(w, "unavailable", http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, q)
	}))
	t.Cleanup(front.Close)
	return s3test.Client(front.URL)
}

func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(deadline)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s: %v", deadline, what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// wheel is a file of a bundle.
type wheel struct {
	file    string
	content []byte
}

// newWheel makes a wheel of pure Python.
func newWheel(name, version string, files map[string]string) wheel {
	file, content := wheelfile.Wheel{Name: name, Version: version, Tag: wheelfile.PurePython, Files: files}.Make()
	return wheel{file, content}
}

// asgi is an application that answers with its version, and can delay its answer.
const asgi = `
import asyncio

async def app(scope, receive, send):
    assert scope["type"] == "http"
    status, body = 200, b"VERSION"
    if scope["path"] == "/healthz":
        status = HEALTH
        if status != 200:
            body = b"not healthy since CAUSE"
    elif scope["path"].startswith("/wait/"):
        await asyncio.sleep(float(scope["path"][6:]))
    elif scope["path"] == "/events":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        while True:
            await send({"type": "http.response.body", "body": b"data: VERSION\n\n", "more_body": True})
            await asyncio.sleep(0.05)
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
`

// version is a version of the application demo.
type version struct {
	version    string
	health     int    // status of its health path; 200 where 0
	healthCode string // Python expression of that status, if it changes
	prelude    string // Python code at the start of its module
	limits     bundle.Limits
	request    bundle.HealthRequest
	corrupt    bool // whether a wheel does not match its checksum
	wheels     []wheel
}

// publish uploads a version and makes it the desired one.
func (f *fixture) publish(v version) release {
	f.t.Helper()
	if v.health == 0 {
		v.health = 200
	}
	if v.healthCode == "" {
		v.healthCode = fmt.Sprint(v.health)
	}
	code := v.prelude + strings.NewReplacer("VERSION", v.version, "HEALTH", v.healthCode).Replace(asgi)
	wheels := append([]wheel{newWheel("demo", v.version, map[string]string{"demo/__init__.py": code})}, v.wheels...)
	m := bundle.Manifest{Schema: bundle.Schema, Application: "demo", Version: v.version, CreatedAt: time.Now(), Python: f.image.Version,
		Platform: f.image.Platform, App: "demo:app", Port: f.port, RoutePrefix: "/api/demo", HealthPath: "/healthz", Workers: f.workers, Limits: v.limits, HealthRequest: v.request}
	for n, w := range wheels {
		m.Wheels = append(m.Wheels, bundle.Wheel{File: w.file, SHA256: bundle.Sum(w.content), Size: int64(len(w.content))})
		if v.corrupt && n == 0 {
			w.content = append([]byte("X"), w.content[1:]...)
		}
		f.put(bundle.Key("demo", v.version, w.file), w.content)
	}
	content, sum, err := m.Encode()
	check(f.t, err)
	f.put(bundle.Key("demo", v.version, bundle.ManifestName), content)
	return f.desire(v.version, sum)
}

func (f *fixture) put(key string, content []byte) {
	f.t.Helper()
	_, err := f.s3.PutObject(f.t.Context(), &s3.PutObjectInput{Bucket: aws.String(s3test.Bucket), Key: &key, Body: bytes.NewReader(content)})
	check(f.t, err)
}

func (f *fixture) desire(version, sum string) release {
	f.t.Helper()
	d := registry.Desired{Version: version, SHA256: sum, PublishedAt: time.Now().Format(time.RFC3339Nano)}
	_, err := registry.Publish(f.t.Context(), f.registry, "demo", d)
	check(f.t, err)
	return release{"demo", version, sum, d.PublishedAt}
}

// await waits for the result of a version's deployment.
func (f *fixture) await(version string) registry.Progress {
	f.t.Helper()
	var p registry.Progress
	eventually(f.t, "the result of "+version, func() error {
		all, err := registry.ReadProgress(f.t.Context(), f.registry, "demo", version)
		p = all["app1"]
		if err == nil && !p.Phase.Ended() {
			err = fmt.Errorf("phase is %q", p.Phase)
		}
		return err
	})
	return p
}

func (f *fixture) mustBeHealthy(version string) {
	f.t.Helper()
	if p := f.await(version); p.Phase != registry.PhaseHealthy {
		f.t.Fatalf("version %s: %s: %s", version, p.Phase, p.Error)
	}
	eventually(f.t, "only "+version+" to answer", func() error {
		if got := f.answer(); got != version {
			return fmt.Errorf("%q answers", got)
		}
		return nil
	})
}

// answer returns the version that answers on the application's port.
func (f *fixture) answer() string {
	a := probe{host: "127.0.0.1", port: f.port, path: "/"}.send(f.t.Context())
	if a.err != nil {
		return a.err.Error()
	}
	return a.version
}
