//go:build linux

package discovery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/internal/testkit/await"
	"github.com/xeroops/xeroops/node/internal/backoff"
	"github.com/xeroops/xeroops/node/internal/registrytest"
	"github.com/xeroops/xeroops/node/internal/topology"
)

// app1 is a node whose state a test sets.
type app1 struct {
	mu            sync.Mutex
	state         registry.NodeState
	polls, checks int // calls of fingerprint and entry
}

func (n *app1) setState(state registry.NodeState) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state = state
}

func (n *app1) fingerprint(context.Context) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.polls++
	return string(n.state)
}

func (n *app1) counts() (polls, checks int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.polls, n.checks
}

func (n *app1) entry(context.Context) registry.Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.checks++
	return registry.Node{Schema: registry.Schema, Name: "app1", Role: cluster.RoleApp, State: n.state,
		Resources: registry.Resources{UptimeSeconds: uint64(time.Now().Unix())}, UpdatedAt: time.Now()}
}

// fixture is a registry and the discovery of a node of its cluster.
type fixture struct {
	t        *testing.T
	registry *registrytest.Server
	admin    *redis.Client
	node     *app1
	files    topology.Files
	messages <-chan *redis.Message
}

var addresses atomic.Uint32

func newFixture(t *testing.T) *fixture {
	t.Helper()
	address := fmt.Sprintf("127.%d.97.%d", 100+os.Getpid()%100, addresses.Add(1))
	dir := t.TempDir()
	f := &fixture{t: t, registry: registrytest.Start(t, address), node: &app1{state: registry.NodeReady},
		files: topology.Files{Topology: filepath.Join(dir, "topology.json"), Hosts: filepath.Join(dir, "hosts")}}
	f.write(cluster.Topology{Schema: cluster.TopologySchema, Cluster: "test", Nodes: []cluster.TopologyNode{
		{Name: "app1", Role: cluster.RoleApp, Address: "127.0.97.1"}, {Name: "management", Role: cluster.RoleManagement, Address: address}}})
	f.admin = f.registry.As(registry.UserAdmin)
	f.messages = f.admin.Subscribe(t.Context(), registry.TopologyChannel).Channel()
	return f
}

func (f *fixture) write(t cluster.Topology) {
	f.t.Helper()
	if _, err := f.files.Write(t); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) open(address string) *redis.Client {
	if address != f.registry.Address {
		f.t.Errorf("discovery connected to %s", address)
	}
	return f.registry.As(registry.UserNode)
}

// start runs discovery until the test ends.
func (f *fixture) start() {
	d := &Discovery{Node: f.node, Open: f.open, Topology: f.files, Log: hclog.NewNullLogger()}
	ctx, stop := context.WithCancel(f.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); d.Run(ctx) }()
	f.t.Cleanup(func() { stop(); <-done })
}

func (f *fixture) entry() (n registry.Node, found bool) {
	nodes, err := registry.ReadNodes(f.t.Context(), f.admin, []string{"app1"})
	if err != nil {
		return n, false
	}
	n, found = nodes["app1"]
	return n, found
}

// await polls until a condition is true.
func (f *fixture) await(what string, condition func() bool) {
	f.t.Helper()
	await.Until(f.t, what, condition)
}

// awaitPolls waits until discovery has polled the node twice, and so has published what
// it could.
func (f *fixture) awaitPolls() {
	f.t.Helper()
	before, _ := f.node.counts()
	f.await("two polls", func() bool { polls, _ := f.node.counts(); return polls >= before+2 })
}

// mustNotify waits for a message about app1.
func (f *fixture) mustNotify(what string) {
	f.t.Helper()
	select {
	case m := <-f.messages:
		if m.Payload != "app1" {
			f.t.Errorf("%s: message %q, want app1", what, m.Payload)
		}
	case <-time.After(await.Deadline):
		f.t.Fatalf("%s: no message within %s", what, await.Deadline)
	}
}

func TestChangedEntryIsPublishedAtOnce(t *testing.T) {
	f := newFixture(t)
	f.start()
	f.mustNotify("the first entry")
	ttl, err := f.admin.PTTL(t.Context(), registry.NodeKey("app1")).Result()
	if err != nil || ttl <= registry.Expiry-5*time.Second || ttl > registry.Expiry {
		t.Errorf("the entry expires after %s, %v; want %s", ttl, err, registry.Expiry)
	}
	f.node.setState(registry.NodeDraining)
	f.mustNotify("the change")
	if n, _ := f.entry(); n.State != registry.NodeDraining {
		t.Errorf("the entry has state %s, want %s", n.State, registry.NodeDraining)
	}
	_, before := f.node.counts()
	f.await("two health checks", func() bool { _, checks := f.node.counts(); return checks >= before+2 })
	f.awaitPolls()
	if err := f.admin.Publish(t.Context(), registry.TopologyChannel, "end").Err(); err != nil {
		t.Fatal(err)
	}
	if m := <-f.messages; m.Payload != "end" {
		t.Errorf("message %q was sent although only the load changed", m.Payload)
	}
}

