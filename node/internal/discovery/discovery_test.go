//go:build linux

package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/node/internal/backoff"
	"github.com/xeroops/xeroops/node/internal/registrytest"
	"github.com/xeroops/xeroops/node/internal/topology"
	"github.com/xeroops/xeroops/templates"
)

// app1 is a node whose state a test sets.
type app1 struct {
	mu    sync.Mutex
	state registry.NodeState
}

func (n *app1) become(state registry.NodeState) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state = state
}

func (n *app1) fingerprint(context.Context) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return string(n.state)
}

func (n *app1) entry(ctx context.Context) registry.Node {
	return registry.Node{Schema: registry.Schema, Name: "app1", Role: cluster.RoleApp, State: registry.NodeState(n.fingerprint(ctx)),
		Resources: registry.Resources{UptimeSeconds: uint64(time.Now().Unix())}, UpdatedAt: time.Now()}
}

// rig is a registry, and discovery on a node of its cluster.
type rig struct {
	t        *testing.T
	registry *registrytest.Server
	admin    *redis.Client
	node     *app1
	files    topology.Files
	messages <-chan *redis.Message
}

var addresses atomic.Uint32

func newRig(t *testing.T) *rig {
	t.Helper()
	address := fmt.Sprintf("127.%d.97.%d", 100+os.Getpid()%100, addresses.Add(1))
	folder := t.TempDir()
	r := &rig{t: t, registry: registrytest.Start(t, address), node: &app1{state: registry.NodeReady},
		files: topology.Files{Topology: filepath.Join(folder, "topology.json"), Hosts: filepath.Join(folder, "hosts")}}
	r.write(cluster.Topology{Schema: cluster.TopologySchema, Cluster: "test", Nodes: []cluster.TopologyNode{
		{Name: "app1", Role: cluster.RoleApp, Address: "127.0.97.1"}, {Name: "management", Role: cluster.RoleManagement, Address: address}}})
	r.admin = r.registry.As(registry.UserAdmin)
	r.messages = r.admin.Subscribe(t.Context(), registry.TopologyChannel).Channel()
	return r
}

func (r *rig) write(t cluster.Topology) {
	r.t.Helper()
	if _, err := r.files.Write(t); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) open(address string) *redis.Client {
	if address != r.registry.Address {
		r.t.Errorf("the registry was looked for at %s", address)
	}
	return r.registry.As(registry.UserNode)
}

// start runs discovery until the test ends.
func (r *rig) start() {
	d := &Discovery{Node: r.node, Open: r.open, Topology: r.files, Log: hclog.NewNullLogger()}
	ctx, stop := context.WithCancel(r.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); d.Run(ctx) }()
	r.t.Cleanup(func() { stop(); <-done })
}

func (r *rig) entry() (n registry.Node, found bool) {
	nodes, err := registry.ReadNodes(r.t.Context(), r.admin, []string{"app1"})
	if err != nil {
		return n, false
	}
	n, found = nodes["app1"]
	return n, found
}

