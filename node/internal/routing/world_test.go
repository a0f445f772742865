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
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/internal/testkit/debiantree"
	"github.com/xeroops/xeroops/node/internal/registrytest"
	"github.com/xeroops/xeroops/node/internal/topology"
)

// world is a management node: Redis and HAProxy of Debian 13, with the daemon in
// between, and nodes that are addresses of the loopback network.
type world struct {
	t        testing.TB
	dir      string
	network  string // 127.x.y.
	redis    *registrytest.Server
	admin    *redis.Client
	node     *redis.Client // what nodes write with
	haproxy  *exec.Cmd
	settings Settings
	topology cluster.Topology
	log      logged             // what the daemon said
	stop     context.CancelFunc // of the daemon
	stopped  chan struct{}
}

var networks atomic.Uint32

func newWorld(t testing.TB) *world {
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
	w := &world{t: t, dir: dir, network: fmt.Sprintf("127.%d.%d.", 100+os.Getpid()%100, networks.Add(1))}
	front := w.network + "250"
	w.settings = Settings{
		Config: filepath.Join(dir, "haproxy.cfg"), StatsSocket: filepath.Join(dir, "stats"), Master: filepath.Join(dir, "master"),
		StateFile: filepath.Join(dir, "state", "servers"), Group: "haproxy",
		Applications: front + ":5001", Primary: front + ":5432", Replica: front + ":5433",
	}
	w.topology = cluster.Topology{Schema: cluster.TopologySchema, Cluster: "test",
		Nodes: []cluster.TopologyNode{{Name: "management", Role: cluster.RoleManagement, Address: w.network + "249"}}}
	w.redis = registrytest.Start(t, w.network+"249")
	w.admin, w.node = w.redis.As(registry.UserAdmin), w.redis.As(registry.UserNode)
	w.writeTopology()
	return w
}

// start runs the daemon and, once it is ready, HAProxy.
func (w *world) start() {
	w.t.Helper()
	w.startDaemon()
	w.startHAProxy()
}

func (w *world) startDaemon() {
	w.t.Helper()
	ctx, stop := context.WithCancel(w.t.Context())
	log := hclog.New(&hclog.LoggerOptions{Name: "routing", Level: hclog.Debug, Output: io.MultiWriter(testWriter{w.t}, &w.log)})
	r := &Routing{Redis: w.redis.As(registry.UserNode), Topology: w.files(), Saved: filepath.Join(w.dir, "entries.json"), Log: log,
		Balancer: &balancer{Settings: w.settings, log: log, haproxy: func(_ context.Context, args ...string) *exec.Cmd {
			return debiantree.Command(w.t, "haproxy", args...)
		}}}
	ready := make(chan struct{})
	w.stop, w.stopped = stop, make(chan struct{})
	go func() {
		defer close(w.stopped)
		if err := r.Run(ctx, func() { close(ready) }); err != nil {
			w.t.Error(err)
		}
	}()
	w.t.Cleanup(w.stopDaemon)
	<-ready
}

func (w *world) stopDaemon() {
	w.stop()
	<-w.stopped
}

func (w *world) startHAProxy() {
	w.t.Helper()
	w.haproxy = debiantree.Command(w.t, "haproxy", "-W", "-S", w.settings.Master, "-f", w.settings.Config)
	if _, is := w.t.(*testing.T); is { // a benchmark's are too many words
		w.haproxy.Stdout, w.haproxy.Stderr = testWriter{w.t}, testWriter{w.t}
	}
	if err := w.haproxy.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.killHAProxy)
	w.within(5*time.Second, "HAProxy answers", func() bool {
		_, err := runningShape(w.t.Context(), w.settings.StatsSocket)
		return err == nil
	})
}

// killHAProxy kills the master; workers end with it.
func (w *world) killHAProxy() {
	if w.haproxy.ProcessState == nil {
		_ = w.haproxy.Process.Kill()
		_ = w.haproxy.Wait()
	}
}

func (w *world) files() topology.Files {
	return topology.Files{Topology: filepath.Join(w.dir, "topology.json"), Hosts: filepath.Join(w.dir, "hosts")}
}

func (w *world) writeTopology() {
	w.t.Helper()
	if _, err := w.files().Write(w.topology); err != nil {
		w.t.Fatal(err)
	}
}

