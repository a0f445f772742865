//go:build linux

package routing

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/pki"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/internal/testkit/await"
	"github.com/xeroops/xeroops/internal/testkit/debiantree"
	"github.com/xeroops/xeroops/node/internal/registrytest"
	"github.com/xeroops/xeroops/node/internal/topology"
)

// fixture is a management node with Debian 13's Redis and HAProxy and the daemon. Its
// other nodes are addresses of the loopback network.
type fixture struct {
	t        testing.TB
	dir      string
	network  string // 127.x.y.
	redis    *registrytest.Server
	admin    *redis.Client
	node     *redis.Client // as nodes use it
	haproxy  *exec.Cmd
	settings Settings
	ca       *pki.Authority // of Patroni's certificates
	topology cluster.Topology
	log      logBuffer          // the daemon's
	stop     context.CancelFunc // of the daemon
	stopped  chan struct{}      // closed when the daemon has stopped
	served   atomic.Int64       // requests that nodes have answered, without checks
}

var networks atomic.Uint32

func newFixture(t testing.TB) *fixture {
	t.Helper()
	debiantree.Path(t)
	dir, err := os.MkdirTemp("", "routing") // t.TempDir's paths are too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, dir: dir, network: fmt.Sprintf("127.%d.%d.", 100+os.Getpid()%100, networks.Add(1))}
	front := f.network + "250"
	f.settings = Settings{
		Config: filepath.Join(dir, "haproxy.cfg"), StatsSocket: filepath.Join(dir, "stats"), MasterSocket: filepath.Join(dir, "master"),
		StateFile: filepath.Join(dir, "state", "servers"), Group: "haproxy", CA: filepath.Join(dir, "ca.pem"),
		Applications: front + ":5001", Primary: front + ":5432", Replica: front + ":5433",
	}
	if f.ca, err = pki.NewAuthority("test", pki.Nodes, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.settings.CA, pki.Generations{f.ca}.Bundle(), 0o644); err != nil {
		t.Fatal(err)
	}
	f.topology = cluster.Topology{Schema: cluster.TopologySchema, Cluster: "test",
		Nodes: []cluster.TopologyNode{{Name: "management", Role: cluster.RoleManagement, Address: f.network + "249"}}}
	f.redis = registrytest.Start(t, f.network+"249")
	f.admin, f.node = f.redis.As(registry.UserAdmin), f.redis.As(registry.UserNode)
	f.writeTopology()
	return f
}

// start starts the daemon and, once it is ready, HAProxy.
func (f *fixture) start() {
	f.t.Helper()
	f.startDaemon()
	f.startHAProxy()
}

func (f *fixture) startDaemon() {
	f.t.Helper()
	ctx, stop := context.WithCancel(f.t.Context())
	b := f.newBalancer()
	r := &Routing{Redis: f.redis.As(registry.UserNode), Topology: f.files(), EntriesFile: filepath.Join(f.dir, "entries.json"), Log: b.log, Balancer: b}
	ready := make(chan struct{})
	f.stop, f.stopped = stop, make(chan struct{})
	go func() {
		defer close(f.stopped)
		if err := r.Run(ctx, func() { close(ready) }); err != nil {
			f.t.Error(err)
		}
	}()
	f.t.Cleanup(f.stopDaemon)
	<-ready
}

func (f *fixture) newBalancer() *balancer {
	log := hclog.New(&hclog.LoggerOptions{Name: "routing", Level: hclog.Debug, Output: io.MultiWriter(testWriter{f.t}, &f.log)})
	return &balancer{Settings: f.settings, log: log, haproxy: func(_ context.Context, args ...string) *exec.Cmd {
		return debiantree.Command(f.t, "haproxy", args...)
	}}
}

func (f *fixture) stopDaemon() {
	f.stop()
	<-f.stopped
}

func (f *fixture) startHAProxy() {
	f.t.Helper()
	f.haproxy = debiantree.Command(f.t, "haproxy", "-W", "-S", f.settings.MasterSocket, "-f", f.settings.Config)
	if _, isTest := f.t.(*testing.T); isTest { // too verbose in a benchmark
		f.haproxy.Stdout, f.haproxy.Stderr = testWriter{f.t}, testWriter{f.t}
	}
	if err := f.haproxy.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(f.killHAProxy)
	f.await("HAProxy to answer", func() bool {
		_, err := runningConfigHash(f.t.Context(), f.settings.StatsSocket)
		return err == nil
	})
}

// killHAProxy kills the master, with which the workers end.
func (f *fixture) killHAProxy() {
	if f.haproxy.ProcessState == nil {
		_ = f.haproxy.Process.Kill()
		_ = f.haproxy.Wait()
	}
}

func (f *fixture) files() topology.Files {
	return topology.Files{Topology: filepath.Join(f.dir, "topology.json"), Hosts: filepath.Join(f.dir, "hosts")}
}

func (f *fixture) writeTopology() {
	f.t.Helper()
	if _, err := f.files().Write(f.topology); err != nil {
		f.t.Fatal(err)
	}
}

