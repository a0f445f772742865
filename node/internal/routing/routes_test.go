//go:build linux

package routing

import (
	"strings"
	"testing"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/registry"
)

// lookupIn returns a lookup of entries whose nodes are alive.
func lookupIn(entries map[string]registry.Node) func(string) (registry.Node, bool, bool) {
	return func(node string) (registry.Node, bool, bool) {
		entry, known := entries[node]
		return entry, true, known
	}
}

func TestEntryAppliesToItsOwnNodeOnly(t *testing.T) {
	topology := twoApps()
	topology.Nodes = append(topology.Nodes, cluster.TopologyNode{Name: "edge", Role: cluster.RoleLoadBalancer, Address: "127.0.0.3"})
	lie := registry.Node{Name: "app2", Role: cluster.RoleApp, Address: "192.0.2.1", Applications: []registry.Application{application("shop", 8000)}}
	routes, problems := newRoutes(topology, lookupIn(map[string]registry.Node{"app1": lie, "edge": lie, "stranger": lie}))
	if len(routes.Applications) != 1 || len(routes.Applications[0].Servers) != 1 || len(problems) > 0 {
		t.Fatalf("%+v, %v", routes.Applications, problems)
	}
	if s := routes.Applications[0].Servers[0]; s.Name != "app1" || s.Address != "127.0.0.1" {
		t.Errorf("server is %+v, want the name and address of the topology", s)
	}
}

func TestEntryCannotInjectConfiguration(t *testing.T) {
	good := application("shop", 8000)
	for name, corrupt := range map[string]func(*registry.Application){
		"name":                         func(a *registry.Application) { a.Name = "shop\nbackend x" },
		"prefix":                       func(a *registry.Application) { a.RoutePrefix = "/api/x } or { always_true" },
		"prefix of all":                func(a *registry.Application) { a.RoutePrefix = "/" },
		"prefix with ..":               func(a *registry.Application) { a.RoutePrefix = "/api/../x" },
		"health path":                  func(a *registry.Application) { a.HealthPath = "/ hdr X y\n" },
		"health host":                  func(a *registry.Application) { a.HealthHost = "x\n" },
		"health protocol":              func(a *registry.Application) { a.HealthProto = "x hdr Y z" },
		"port":                         func(a *registry.Application) { a.Port = 22 },
		"health path with #":           func(a *registry.Application) { a.HealthPath = "/#" },
		"upper-case name":              func(a *registry.Application) { a.Name = "Shop" },
		"prefix with a trailing slash": func(a *registry.Application) { a.RoutePrefix = "/api/shop/" },
	} {
		bad := good
		corrupt(&bad)
		routes, problems := newRoutes(twoApps(), lookupIn(map[string]registry.Node{"app1": {Applications: []registry.Application{bad}}}))
		if len(routes.Applications) > 0 || len(problems) != 1 {
			t.Errorf("%s: %+v, problems %q", name, routes.Applications, problems)
		}
	}
}

func TestPrefixOfTwoApplicationsBelongsToTheFirst(t *testing.T) {
	a, b := application("aa", 8000), application("bb", 8001)
	b.RoutePrefix = a.RoutePrefix
	routes, problems := newRoutes(twoApps(), lookupIn(map[string]registry.Node{"app1": {Applications: []registry.Application{b, a}}}))
	rules := routes.Rules()
	if len(rules) != 1 || rules[0].Backend != "app_aa" || len(problems) != 1 || !strings.Contains(problems[0].Error(), "application bb") {
		t.Errorf("rules %v, problems %q", rules, problems)
	}
}

func TestPrefixBelongsToAnApplicationThatRuns(t *testing.T) {
	a, b := application("aa", 8000), application("bb", 8001)
	b.RoutePrefix = a.RoutePrefix
	routes, problems := newRoutes(twoApps(), lookupIn(map[string]registry.Node{"app1": {Applications: []registry.Application{b}}}), a)
	rules := routes.Rules()
	if len(rules) != 1 || rules[0].Backend != "app_bb" || len(problems) > 0 {
		t.Errorf("rules %v, problems %q", rules, problems)
	}
}

func TestChecksOnlyConnectWhileVersionsDifferInTheHealthPath(t *testing.T) {
	now, next := application("shop", 8000), application("shop", 8000)
	next.HealthPath = "/health"
	host := now
	host.HealthHost = "shop.example.com"
	routes, _ := newRoutes(twoApps(), lookupIn(map[string]registry.Node{
		"app1": {Applications: []registry.Application{now}}, "app2": {Applications: []registry.Application{host}}}))
	if routes.Applications[0].HealthPath != "" {
		t.Error("checks have one of two hosts")
	}
	routes, _ = newRoutes(twoApps(), lookupIn(map[string]registry.Node{"app1": {Applications: []registry.Application{host}}}))
	text, _, err := render(routes, nodeSettings)
	if err != nil || !strings.Contains(string(text), "uri /healthz ver HTTP/1.1 hdr Host shop.example.com hdr X-Forwarded-Proto https ") {
		t.Errorf("%v\n%s", err, text)
	}
	routes, _ = newRoutes(twoApps(), lookupIn(map[string]registry.Node{
		"app1": {Applications: []registry.Application{now}}, "app2": {Applications: []registry.Application{next}}}))
	text, _, err = render(routes, nodeSettings)
	if err != nil || routes.Applications[0].HealthPath != "" || strings.Contains(string(text), "http-check send") {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestConfigHashIgnoresServers(t *testing.T) {
	entries := map[string]registry.Node{"app1": {Applications: []registry.Application{application("shop", 8000)}}}
	hash := func() string {
		routes, _ := newRoutes(twoApps(), lookupIn(entries))
		_, hash, err := render(routes, nodeSettings)
		if err != nil {
			t.Fatal(err)
		}
		return hash
	}
	one := hash()
	entries["app2"] = registry.Node{State: registry.NodeDraining, Applications: []registry.Application{application("shop", 8003)}}
	if two := hash(); two != one {
		t.Errorf("with another server the hash changed from %s to %s", one, two)
	}
	entries["app2"] = registry.Node{Applications: []registry.Application{application("more", 8001)}}
	if two := hash(); two == one {
		t.Error("with another application the hash stayed the same")
	}
}
