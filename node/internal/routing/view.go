package routing

import (
	"maps"
	"slices"
	"time"

	"github.com/xeroops/xeroops/internal/registry"
)

// view is what is known of the nodes. It outlasts a registry that is unavailable, empty
// or has another time: a node counts as silent once its entry has not been rewritten for
// [registry.Expiry] of the time in which the registry could be read. That time is
// measured here by the monotonic clock; expiry in Redis follows the wall clock, which
// may jump.
type view struct {
	nodes map[string]observation
	// applications are the last instances that a node has listed. They outlast their nodes.
	applications map[string]registry.Application
	readTime     time.Duration // for how long the registry could be read
	lastRead     time.Time     // zero if the last read failed
}

// observation is the last entry of a node.
type observation struct {
	entry registry.Node
	at    time.Duration // readTime when it was read
}

func newView(former saved) *view {
	v := &view{nodes: map[string]observation{}, applications: map[string]registry.Application{}}
	for name, entry := range former.Nodes {
		v.nodes[name] = observation{entry: entry}
	}
	maps.Copy(v.applications, former.Applications)
	return v
}

// update adds what the registry contains at a time. An entry shows that its node is
// alive only if it was rewritten; Redis may have failed to expire an old one.
func (v *view) update(entries map[string]registry.Node, now time.Time) {
	if !v.lastRead.IsZero() {
		v.readTime += now.Sub(v.lastRead)
	}
	v.lastRead = now
	for name, entry := range entries {
		last, known := v.nodes[name]
		if known && entry.UpdatedAt.Equal(last.entry.UpdatedAt) && entry.BootID == last.entry.BootID {
			continue
		}
		v.nodes[name] = observation{entry: routingFields(entry), at: v.readTime}
		for _, a := range entry.Applications {
			if a.Check() == nil {
				v.applications[a.Name] = a
			}
		}
	}
}

// forget removes the applications without a desired version. It removes none if there is
// no desired version at all, since the registry may have lost its data.
func (v *view) forget(desired []string) {
	if len(desired) > 0 {
		maps.DeleteFunc(v.applications, func(name string, _ registry.Application) bool { return !slices.Contains(desired, name) })
	}
}

// former returns the applications that nodes have listed.
func (v *view) former() []registry.Application { return slices.Collect(maps.Values(v.applications)) }

// routingFields returns the fields of an entry that routing uses; a thousand whole
// entries take megabytes.
func routingFields(n registry.Node) registry.Node {
	return registry.Node{Name: n.Name, State: n.State, Applications: n.Applications, BootID: n.BootID, UpdatedAt: n.UpdatedAt}
}

// interrupt records that the registry could not be read: no node becomes silent until
// it can be.
func (v *view) interrupt() { v.lastRead = time.Time{} }

// retain removes all nodes but the named ones.
func (v *view) retain(names []string) {
	kept := make(map[string]observation, len(names))
	for _, name := range names {
		if o, known := v.nodes[name]; known {
			kept[name] = o
		}
	}
	v.nodes = kept
}

// lookup returns the last entry of a node, and whether the node is alive.
func (v *view) lookup(node string) (entry registry.Node, alive, known bool) {
	o, known := v.nodes[node]
	return o.entry, v.readTime-o.at < registry.Expiry, known
}

// saved is the part of a view that a restart keeps.
type saved struct {
	Nodes        map[string]registry.Node        `json:"nodes"`
	Applications map[string]registry.Application `json:"applications"`
}

func (v *view) saved() saved {
	all := make(map[string]registry.Node, len(v.nodes))
	for name, o := range v.nodes {
		entry := o.entry
		entry.UpdatedAt = time.Time{} // or the file would change with every heartbeat
		all[name] = entry
	}
	return saved{all, v.applications}
}