// add puts a node into the topology and returns its address.
func (w *world) add(name string, role cluster.Role) string {
	w.t.Helper()
	address := fmt.Sprintf("%s%d", w.network, len(w.topology.Nodes)+10)
	w.topology.Nodes = append(w.topology.Nodes, cluster.TopologyNode{Name: name, Role: role, Address: address})
	w.writeTopology()
	return address
}

func (w *world) remove(name string) {
	w.t.Helper()
	for i, n := range w.topology.Nodes {
		if n.Name == name {
			w.topology.Nodes = append(append([]cluster.TopologyNode{}, w.topology.Nodes[:i]...), w.topology.Nodes[i+1:]...)
			w.writeTopology()
			return
		}
	}
	w.t.Fatalf("no node %s", name)
}

// beat writes a node's entry, as discovery does.
func (w *world) beat(name string, state registry.NodeState, apps ...registry.Application) {
	w.t.Helper()
	n := registry.Node{Schema: registry.Schema, Name: name, Role: cluster.RoleApp, State: state, Applications: apps, UpdatedAt: time.Now()}
	if err := registry.WriteNode(w.t.Context(), w.node, n, true); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) within(limit time.Duration, what string, is func() bool) time.Duration {
	w.t.Helper()
	begun := time.Now()
	for !is() {
		if time.Since(begun) > limit {
			w.t.Fatalf("not within %s: %s", limit, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(begun)
}

// up says whether HAProxy has the server and thinks that it is up.
func (w *world) up(backend, server string) bool {
	all, err := runningServers(w.t.Context(), w.settings.StatsSocket)
	return err == nil && all[backend][server].up
}

func (w *world) url(path string) string { return "http://" + w.settings.Applications + path }

// has says whether HAProxy has the server, and does not only wait for its last
// connection to end.
func (w *world) has(backend, server string) bool {
	all, err := runningServers(w.t.Context(), w.settings.StatsSocket)
	is, found := all[backend][server]
	return err == nil && found && !is.maintenance
}

func (w *world) weight(backend, server string) string {
	all, _ := runningServers(w.t.Context(), w.settings.StatsSocket)
	return all[backend][server].weight
}

// look makes the daemon look at the registry, and waits until it has.
func (w *world) look() {
	w.t.Helper()
	reads := regexp.MustCompile(`cmdstat_mget:calls=(\d+)`)
	count := func() int {
		info, err := w.admin.Info(w.t.Context(), "commandstats").Result()
		if err != nil {
			w.t.Fatal(err)
		}
		n := 0
		if found := reads.FindStringSubmatch(info); found != nil {
			n, _ = strconv.Atoi(found[1])
		}
		return n
	}
	before := count()
	w.within(8*time.Second, "routing has looked again", func() bool {
		if err := w.admin.Publish(w.t.Context(), registry.TopologyChannel, "app1").Err(); err != nil {
			w.t.Fatal(err)
		}
		return count() > before+1 // the second began after the message
	})
}

func (w *world) clientAt(address string) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
}

func twoApps(w *world) cluster.Topology {
	return cluster.Topology{Nodes: []cluster.TopologyNode{
		{Name: "app1", Role: cluster.RoleApp, Address: w.network + "1"}, {Name: "app2", Role: cluster.RoleApp, Address: w.network + "2"}}}
}

// get returns the status and who answered.
func (w *world) get(path string) (status int, by string) {
	res, err := http.Get(w.url(path))
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	return res.StatusCode, res.Header.Get("X-Served-By")
}

// appNode serves an application at an address until it is killed.
type appNode struct {
	server *http.Server
}

func serve(t testing.TB, name, address string, handler http.Handler) *appNode {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Served-By", name)
		if handler != nil {
			handler.ServeHTTP(w, r)
		}
	})
	n := &appNode{server: &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}}
	go func() { _ = n.server.Serve(listener) }()
	t.Cleanup(n.kill)
	return n
}

// kill ends the listener and every connection at once.
func (n *appNode) kill() { _ = n.server.Close() }

func application(name string, port int) registry.Application {
	return registry.Application{Name: name, Version: "1", Port: port, RoutePrefix: "/api/" + name, HealthPath: "/healthz", State: registry.AppRunning}
}

// logged keeps what was logged.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) has(text string) bool {
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
