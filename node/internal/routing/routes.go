package routing

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/node/internal/topology"
)

// Routes is the desired configuration of HAProxy.
type Routes struct {
	Applications []Application
	Databases    []Server
	Edges        []string // addresses of the nodes that may set session headers
}

// Application is the backend of one application.
type Application struct {
	Name       string
	Prefixes   []string // more than one only while nodes run versions that differ in it
	HealthPath string   // "" while nodes differ in it or in Health: then checks only connect
	Health     bundle.HealthRequest
	Timeout    int // seconds until HAProxy answers 504; the longest of all instances
	Servers    []Server
}

// Server is one node in a backend.
type Server struct {
	Name, Address string
	Port          int
	Draining      bool // finishes its requests and gets no new ones
}

// newRoutes returns the routes to the nodes of the topology, with the applications that
// the registry entries of app nodes list. former are applications that nodes have listed
// before; one that no node runs has its prefix and no servers, so that requests to it get
// 503 rather than 404. Any node can write any entry, so an entry is
// trusted only on the applications of its own node; addresses are the topology's.
// problems are the data that was ignored.
func newRoutes(t cluster.Topology, lookup func(node string) (entry registry.Node, alive, known bool), former ...registry.Application) (r Routes, problems []error) {
	b := builder{applications: map[string]*candidate{}, owner: map[string]string{}}
	for _, a := range former {
		if a.Check() == nil {
			b.of(a.Name).former = []registry.Application{a}
		}
	}
	for _, n := range t.Nodes {
		if _, err := netip.ParseAddr(n.Address); err != nil || !topology.IsNodeName(n.Name) {
			b.problems = append(b.problems, fmt.Errorf("node %q at %q: invalid name or address", n.Name, n.Address))
			continue
		}
		switch n.Role {
		case cluster.RoleLoadBalancer:
			r.Edges = append(r.Edges, n.Address)
		case cluster.RoleDB:
			r.Databases = append(r.Databases, Server{Name: n.Name, Address: n.Address, Port: pgBouncerPort})
		case cluster.RoleApp:
			if entry, alive, known := lookup(n.Name); known {
				b.add(n, entry, alive)
			}
		}
	}
	r.Applications = b.build()
	return r, b.problems
}

type builder struct {
	applications map[string]*candidate
	owner        map[string]string // application by prefix
	problems     []error
}

// candidate is an application with its servers on nodes that are alive and on nodes
// that have been silent for too long.
type candidate struct {
	alive, silent []Server
	running       []registry.Application
	former        []registry.Application // do not run
}

func (b *builder) of(application string) *candidate {
	c := b.applications[application]
	if c == nil {
		c = &candidate{}
		b.applications[application] = c
	}
	return c
}

func (b *builder) add(n cluster.TopologyNode, entry registry.Node, alive bool) {
	for _, a := range entry.Applications {
		if err := a.Check(); err != nil {
			b.problems = append(b.problems, fmt.Errorf("entry of node %s: %w", n.Name, err))
			continue
		}
		c := b.of(a.Name)
		if a.State != registry.AppRunning {
			c.former = append(c.former, a)
			continue
		}
		s := Server{Name: n.Name, Address: n.Address, Port: a.Port, Draining: entry.State == registry.NodeDraining}
		if alive {
			c.alive = append(c.alive, s)
		} else {
			c.silent = append(c.silent, s)
		}
		c.running = append(c.running, a)
	}
}

func (b *builder) build() []Application {
	var all []Application
	for name, c := range b.applications {
		instances := c.running
		if len(instances) == 0 {
			instances = c.former
		}
		a := Application{Name: name, Servers: c.alive,
			Prefixes: distinct(instances, func(a registry.Application) string { return a.RoutePrefix })}
		// A silent node is taken out only if another is alive, so that an empty registry
		// does not empty the backends; HAProxy's own checks decide whether a node serves.
		if len(a.Servers) == 0 {
			a.Servers = c.silent
		}
		a.HealthPath, a.Health = instances[0].HealthPath, instances[0].HealthRequest.WithDefaults(name)
		for _, other := range instances {
			if other.HealthPath != a.HealthPath || other.HealthRequest.WithDefaults(name) != a.Health {
				a.HealthPath = ""
			}
		}
		for _, instance := range instances {
			a.Timeout = max(a.Timeout, bundle.Limits{Timeout: instance.Timeout}.WithDefaults().Timeout)
		}
		undrainIfAllDrain(a.Servers)
		slices.SortFunc(a.Servers, func(x, y Server) int { return cmp.Compare(x.Name, y.Name) })
		all = append(all, a)
	}
	slices.SortFunc(all, func(x, y Application) int { return cmp.Compare(x.Name, y.Name) })
	b.assignPrefixes(all, func(a Application) bool { return len(a.Servers) > 0 })
	b.assignPrefixes(all, func(a Application) bool { return len(a.Servers) == 0 })
	return all
}

// assignPrefixes lets the selected applications keep the prefixes that no other has yet.
func (b *builder) assignPrefixes(all []Application, selected func(Application) bool) {
	for i, a := range all {
		if !selected(a) {
			continue
		}
		all[i].Prefixes = slices.DeleteFunc(a.Prefixes, func(prefix string) bool {
			other, taken := b.owner[prefix]
			if !taken {
				b.owner[prefix] = a.Name
			} else if len(a.Servers) > 0 {
				b.problems = append(b.problems, fmt.Errorf("application %s: route prefix %s is used by application %s; choose another", a.Name, prefix, other))
			}
			return taken
		})
	}
}

// undrainIfAllDrain lets all servers serve if none of them would.
func undrainIfAllDrain(servers []Server) {
	if slices.ContainsFunc(servers, func(s Server) bool { return !s.Draining }) {
		return
	}
	for i := range servers {
		servers[i].Draining = false
	}
}

func distinct(instances []registry.Application, field func(registry.Application) string) []string {
	var all []string
	for _, a := range instances {
		all = append(all, field(a))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Rule sends a route prefix to an application's backend.
type Rule struct{ Prefix, Backend string }

// Rules returns the rules of all route prefixes, the longest first.
func (r Routes) Rules() []Rule {
	var all []Rule
	for _, a := range r.Applications {
		for _, prefix := range a.Prefixes {
			all = append(all, Rule{prefix, a.Backend()})
		}
	}
	slices.SortFunc(all, func(x, y Rule) int {
		return cmp.Or(cmp.Compare(len(y.Prefix), len(x.Prefix)), strings.Compare(x.Prefix, y.Prefix))
	})
	return all
}

// Backend returns the name of the application's backend.
func (a Application) Backend() string { return "app_" + a.Name }