func TestLatestEntryIsPublishedAfterAnOutage(t *testing.T) {
	f := newFixture(t)
	f.registry.Kill()
	f.start()
	f.node.setState(registry.NodeDegraded)
	f.awaitPolls()
	f.registry.Restart()
	f.await("the entry", func() bool { n, found := f.entry(); return found && n.State == registry.NodeDegraded })

	f.registry.Kill()
	f.node.setState(registry.NodeReady)
	f.awaitPolls()
	f.registry.Forget()
	f.registry.Restart()
	f.await("the entry", func() bool { n, found := f.entry(); return found && n.State == registry.NodeReady })
}

func TestLostEntryIsWrittenAgain(t *testing.T) {
	f := newFixture(t)
	f.start()
	key := registry.NodeKey("app1")
	for name, lose := range map[string]func() error{
		"emptied": func() error { return f.admin.FlushAll(t.Context()).Err() },
		// Redis expires the key if its clock jumps.
		"expired": func() error { return f.admin.PExpireAt(t.Context(), key, time.Unix(1, 0)).Err() },
	} {
		f.await("the entry", func() bool { _, found := f.entry(); return found })
		if err := lose(); err != nil {
			t.Fatal(err)
		}
		if _, found := f.entry(); found {
			t.Fatalf("%s: the entry still exists", name)
		}
		f.await(name+": the entry to be written again", func() bool { _, found := f.entry(); return found })
	}
}

func TestDiscoveryFollowsTheRegistry(t *testing.T) {
	f := newFixture(t)
	moved := *f
	second := newFixture(t)
	moved.registry = second.registry
	opened := make(chan string, 10)
	d := &Discovery{Node: f.node, Topology: f.files, Log: hclog.NewNullLogger(), Open: func(address string) *redis.Client {
		opened <- address
		return registry.Open(address, registry.UserNode, registrytest.Password(registry.UserNode))
	}}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go d.Run(ctx)
	if at := <-opened; at != f.registry.Address {
		t.Errorf("discovery connected to %s", at)
	}
	now, err := second.files.Read()
	if err != nil {
		t.Fatal(err)
	}
	f.write(now)
	if at := <-opened; at != second.registry.Address {
		t.Errorf("discovery connected to %s", at)
	}
	f.await("the entry", func() bool { _, found := second.entry(); return found })
}

func TestEntryIsPendingWhenItDiffersOrIsDue(t *testing.T) {
	published := registry.Node{Name: "app1", State: registry.NodeReady}
	for name, test := range map[string]struct {
		age              time.Duration
		entry            registry.Node
		pending, changed bool
	}{
		"just written":    {time.Second, published, false, false},
		"due":             {30 * time.Second, published, true, false},
		"new load":        {time.Second, registry.Node{Name: "app1", State: registry.NodeReady, Resources: registry.Resources{Load1: 2}}, false, false},
		"new state":       {time.Second, registry.Node{Name: "app1", State: registry.NodeDegraded}, true, true},
		"due and changed": {30 * time.Second, registry.Node{Name: "app1", State: registry.NodeDegraded}, true, true},
		"new application": {time.Second, registry.Node{Name: "app1", State: registry.NodeReady,
			Applications: []registry.Application{{Name: "shop"}}}, true, true},
	} {
		d := &Discovery{published: published, publishedAt: time.Now().Add(-test.age)}
		d.update(test.entry)
		if (d.pending != nil) != test.pending || d.changed != test.changed {
			t.Errorf("%s: pending %t, changed %t; want %t, %t", name, d.pending != nil, d.changed, test.pending, test.changed)
		}
	}
}

func TestPausesGrowWhileTheRegistryIsUnavailable(t *testing.T) {
	d := &Discovery{Log: hclog.NewNullLogger(), pause: backoff.New(minPause, maxPause)}
	var pauses []time.Duration
	for range 8 {
		d.recordResult(t.Context(), errors.New("refused"))
		pauses = append(pauses, time.Until(d.retryAt))
	}
	if pauses[0] > 400*time.Millisecond || pauses[7] < 2*time.Second || pauses[7] > 5*time.Second {
		t.Errorf("pauses are %v, want them to grow from about %s to about %s", pauses, minPause, maxPause)
	}
}

func TestUnreadableFileKeepsTheLastApplications(t *testing.T) {
	m := &machine{registered: filepath.Join(t.TempDir(), "applications.json"), log: hclog.NewNullLogger()}
	for n, step := range []struct {
		text string
		want int
	}{{`[{"name":"shop"}]`, 1}, {`[{"name":"sh`, 1}, {`[]`, 0}, {`[{"name":"shop"},{"name":"notes"}]`, 2}} {
		if err := os.WriteFile(m.registered, []byte(step.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := m.applications(); len(got) != step.want {
			t.Errorf("step %d: applications are %+v, want %d", n+1, got, step.want)
		}
	}
	if err := os.Remove(m.registered); err != nil {
		t.Fatal(err)
	}
	if got := m.applications(); len(got) != 0 {
		t.Errorf("without the file: applications are %+v, want none", got)
	}
}

func TestResourcesAreDetermined(t *testing.T) {
	r := resources("/")
	if r.CPUs < 1 || r.MemoryBytes < r.MemoryAvailableBytes || r.MemoryAvailableBytes == 0 || r.DiskBytes < r.DiskAvailableBytes || r.DataDiskBytes != r.DiskBytes || r.UptimeSeconds == 0 {
		t.Errorf("resources are %+v", r)
	}
}