// add adds a node to the topology and returns its address.
func (f *fixture) add(name string, role cluster.Role) string {
	f.t.Helper()
	address := fmt.Sprintf("%s%d", f.network, len(f.topology.Nodes)+10)
	f.topology.Nodes = append(f.topology.Nodes, cluster.TopologyNode{Name: name, Role: role, Address: address})
	f.writeTopology()
	return address
}

func (f *fixture) remove(name string) {
	f.t.Helper()
	for i, n := range f.topology.Nodes {
		if n.Name == name {
			f.topology.Nodes = append(append([]cluster.TopologyNode{}, f.topology.Nodes[:i]...), f.topology.Nodes[i+1:]...)
			f.writeTopology()
			return
		}
	}
	f.t.Fatalf("no node %s", name)
}

// beat writes a node's entry, as discovery does.
func (f *fixture) beat(name string, state registry.NodeState, apps ...registry.Application) {
	f.t.Helper()
	n := registry.Node{Schema: registry.Schema, Name: name, Role: cluster.RoleApp, State: state, Applications: apps, UpdatedAt: time.Now()}
	if err := registry.WriteNode(f.t.Context(), f.node, n, true); err != nil {
		f.t.Fatal(err)
	}
}

// await polls until a condition is true.
func (f *fixture) await(what string, condition func() bool) {
	f.t.Helper()
	await.Until(f.t, what, condition)
}

// up reports whether HAProxy has the server and considers it up.
func (f *fixture) up(backend, server string) bool {
	all, err := runningServers(f.t.Context(), f.settings.StatsSocket)
	return err == nil && all[backend][server].up
}

func (f *fixture) url(path string) string { return "http://" + f.settings.Applications + path }

// has reports whether HAProxy has the server and is not about to delete it.
func (f *fixture) has(backend, server string) bool {
	f.t.Helper()
	all, err := runningServers(f.t.Context(), f.settings.StatsSocket)
	if err != nil {
		f.t.Fatal(err)
	}
	s, found := all[backend][server]
	return found && !s.maintenance
}

func (f *fixture) weight(backend, server string) string {
	all, _ := runningServers(f.t.Context(), f.settings.StatsSocket)
	return all[backend][server].weight
}

// resync makes the daemon read the registry, and waits until it has.
func (f *fixture) resync() {
	f.t.Helper()
	reads := regexp.MustCompile(`cmdstat_mget:calls=(\d+)`)
	count := func() int {
		info, err := f.admin.Info(f.t.Context(), "commandstats").Result()
		if err != nil {
			f.t.Fatal(err)
		}
		n := 0
		if found := reads.FindStringSubmatch(info); found != nil {
			n, _ = strconv.Atoi(found[1])
		}
		return n
	}
	before := count()
	f.await("routing to read the registry", func() bool {
		if err := f.admin.Publish(f.t.Context(), registry.TopologyChannel, "app1").Err(); err != nil {
			f.t.Fatal(err)
		}
		return count() > before+1 // the second read began after the message
	})
}

func (f *fixture) clientAt(address string) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
}

// twoApps returns a topology of two app nodes, for tests that run nothing.
func twoApps() cluster.Topology {
	return cluster.Topology{Nodes: []cluster.TopologyNode{
		{Name: "app1", Role: cluster.RoleApp, Address: "127.0.0.1"}, {Name: "app2", Role: cluster.RoleApp, Address: "127.0.0.2"}}}
}

// get returns the status and the name of the node that answered.
func (f *fixture) get(path string) (status int, by string) {
	res, err := http.Get(f.url(path))
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	return res.StatusCode, res.Header.Get("X-Served-By")
}

// servesNewConnections reports whether n connections in a row are answered with 200. The
// worker that a reload replaces accepts connections, too, for some milliseconds; the
// kernel gives it half of them.
func (f *fixture) servesNewConnections(path string, n int) bool {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for range n {
		res, err := client.Get(f.url(path))
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return false
		}
	}
	return true
}

// appNode serves an application at an address until it is killed.
type appNode struct {
	server *http.Server
	checks atomic.Int64 // health checks by HAProxy
}

func (f *fixture) serve(name, address string, handler http.Handler) *appNode {
	f.t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		f.t.Fatal(err)
	}
	n := &appNode{}
	n.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() == "haproxy" {
			n.checks.Add(1)
			return
		}
		w.Header().Set("X-Served-By", name)
		if handler != nil {
			handler.ServeHTTP(w, r)
		}
		f.served.Add(1)
	})}
	go func() { _ = n.server.Serve(listener) }()
	f.t.Cleanup(n.kill)
	return n
}

// kill closes the listener and every connection at once.
func (n *appNode) kill() { _ = n.server.Close() }

// stop closes the listener and waits for the requests in progress.
func (n *appNode) stop(t *testing.T) {
	t.Helper()
	if err := n.server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func application(name string, port int) registry.Application {
	return registry.Application{Name: name, Version: "1", Port: port, RoutePrefix: "/api/" + name, HealthPath: "/healthz", State: registry.AppRunning}
}

// logBuffer collects a log.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}
