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
)

// BenchmarkTwoHundredNodes is the time from publishing a version to the last of
// 200 nodes being healthy. Everything but Python is real: the registry is Debian's
// Redis, and each node is a daemon with its own files and its own address, that
// fetches all wheels over HTTP, checks their sums, and probes what it started.
func BenchmarkTwoHundredNodes(b *testing.B) {
	const nodes, wheels = 200, 40
	r := newFleet(b)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	b.Cleanup(func() { cancel(); all.Wait() })
	for n := range nodes {
		d := r.node(n)
		all.Go(func() { check(b, d.run(ctx)) })
	}
	n := 0
	for b.Loop() {
		n++
		r.publish(fmt.Sprint(n), wheels)
		r.await(fmt.Sprint(n), nodes)
	}
}

// fleet is what simulated nodes share.
type fleet struct {
	*rig
	objects *objects
}

func newFleet(b *testing.B) *fleet {
	r := &rig{t: b, registry: startRedis(b), offered: registry.Python{Version: "3.13", Platform: "manylinux_2_41_x86_64"}}
	o := &objects{content: map[string][]byte{}}
	front := httptest.NewServer(o)
	b.Cleanup(front.Close)
	r.s3 = s3test.Client(front.URL)
	return &fleet{r, o}
}

// node is a daemon at an address of its own.
func (f *fleet) node(n int) *daemon {
	folder := f.t.(*testing.B).TempDir()
	host := fmt.Sprintf("127.0.1.%d", n+1)
	s := store{filepath.Join(folder, "applications")}
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
		deployer: deployer{store: s, fetch: fetcher{f.s3, s3test.Bucket, s}, python: python{nothing}, supervisor: units, offered: f.offered, host: host, log: log},
		node:     fmt.Sprintf("app%d", n), registry: f.registry, workers: map[string]chan struct{}{},
		status: status{path: filepath.Join(folder, "applications.json"), store: s, supervisor: units, log: log, mu: new(sync.Mutex)},
	}
}

func (f *fleet) publish(version string, wheels int) {
	m := bundle.Manifest{Schema: bundle.Schema, Application: "demo", Version: version, CreatedAt: time.Now(), Python: f.offered.Version,
		Platform: f.offered.Platform, App: "demo:app", Port: 8000, RoutePrefix: "/api/demo", HealthPath: "/healthz", Workers: 1}
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
	eventually(f.t, "all nodes", func() error {
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

// objects is as much of S3 as a node asks for.
type objects struct {
	mu      sync.RWMutex
	content map[string][]byte
}

func (o *objects) put(key string, content []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.content["/"+s3test.Bucket+"/"+key] = content
}

// ServeHTTP implements http.Handler.
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

// servers stands in for systemd and uvicorn: a unit is a server that says the
// version. Two that serve the same port have it one after the other.
type servers struct {
	host, root string
	mu         sync.Mutex
	running    map[string]*server
}

// server accepts connections until it is closed, and its port is free then.
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
	<-s.ended // an accept on its way holds the port
	return err
}

func (s *servers) Reload(context.Context) error { return nil }

func (s *servers) Start(_ context.Context, unit string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	version, trial := versionOf("demo", unit)
	v, err := store{s.root}.installed("demo", version)
	if err != nil || s.running[unit] != nil {
		return err
	}
	port := v.Port
	if trial {
		port += trialOffset
	}
	for name, before := range s.running {
		if _, t := versionOf("demo", name); t == trial {
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
		states[unit] = stateActive
	}
	return states, nil
}

func (s *servers) Log(context.Context, string, time.Time) string { return "" }
