package deployments

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/node/internal/s3test"
	"github.com/xeroops/xeroops/node/internal/systemd"
)

// BenchmarkTwoHundredNodes measures the time from publishing a version until 200 nodes run
// it. Everything but Python is real: the registry is Debian's Redis, and each node is a
// daemon with its own files and address that downloads and verifies all wheels over HTTP
// and checks the health of what it started.
func BenchmarkTwoHundredNodes(b *testing.B) {
	const nodes, wheels = 200, 40
	f := newFleet(b)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	b.Cleanup(func() { cancel(); all.Wait() })
	for n := range nodes {
		d := f.node(n)
		all.Go(func() { check(b, d.run(ctx)) })
	}
	n := 0
	for b.Loop() {
		n++
		f.publish(fmt.Sprint(n), wheels)
		f.await(fmt.Sprint(n), nodes)
	}
}

// fleet is what the simulated nodes share.
type fleet struct {
	*fixture
	objects *objects
}

func newFleet(b *testing.B) *fleet {
	f := &fixture{t: b, registry: startRedis(b), image: registry.Python{Version: "3.13", Platform: "manylinux_2_41_x86_64"}}
	o := &objects{content: map[string][]byte{}}
	front := httptest.NewServer(o)
	b.Cleanup(front.Close)
	f.s3 = s3test.Client(front.URL)
	return &fleet{f, o}
}

// node returns a daemon with an address of its own.
func (f *fleet) node(n int) *daemon {
	dir := f.t.(*testing.B).TempDir()
	host := fmt.Sprintf("127.0.1.%d", n+1)
	s := store{filepath.Join(dir, "applications")}
	check(f.t, os.Mkdir(s.root, 0o755))
	log := hclog.New(&hclog.LoggerOptions{Output: testWriter{f.t}, Level: hclog.Error})
	units := &servers{host: host, root: s.root, running: map[string]*server{}}
	nothing := func(ctx context.Context, _, _ string, args ...string) *exec.Cmd {
		if slices.Contains(args, "venv") {
			return exec.CommandContext(ctx, "mkdir", "-p", args[len(args)-1])
		}
		return exec.CommandContext(ctx, "true")
	}
	return &daemon{
		deployer: deployer{store: s, fetch: fetcher{f.s3, s3test.Bucket, s}, python: python{nothing}, supervisor: units, image: f.image, host: host, log: log},
		node:     fmt.Sprintf("app%d", n), registry: f.registry, workers: map[string]chan struct{}{},
		status: status{path: filepath.Join(dir, "applications.json"), store: s, supervisor: units, log: log, mu: new(sync.Mutex)},
	}
}

func (f *fleet) publish(version string, wheels int) {
	m := bundle.Manifest{Schema: bundle.Schema, Application: "demo", Version: version, CreatedAt: time.Now(), Python: f.image.Version,
		Platform: f.image.Platform, App: "demo:app", Port: 8000, RoutePrefix: "/api/demo", HealthPath: "/healthz", Workers: 1}
	for n := range wheels {
		w := newWheel(fmt.Sprintf("w%d", n), version, map[string]string{"x.py": strings.Repeat("x", 20_000)})
		m.Wheels = append(m.Wheels, bundle.Wheel{File: w.file, SHA256: bundle.Sum(w.content), Size: int64(len(w.content))})
		f.objects.put(bundle.Key("demo", version, w.file), w.content)
	}
	content, sum, err := m.Encode()
	check(f.t, err)
	f.objects.put(bundle.Key("demo", version, bundle.ManifestName), content)
	f.desire(version, sum)
}

func (f *fleet) await(version string, nodes int) {
	eventually(f.t, "all nodes to be healthy", func() error {
		all, err := registry.ReadProgress(f.t.(*testing.B).Context(), f.registry, "demo", version)
		healthy := 0
		for _, p := range all {
			if p.Phase == registry.PhaseHealthy {
				healthy++
			}
		}
		if err == nil && healthy < nodes {
			err = fmt.Errorf("%d of %d are healthy", healthy, nodes)
		}
		return err
	})
}

// objects is the part of S3 that a node uses.
type objects struct {
	mu      sync.RWMutex
	content map[string][]byte
}

func (o *objects) put(key string, content []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.content["/"+s3test.Bucket+"/"+key] = content
}

// ServeHTTP implements [http.Handler].
func (o *objects) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	content, there := o.content[r.URL.Path]
	if !there {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(content)
}

// servers simulates systemd and uvicorn: a unit is a server that answers with the version.
// A new one on a port replaces its predecessor.
type servers struct {
	host, root string
	mu         sync.Mutex
	running    map[string]*server
}

// server accepts connections until it is closed, after which its port is free.
type server struct {
	net.Listener
	ended chan struct{}
}

func newServer(l net.Listener, handler http.Handler) *server {
	s := &server{l, make(chan struct{})}
	go func() {
		defer close(s.ended)
		_ = (&http.Server{Handler: handler}).Serve(l)
	}()
	return s
}

func (s *server) Close() error {
	err := s.Listener.Close()
	<-s.ended // a pending accept holds the port
	return err
}

func (s *servers) Reload(context.Context) error { return nil }

func (s *servers) Start(_ context.Context, unit string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	version, trial := parseUnit("demo", unit)
	v, err := store{s.root}.installed("demo", version)
	if err != nil || s.running[unit] != nil {
		return err
	}
	port := v.Port
	if trial {
		port += trialOffset
	}
	for name, before := range s.running {
		if _, t := parseUnit("demo", name); t == trial {
			_ = before.Close()
			delete(s.running, name)
		}
	}
	l, err := net.Listen("tcp", net.JoinHostPort(s.host, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	s.running[unit] = newServer(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set(VersionHeader, version) }))
	return nil
}

func (s *servers) Stop(_ context.Context, unit string, _ bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if running := s.running[unit]; running != nil {
		delete(s.running, unit)
		return running.Close()
	}
	return nil
}

func (s *servers) States(context.Context, string) (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	states := map[string]string{}
	for unit := range s.running {
		states[unit] = systemd.Active
	}
	return states, nil
}

func (s *servers) Log(context.Context, string, time.Time) string { return "" }
