package deployments

import (
	"bytes"
	"context"
	"fmt"
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

	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/internal/testkit/debiantree"
	"github.com/xeroops/xeroops/internal/wheelfile"
	"github.com/xeroops/xeroops/node/internal/s3test"
)

const patience = 90 * time.Second

// rig is one app node: the daemon with Debian's Python and Redis, moto as S3,
// and in systemd's place a supervisor that runs what the units say.
type rig struct {
	t        testing.TB
	store    store
	registry *redis.Client
	s3       *s3.Client
	s3Away   atomic.Bool
	units    *processes
	port     int
	workers  int
	offered  registry.Python
	stop     func() // of the daemon
}

func newRig(t testing.TB) *rig {
	t.Helper()
	root := filepath.Join(t.TempDir(), "applications")
	check(t, os.Mkdir(root, 0o755))
	r := &rig{t: t, store: store{root}, port: freePort(t), workers: 1, registry: startRedis(t)}
	r.s3 = startS3(t, &r.s3Away)
	r.units = newProcesses(t, root)
	var err error
	r.offered, err = r.python().offers(t.Context())
	check(t, err)
	return r
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (r *rig) python() python {
	return python{command: func(_ context.Context, folder, name string, args ...string) *exec.Cmd {
		return debiantree.CommandIn(r.t, folder, name, args...)
	}}
}

func (r *rig) daemon() *daemon {
	log := hclog.New(&hclog.LoggerOptions{Name: "deployments", Output: testWriter{r.t}, Level: hclog.Debug})
	return &daemon{
		deployer: deployer{store: r.store, fetch: fetcher{r.s3, s3test.Bucket, r.store}, python: r.python(), supervisor: r.units, offered: r.offered, host: "127.0.0.1", log: log},
		node:     "app1", registry: r.registry, workers: map[string]chan struct{}{},
		status: status{path: filepath.Join(filepath.Dir(r.store.root), "applications.json"), store: r.store, supervisor: r.units, log: log, mu: new(sync.Mutex)},
	}
}

// start runs a daemon until the test ends or r.stop is called.
func (r *rig) start() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	d := r.daemon()
	go func() { done <- d.run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		check(r.t, <-done)
	})
	r.t.Cleanup(r.stop)
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func freePort(t testing.TB) int {
	t.Helper()
	for port := bundle.FirstPort; port <= bundle.LastPort; port++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		trial, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+trialOffset))
		check(t, l.Close())
		if err == nil {
			check(t, trial.Close())
			return port
		}
	}
	t.Fatal("no port from 8000 to 8099 is free")
	return 0
}

func startRedis(t testing.TB) *redis.Client {
	t.Helper()
	folder := t.TempDir()
	socket := filepath.Join(folder, "redis")
	cmd := debiantree.CommandIn(t, folder, "redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder)
	check(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	c := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = c.Close() })
	eventually(t, "Redis to answer", func() error { return c.Ping(context.Background()).Err() })
	return c
}

// startS3 starts moto behind a proxy that can keep everybody out.
func startS3(t testing.TB, away *atomic.Bool) *s3.Client {
	t.Helper()
	target, err := url.Parse(s3test.Start(t))
	check(t, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if away.Load() {
			http.Error(w, "away", http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, q)
	}))
	t.Cleanup(front.Close)
	return s3test.Client(front.URL)
}

func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s: %v", patience, what, err)
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

// asgi is an application that says its version, and waits where it is asked to.
const asgi = `
import asyncio

async def app(scope, receive, send):
    assert scope["type"] == "http"
    status, body = 200, b"VERSION"
    if scope["path"] == "/healthz":
        status = HEALTH
    elif scope["path"].startswith("/wait/"):
        await asyncio.sleep(float(scope["path"][6:]))
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
`

// version is an application called demo, as tests want it.
type version struct {
	version    string
	health     int    // status of its health path; 200 where 0
	healthCode string // Python that tells the status, where it is not always the same
	begins     string // of its module
	spoilt     bool   // a wheel is not what its sum says
	wheels     []wheel
}

// publish uploads a version and makes it the desired one.
func (r *rig) publish(v version) release {
	r.t.Helper()
	if v.health == 0 {
		v.health = 200
	}
	if v.healthCode == "" {
		v.healthCode = fmt.Sprint(v.health)
	}
	code := v.begins + strings.NewReplacer("VERSION", v.version, "HEALTH", v.healthCode).Replace(asgi)
	wheels := append([]wheel{newWheel("demo", v.version, map[string]string{"demo/__init__.py": code})}, v.wheels...)
	m := bundle.Manifest{Schema: bundle.Schema, Application: "demo", Version: v.version, CreatedAt: time.Now(), Python: r.offered.Version,
		Platform: r.offered.Platform, App: "demo:app", Port: r.port, RoutePrefix: "/api/demo", HealthPath: "/healthz", Workers: r.workers}
	for n, w := range wheels {
		m.Wheels = append(m.Wheels, bundle.Wheel{File: w.file, SHA256: bundle.Sum(w.content), Size: int64(len(w.content))})
		if v.spoilt && n == 0 {
			w.content = append([]byte("X"), w.content[1:]...)
		}
		r.put(bundle.Key("demo", v.version, w.file), w.content)
	}
	content, sum, err := m.Encode()
	check(r.t, err)
	r.put(bundle.Key("demo", v.version, bundle.ManifestName), content)
	return r.desire(v.version, sum)
}

func (r *rig) put(key string, content []byte) {
	r.t.Helper()
	_, err := r.s3.PutObject(r.t.Context(), &s3.PutObjectInput{Bucket: aws.String(s3test.Bucket), Key: &key, Body: bytes.NewReader(content)})
	check(r.t, err)
}

func (r *rig) desire(version, sum string) release {
	r.t.Helper()
	d := registry.Desired{Version: version, SHA256: sum, PublishedAt: time.Now().Format(time.RFC3339Nano)}
	_, err := registry.Publish(r.t.Context(), r.registry, "demo", d)
	check(r.t, err)
	return release{"demo", version, sum, d.PublishedAt}
}

// await returns the end of a version's deployment.
func (r *rig) await(version string) registry.Progress {
	r.t.Helper()
	var p registry.Progress
	eventually(r.t, "the end of "+version, func() error {
		all, err := registry.ReadProgress(r.t.Context(), r.registry, "demo", version)
		p = all["app1"]
		if err == nil && !p.Phase.Ended() {
			err = fmt.Errorf("phase is %q", p.Phase)
		}
		return err
	})
	return p
}

func (r *rig) mustBeHealthy(version string) {
	r.t.Helper()
	if p := r.await(version); p.Phase != registry.PhaseHealthy {
		r.t.Fatalf("version %s: %s: %s", version, p.Phase, p.Error)
	}
	eventually(r.t, "nothing but "+version+" to answer", func() error {
		if got := r.answer(); got != version {
			return fmt.Errorf("%q answers", got)
		}
		return nil
	})
}

// answer is what the application says.
func (r *rig) answer() string {
	a := probe{host: "127.0.0.1", port: r.port, path: "/"}.ask(r.t.Context())
	if a.err != nil {
		return a.err.Error()
	}
	return a.version
}
