package routing

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/registry"
)

// Routes is what HAProxy is to do: all that the configuration is made of.
type Routes struct {
	Applications []Application
	Databases    []Server
	Edges        []string // addresses of those that may say whose session a request is of
}

// Application is where the requests of one application go.
type Application struct {
	Name       string
	Prefixes   []string // one, but for the moment in which nodes run versions that differ
	HealthPath string   // "" while nodes differ on it: then a connection is the check
	Servers    []Server
}

// Server is one node in a backend.
type Server struct {
	Name, Address string
	Port          int
	Draining      bool // keeps what it has and gets nothing new
}

// serverName is what may stand in HAProxy's configuration and on its command line.
var serverName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// newRoutes makes routes of the topology, which says who is in the cluster, and of
// what app nodes said that they run. Every node has the password with which entries
// are written, so an entry is believed on what runs on its own node and on
// nothing else; addresses are the topology's. What is left out is in problems.
func newRoutes(t cluster.Topology, says func(node string) (entry registry.Node, fresh, known bool)) (r Routes, problems []string) {
	b := builder{applications: map[string]*candidate{}}
	for _, n := range t.Nodes {
		if _, err := netip.ParseAddr(n.Address); err != nil || !serverName.MatchString(n.Name) {
			b.problems = append(b.problems, fmt.Sprintf("node %q at %q: name or address is not one", n.Name, n.Address))
			continue
		}
		switch n.Role {
		case cluster.RoleLoadBalancer:
			r.Edges = append(r.Edges, n.Address)
		case cluster.RoleDB:
			r.Databases = append(r.Databases, Server{Name: n.Name, Address: n.Address, Port: pgBouncerPort})
		case cluster.RoleApp:
			if entry, fresh, known := says(n.Name); known {
				b.add(n, entry, fresh)
			}
		}
	}
	r.Applications = b.build()
	return r, b.problems
}

type builder struct {
	applications map[string]*candidate
	problems     []string
}

// candidate is an application with the servers of nodes that are heard of, and
// of nodes that have been silent for too long.
type candidate struct {
	fresh, silent []Server
	prefixes      []string
	healthPaths   []string
}

func (b *builder) add(n cluster.TopologyNode, entry registry.Node, fresh bool) {
	for _, a := range entry.Applications {
		if a.State != registry.AppRunning {
			continue
		}
		if err := a.Check(); err != nil {
			b.problems = append(b.problems, fmt.Sprintf("node %s: %v", n.Name, err))
			continue
		}
		c := b.applications[a.Name]
		if c == nil {
			c = &candidate{}
			b.applications[a.Name] = c
		}
		s := Server{Name: n.Name, Address: n.Address, Port: a.Port, Draining: entry.State == registry.NodeDraining}
		if fresh {
			c.fresh = append(c.fresh, s)
		} else {
			c.silent = append(c.silent, s)
		}
		c.prefixes = append(c.prefixes, a.RoutePrefix)
		c.healthPaths = append(c.healthPaths, a.HealthPath)
	}
}

func (b *builder) build() []Application {
	var all []Application
	owner := map[string]string{}
	for name, c := range b.applications {
		a := Application{Name: name, Prefixes: distinct(c.prefixes), Servers: c.fresh}
		// Silence takes a node out only where another is heard of: that a node serves
		// is for HAProxy's own checks to see, and an empty registry empties no backend.
		if len(a.Servers) == 0 {
			a.Servers = c.silent
		}
		if paths := distinct(c.healthPaths); len(paths) == 1 {
			a.HealthPath = paths[0]
		}
		keepOne(a.Servers)
		slices.SortFunc(a.Servers, func(x, y Server) int { return cmp.Compare(x.Name, y.Name) })
		all = append(all, a)
	}
	slices.SortFunc(all, func(x, y Application) int { return cmp.Compare(x.Name, y.Name) })
	for i, a := range all {
		all[i].Prefixes = slices.DeleteFunc(a.Prefixes, func(prefix string) bool {
			if other, taken := owner[prefix]; taken {
				b.problems = append(b.problems, fmt.Sprintf("application %s: route prefix %s is %s's already; give it another", a.Name, prefix, other))
				return true
			}
			owner[prefix] = a.Name
			return false
		})
	}
	return all
}

// keepOne drains nobody where all are draining: there is no one to take over.
func keepOne(servers []Server) {
	if slices.ContainsFunc(servers, func(s Server) bool { return !s.Draining }) {
		return
	}
	for i := range servers {
		servers[i].Draining = false
	}
}

func distinct(all []string) []string {
	slices.Sort(all)
	return slices.Compact(all)
}

// Rule sends a route prefix to an application's backend.
type Rule struct{ Prefix, Backend string }

// Rules are all route prefixes, the longest first.
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

// Backend is the name of the application's backend.
func (a Application) Backend() string { return "app_" + a.Name }
