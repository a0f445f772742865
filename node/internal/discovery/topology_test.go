//go:build linux

package discovery

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/internal/testkit/await"
	"github.com/xeroops/xeroops/node/internal/topology"
	"github.com/xeroops/xeroops/templates"
)

func TestMessageAboutAnUnknownNodeCausesAnEarlyFetch(t *testing.T) {
	f := newFixture(t)
	fetcher := &fetcher{Copy: f.files, Log: hclog.NewNullLogger()}
	early := make(chan struct{}, 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan struct{})
	go func() { defer close(done); fetcher.listen(ctx, f.open, early) }()
	publish := func(node string) {
		if err := f.admin.Publish(t.Context(), registry.TopologyChannel, node).Err(); err != nil {
			t.Fatal(err)
		}
	}
	f.await("discovery to subscribe", func() bool {
		n, err := f.admin.PubSubNumSub(t.Context(), registry.TopologyChannel).Result()
		return err == nil && n[registry.TopologyChannel] == 2
	})
	publish("app1")
	publish("app9")
	select {
	case <-early:
	case <-time.After(await.Deadline):
		t.Error("a message about an unknown node caused no early fetch")
	}
	select {
	case <-early:
		t.Error("a message about a known node caused an early fetch")
	default:
	}
	stop()
	<-done
}

// A client without an address would send its password to the local Redis, which on an app
// node belongs to the applications.
func TestNoConnectionIsMadeWithoutARegistry(t *testing.T) {
	files := topology.Files{Topology: filepath.Join(t.TempDir(), "topology.json"), Hosts: filepath.Join(t.TempDir(), "hosts")}
	if _, err := files.Write(cluster.Topology{Schema: cluster.TopologySchema, Cluster: "test", Nodes: []cluster.TopologyNode{
		{Name: "app1", Role: cluster.RoleApp, Address: "10.0.2.10"}}}); err != nil {
		t.Fatal(err)
	}
	fetcher := &fetcher{Copy: files, Log: hclog.NewNullLogger()}
	ctx, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer stop()
	fetcher.listen(ctx, func(address string) *redis.Client {
		t.Errorf("listen connected to %q", address)
		return registry.Open(address, registry.UserNode, "secret")
	}, make(chan struct{}, 1))
}

func TestOnlyATopologyOfTheClusterIsInstalled(t *testing.T) {
	good := cluster.Topology{Schema: cluster.TopologySchema, Cluster: "production", VPN: cluster.VPN{Routes: []string{"10.0.0.0/16"}}, Nodes: []cluster.TopologyNode{
		{Name: "app1", Role: cluster.RoleApp, Address: "10.0.2.10"}, {Name: "management", Role: cluster.RoleManagement, Address: "10.0.2.20"}}}
	for name, corrupt := range map[string]func(*cluster.Topology){
		"good":                func(*cluster.Topology) {},
		"other cluster":       func(t *cluster.Topology) { t.Cluster = "staging" },
		"other schema":        func(t *cluster.Topology) { t.Schema = 2 },
		"no nodes":            func(t *cluster.Topology) { t.Nodes = nil },
		"name with a space":   func(t *cluster.Topology) { t.Nodes[0].Name = "app1 www.example.com" },
		"name with a newline": func(t *cluster.Topology) { t.Nodes[0].Name = "app1\n192.0.2.1 x" },
		"loopback address":    func(t *cluster.Topology) { t.Nodes[0].Address = "127.0.0.1" },
		"invalid address":     func(t *cluster.Topology) { t.Nodes[0].Address = "app1" },
		"invalid route":       func(t *cluster.Topology) { t.VPN.Routes = []string{"10.0.0.0/16", "10.0.0.0/16 } accept #"} },
	} {
		dir := t.TempDir()
		files := topology.Files{Topology: filepath.Join(dir, "topology.json"), Hosts: filepath.Join(dir, "hosts")}
		candidate := good
		candidate.Nodes = append([]cluster.TopologyNode{}, good.Nodes...)
		corrupt(&candidate)
		text, err := json.Marshal(candidate)
		if err != nil {
			t.Fatal(err)
		}
		fetched := filepath.Join(dir, "fetched.json")
		if err := os.WriteFile(fetched, text, 0o600); err != nil {
			t.Fatal(err)
		}
		changed, err := install(fetched, files, "production")
		if want := name == "good"; changed != want || (err == nil) != want {
			t.Errorf("%s: install() = %t, %v; want success %t", name, changed, err, want)
		}
	}
}

// systemd.path(5) starts the unit on a change only, so that it has to retry by itself, for
// example after a disk was full.
func TestHostsUnitIsRetried(t *testing.T) {
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
