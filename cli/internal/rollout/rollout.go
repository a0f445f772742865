// Package rollout follows a deployment on the app nodes through their entries in the
// registry, until each has finished or the timeout expires. It changes nothing: nodes
// continue without it.
package rollout

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/internal/registry"
)

// pollInterval is the interval of polling the registry; a poll is four short reads.
const pollInterval = 200 * time.Millisecond

// pollTimeout is the time without an answer after which the operator sees a message.
const pollTimeout = 2 * time.Second

// absentAfter is how long a node without heartbeats is waited for: only its discovery
// daemon may be down.
const absentAfter = 5 * time.Second

// State is a node's progress according to the registry.
type State string

// The states of a node in addition to its phases.
const (
	StateWaiting    State = "waiting"    // has not reported anything yet
	StateAbsent     State = "absent"     // has no heartbeat
	StateRouting    State = "routing"    // runs the version, but HAProxy does not send it requests yet
	StateUnfinished State = "unfinished" // did not finish in time
)

// Node is one node's part in a deployment.
type Node struct {
	Name      string `json:"node"`
	State     State  `json:"state"` // or a [registry.Phase]
	Error     string `json:"error,omitempty"`
	Running   string `json:"running,omitempty"` // version that serves now
	ElapsedMS int64  `json:"elapsed_ms"`
}

// Ended reports whether the node has finished, successfully or not.
func (n Node) Ended() bool { return registry.Phase(n.State).Ended() }

// Status is the state of a deployment.
type Status struct {
	Nodes []Node
	// Superseded is the desired version that replaced this one, or empty.
	Superseded registry.Desired
	// Problem is the error of the last read of the registry, or nil.
	Problem error
}

// Healthy reports whether each node runs the version.
func (s Status) Healthy() bool {
	return len(s.Nodes) > 0 && !slices.ContainsFunc(s.Nodes, func(n Node) bool { return n.State != State(registry.PhaseHealthy) })
}

// Follow polls the status of a published version and passes it to show, until every
// reachable node has finished and gets requests, another version is desired, or ctx ends.
// It returns the last status.
func Follow(ctx context.Context, client *redis.Client, m bundle.Manifest, names []string, show func(Status)) Status {
	started := time.Now()
	status := Status{}
	for _, name := range names {
		status.Nodes = append(status.Nodes, Node{Name: name, State: StateWaiting})
	}
	for {
		before := status
		if status.poll(ctx, client, m, time.Since(started)); ctx.Err() != nil {
			return before.unfinished() // the last poll was interrupted
		}
		show(status)
		if status.done() {
			return status
		}
		select {
		case <-ctx.Done():
		case <-time.After(pollInterval):
		}
	}
}

func (s *Status) poll(ctx context.Context, client *redis.Client, m bundle.Manifest, elapsed time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	names := make([]string, len(s.Nodes))
	for i, n := range s.Nodes {
		names[i] = n.Name
	}
	progress, err := registry.ReadProgress(ctx, client, m.Application, m.Version)
	entries, err2 := registry.ReadNodes(ctx, client, names)
	desired, err3 := registry.ReadDesired(ctx, client, m.Application)
	routes, known, err4 := registry.ReadRoutes(ctx, client)
	if s.Problem = cmp.Or(err, err2, err3, err4); s.Problem != nil {
		s.wait(elapsed)
		return
	}
	if desired.Version != m.Version {
		s.Superseded = desired
	}
	s.Nodes = slices.Clone(s.Nodes) // show may keep the previous slice
	for i, n := range s.Nodes {
		p, reported := progress[n.Name]
		_, there := entries[n.Name]
		switch {
		case reported && (there || p.Phase.Ended() || elapsed < absentAfter):
			s.Nodes[i] = Node{Name: n.Name, State: State(p.Phase), Error: p.Error, Running: p.Running, ElapsedMS: p.ElapsedMS}
			if there && known && p.Phase == registry.PhaseHealthy && !routes.Has(m.Application, m.RoutePrefix, n.Name, m.Port) {
				s.Nodes[i].State = StateRouting
			}
			if !s.Nodes[i].Ended() {
				s.Nodes[i].ElapsedMS = elapsed.Milliseconds()
			}
		case there || elapsed < absentAfter:
			s.Nodes[i] = Node{Name: n.Name, State: StateWaiting, ElapsedMS: elapsed.Milliseconds()}
		default:
			s.Nodes[i] = Node{Name: n.Name, State: StateAbsent}
		}
	}
}

// wait updates the elapsed time while the registry is unreachable.
func (s *Status) wait(elapsed time.Duration) {
	s.Nodes = slices.Clone(s.Nodes)
	for i, n := range s.Nodes {
		if !n.Ended() && n.State != StateAbsent {
			s.Nodes[i].ElapsedMS = elapsed.Milliseconds()
		}
	}
}

// done reports whether there is nothing left to wait for.
func (s *Status) done() bool {
	if s.Problem != nil {
		return false
	}
	return s.Superseded.Version != "" || !slices.ContainsFunc(s.Nodes, func(n Node) bool { return !n.Ended() && n.State != StateAbsent })
}

// unfinished marks the nodes that were still being waited for.
func (s Status) unfinished() Status {
	s.Nodes = slices.Clone(s.Nodes)
	for i, n := range s.Nodes {
		if n.Ended() || n.State == StateAbsent {
			continue
		}
		s.Nodes[i].Error = "still " + string(n.State)
		s.Nodes[i].State = StateUnfinished
	}
	return s
}
