package routing

import (
	"time"

	"github.com/xeroops/xeroops/internal/registry"
)

// view is what is known of the nodes, kept across times in which the registry is
// away, empty or believes in another time: a node is silent once its entry was not
// written for [registry.Expiry] of the time in which the registry could be
// read. That time is counted here, by the monotonic clock; expiry in Redis
// goes by the wall clock, which jumps.
type view struct {
	nodes    map[string]sighting
	watched  time.Duration // how long the registry was read
	lastRead time.Time     // zero if the last try failed
}

type sighting struct {
	Entry registry.Node
	seen  time.Duration // on the clock watched
}

func newView(known map[string]registry.Node) *view {
	v := &view{nodes: map[string]sighting{}}
	for name, entry := range known {
		v.nodes[name] = sighting{Entry: entry}
	}
	return v
}

// update takes in what the registry has now. An entry counts as news if it was
// written again; one that merely lies there is an entry that Redis forgot to expire.
func (v *view) update(entries map[string]registry.Node, now time.Time) {
	if !v.lastRead.IsZero() {
		v.watched += now.Sub(v.lastRead)
	}
	v.lastRead = now
	for name, entry := range entries {
		was, known := v.nodes[name]
		if known && entry.UpdatedAt.Equal(was.Entry.UpdatedAt) && entry.BootID == was.Entry.BootID {
			continue
		}
		v.nodes[name] = sighting{Entry: essence(entry), seen: v.watched}
	}
}

// essence is what of an entry matters here; a thousand whole ones are megabytes.
func essence(n registry.Node) registry.Node {
	return registry.Node{Name: n.Name, State: n.State, Applications: n.Applications, BootID: n.BootID, UpdatedAt: n.UpdatedAt}
}

// interrupted says that the registry can't be read: time stands still.
func (v *view) interrupted() { v.lastRead = time.Time{} }

// retain forgets nodes that are none of the cluster's.
func (v *view) retain(names []string) {
	kept := make(map[string]sighting, len(names))
	for _, name := range names {
		if s, known := v.nodes[name]; known {
			kept[name] = s
		}
	}
	v.nodes = kept
}

func (v *view) says(node string) (entry registry.Node, fresh, known bool) {
	s, known := v.nodes[node]
	return s.Entry, v.watched-s.seen < registry.Expiry, known
}

// entries are what is known and what routes are made of, to be kept across a restart.
func (v *view) entries() map[string]registry.Node {
	all := make(map[string]registry.Node, len(v.nodes))
	for name, s := range v.nodes {
		entry := s.Entry
		entry.UpdatedAt = time.Time{} // or the file would change with every heartbeat
		all[name] = entry
	}
	return all
}