func (r *rig) within(limit time.Duration, what string, is func() bool) {
	r.t.Helper()
	for begun := time.Now(); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > limit {
			r.t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

func (r *rig) hears(limit time.Duration) bool {
	select {
	case m := <-r.messages:
		return m.Payload == "app1"
	case <-time.After(limit):
		return false
	}
}

func TestEntryIsWrittenAtOnceAndToldOfOnAChangeOnly(t *testing.T) {
	r := newRig(t)
	r.start()
	if !r.hears(3 * time.Second) {
		t.Fatal("nobody was told of the first entry")
	}
	ttl, err := r.admin.PTTL(t.Context(), registry.NodeKey("app1")).Result()
	if err != nil || ttl <= registry.Expiry-5*time.Second || ttl > registry.Expiry {
		t.Errorf("the entry lives %s (%v), want %s", ttl, err, registry.Expiry)
	}
	r.node.become(registry.NodeDraining)
	if !r.hears(3 * time.Second) {
		t.Fatal("nobody was told of the change")
	}
	if n, _ := r.entry(); n.State != registry.NodeDraining {
		t.Errorf("state %s", n.State)
	}
	if r.hears(inspect + 2*time.Second) {
		t.Error("nothing changed but the load, and others were told")
	}
}

func TestRegistryThatWasAwayHearsTheLatestAtOnce(t *testing.T) {
	r := newRig(t)
	r.registry.Kill()
	r.start()
	r.node.become(registry.NodeDegraded)
	time.Sleep(2 * glance) // of trying in vain
	r.registry.Restart()
	r.within(lastPause*5/4+2*time.Second, "the entry is there", func() bool { n, found := r.entry(); return found && n.State == registry.NodeDegraded })

	r.registry.Kill()
	r.node.become(registry.NodeReady)
	time.Sleep(2 * glance)
	r.registry.Forget()
	r.registry.Restart()
	r.within(lastPause*5/4+2*time.Second, "the entry is there", func() bool { n, found := r.entry(); return found && n.State == registry.NodeReady })
}

func TestEntryThatTheRegistryLostIsWrittenAgain(t *testing.T) {
	r := newRig(t)
	r.start()
	key := registry.NodeKey("app1")
	for name, lose := range map[string]func() error{
		"emptied": func() error { return r.admin.FlushAll(t.Context()).Err() },
		// What Redis does when its clock has jumped ahead.
		"expired": func() error { return r.admin.PExpireAt(t.Context(), key, time.Unix(1, 0)).Err() },
	} {
		r.within(3*time.Second, "the entry is there", func() bool { _, found := r.entry(); return found })
		if err := lose(); err != nil {
			t.Fatal(err)
		}
		if _, found := r.entry(); found {
			t.Fatalf("%s: the entry is there still", name)
		}
		r.within(3*time.Second, name+": the entry is there again", func() bool { _, found := r.entry(); return found })
	}
}

func TestRegistryThatMovesIsFollowed(t *testing.T) {
	r := newRig(t)
	moved := *r
	second := newRig(t)
	moved.registry = second.registry
	opened := make(chan string, 10)
	d := &Discovery{Node: r.node, Topology: r.files, Log: hclog.NewNullLogger(), Open: func(address string) *redis.Client {
		opened <- address
		return registry.Open(address, registry.UserNode, registrytest.Password(registry.UserNode))
	}}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go d.Run(ctx)
	if at := <-opened; at != r.registry.Address {
		t.Errorf("the registry was looked for at %s", at)
	}
	now, err := second.files.Read()
	if err != nil {
		t.Fatal(err)
	}
	r.write(now)
	if at := <-opened; at != second.registry.Address {
		t.Errorf("the registry was looked for at %s", at)
	}
	r.within(3*time.Second, "the entry is there", func() bool { _, found := second.entry(); return found })
}

func TestEntryIsDueAfterThirtySecondsAndNewsWhenItDiffers(t *testing.T) {
	was := registry.Node{Name: "app1", State: registry.NodeReady}
	for name, test := range map[string]struct {
		age        time.Duration
		entry      registry.Node
		told, news bool
	}{
		"just written":    {time.Second, was, false, false},
		"due":             {30 * time.Second, was, true, false},
		"of other load":   {time.Second, registry.Node{Name: "app1", State: registry.NodeReady, Resources: registry.Resources{Load1: 2}}, false, false},
		"of other state":  {time.Second, registry.Node{Name: "app1", State: registry.NodeDegraded}, true, true},
		"due and changed": {30 * time.Second, registry.Node{Name: "app1", State: registry.NodeDegraded}, true, true},
		"with an application": {time.Second, registry.Node{Name: "app1", State: registry.NodeReady,
			Applications: []registry.Application{{Name: "shop"}}}, true, true},
	} {
		d := &Discovery{told: was, toldAt: time.Now().Add(-test.age)}
		d.consider(test.entry)
		if (d.toTell != nil) != test.told || d.news != test.news {
			t.Errorf("%s: to be told %t, news %t", name, d.toTell != nil, d.news)
		}
	}
}

func TestPauseGrowsToAFewSecondsAndVaries(t *testing.T) {
	d := &Discovery{Log: hclog.NewNullLogger(), pause: backoff.New(firstPause, lastPause)}
	var lengths []time.Duration
	for range 8 {
		d.settle(t.Context(), errors.New("it is away"))
		lengths = append(lengths, time.Until(d.after))
	}
	if lengths[0] > 400*time.Millisecond || lengths[7] < 2*time.Second || lengths[7] > 5*time.Second {
		t.Errorf("pauses %v", lengths)
	}
}

func TestNodeThatIsNotKnownMakesTheTopologyBeFetchedEarly(t *testing.T) {
	r := newRig(t)
	f := &fetcher{Copy: r.files, Log: hclog.NewNullLogger()}
	early := make(chan struct{}, 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan struct{})
	go func() { defer close(done); f.listen(ctx, r.open, early) }()
	publish := func(node string) {
		if err := r.admin.Publish(t.Context(), registry.TopologyChannel, node).Err(); err != nil {
			t.Fatal(err)
		}
	}
	r.within(3*time.Second, "discovery listens", func() bool {
		n, err := r.admin.PubSubNumSub(t.Context(), registry.TopologyChannel).Result()
		return err == nil && n[registry.TopologyChannel] == 2
	})
	publish("app1")
	publish("app9")
	select {
	case <-early:
	case <-time.After(3 * time.Second):
		t.Error("the topology is not fetched early")
	}
	select {
	case <-early:
		t.Error("the topology is fetched for a node that is known")
	default:
	}
	stop()
	<-done
}

// TestWithoutARegistryNobodyIsListenedTo is about the password: a client without an
// address goes to the Redis of this machine, which on an app node is another's.
func TestWithoutARegistryNobodyIsListenedTo(t *testing.T) {
	files := topology.Files{Topology: filepath.Join(t.TempDir(), "topology.json"), Hosts: filepath.Join(t.TempDir(), "hosts")}
	if _, err := files.Write(cluster.Topology{Schema: cluster.TopologySchema, Cluster: "test", Nodes: []cluster.TopologyNode{
		{Name: "app1", Role: cluster.RoleApp, Address: "10.0.2.10"}}}); err != nil {
		t.Fatal(err)
	}
	f := &fetcher{Copy: files, Log: hclog.NewNullLogger()}
	ctx, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer stop()
	f.listen(ctx, func(address string) *redis.Client {
		t.Errorf("the registry was looked for at %q", address)
		return registry.Open(address, registry.UserNode, "secret")
	}, make(chan struct{}, 1))
}

func TestOnlyATopologyOfTheClusterIsPutInPlace(t *testing.T) {
	good := cluster.Topology{Schema: cluster.TopologySchema, Cluster: "production", VPN: cluster.VPN{Routes: []string{"10.0.0.0/16"}}, Nodes: []cluster.TopologyNode{
		{Name: "app1", Role: cluster.RoleApp, Address: "10.0.2.10"}, {Name: "management", Role: cluster.RoleManagement, Address: "10.0.2.20"}}}
	for name, spoil := range map[string]func(*cluster.Topology){
		"good":            func(*cluster.Topology) {},
		"other cluster":   func(t *cluster.Topology) { t.Cluster = "staging" },
		"other schema":    func(t *cluster.Topology) { t.Schema = 2 },
		"no nodes":        func(t *cluster.Topology) { t.Nodes = nil },
		"name with more":  func(t *cluster.Topology) { t.Nodes[0].Name = "app1 www.example.com" },
		"name of a line":  func(t *cluster.Topology) { t.Nodes[0].Name = "app1\n192.0.2.1 x" },
		"address of host": func(t *cluster.Topology) { t.Nodes[0].Address = "127.0.0.1" },
		"no address":      func(t *cluster.Topology) { t.Nodes[0].Address = "app1" },
		"no route":        func(t *cluster.Topology) { t.VPN.Routes = []string{"10.0.0.0/16", "10.0.0.0/16 } accept #"} },
	} {
		folder := t.TempDir()
		files := topology.Files{Topology: filepath.Join(folder, "topology.json"), Hosts: filepath.Join(folder, "hosts")}
		is := good
		is.Nodes = append([]cluster.TopologyNode{}, good.Nodes...)
		spoil(&is)
		text, err := json.Marshal(is)
		if err != nil {
			t.Fatal(err)
		}
		fetched := filepath.Join(folder, "fetched.json")
		if err := os.WriteFile(fetched, text, 0o600); err != nil {
			t.Fatal(err)
		}
		changed, err := putInPlace(fetched, files, "production")
		if want := name == "good"; changed != want || (err == nil) != want {
			t.Errorf("%s: changed %t, %v", name, changed, err)
		}
	}
}

func TestApplicationsAreThoseOfTheFileAndAtWorstThoseOfBefore(t *testing.T) {
	m := &machine{registered: filepath.Join(t.TempDir(), "applications.json"), log: hclog.NewNullLogger()}
	for n, step := range []struct {
		text string
		want int
	}{{`[{"name":"shop"}]`, 1}, {`[{"name":"sh`, 1}, {`[]`, 0}, {`[{"name":"shop"},{"name":"notes"}]`, 2}} {
		if err := os.WriteFile(m.registered, []byte(step.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := m.applications(); len(got) != step.want {
			t.Errorf("step %d: %+v, want %d", n+1, got, step.want)
		}
	}
	if err := os.Remove(m.registered); err != nil {
		t.Fatal(err)
	}
	if got := m.applications(); len(got) != 0 {
		t.Errorf("without the file: %+v", got)
	}
}

func TestResourcesAreThoseOfTheMachine(t *testing.T) {
	r := resources("/")
	if r.CPUs < 1 || r.MemoryBytes < r.MemoryAvailableBytes || r.MemoryAvailableBytes == 0 || r.DiskBytes < r.DiskAvailableBytes || r.DataDiskBytes != r.DiskBytes || r.UptimeSeconds == 0 {
		t.Errorf("%+v", r)
	}
}

// systemd.path(5) starts it at a change only, and a full disk may have room later.
func TestNamesThatCouldNotBeWrittenAreTriedAgain(t *testing.T) {
	unit, err := templates.Files.ReadFile("services/discovery/files/usr/lib/systemd/system/xeroops-hosts.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"\nRestart=on-failure\n", "\nStartLimitIntervalSec=0\n"} {
		if !strings.Contains(string(unit), line) {
			t.Errorf("xeroops-hosts.service has no %q", line)
		}
	}
}
