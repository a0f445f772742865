// Package rollout follows a deployment on the app nodes through what they write to
// the registry, until each has ended or can't be waited for any longer. It changes
// nothing: nodes go on without it.
package rollout

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/xeroops/xeroops/internal/registry"
)

// pollEvery is how often the registry is asked; two short commands each time.
const pollEvery = 200 * time.Millisecond

// lookTimeout is after how long without an answer the operator is told.
const lookTimeout = 2 * time.Second

// absentAfter is how long a node without heartbeats is waited for all the same: it
// may be that only its discovery is away.
const absentAfter = 5 * time.Second

// State is how far a node is, as far as the registry says.
type State string

// The states of a node, besides the phases of its own.
const (
	StateWaiting    State = "waiting"    // has not said anything yet
	StateAbsent     State = "absent"     // sends no heartbeats
	StateUnfinished State = "unfinished" // did not end in time
)

// Node is one node's part in a deployment.
type Node struct {
	Name      string `json:"node"`
	State     State  `json:"state"` // or a [registry.Phase]
	Error     string `json:"error,omitempty"`
	Running   string `json:"running,omitempty"` // version that serves now
	ElapsedMS int64  `json:"elapsed_ms"`
}

// Ended says whether nothing more is to be expected of the node.
func (n Node) Ended() bool { return registry.Phase(n.State).Ended() }

// Status is all that is known of a deployment.
type Status struct {
	Nodes []Node
	// Superseded is the desired version that took this one's place, or empty.
	Superseded registry.Desired
	// Problem is why the registry could not be read the last time.
	Problem error
}

// Healthy says whether each node runs the version.
func (s Status) Healthy() bool {
	return len(s.Nodes) > 0 && !slices.ContainsFunc(s.Nodes, func(n Node) bool { return n.State != State(registry.PhaseHealthy) })
}

// Follow shows the status at each look, until every node that is there has ended,
// another version is desired, or ctx ends; it returns the last status.
func Follow(ctx context.Context, client *redis.Client, application, version string, names []string, show func(Status)) Status {
	began := time.Now()
	status := Status{}
	for _, name := range names {
		status.Nodes = append(status.Nodes, Node{Name: name, State: StateWaiting})
	}
	for {
		before := status
		if status.look(ctx, client, application, version, time.Since(began)); ctx.Err() != nil {
			return before.unfinished() // what a look that was cut off saw is nothing
		}
		show(status)
		if status.over() {
			return status
		}
		select {
		case <-ctx.Done():
		case <-time.After(pollEvery):
		}
	}
}

func (s *Status) look(ctx context.Context, client *redis.Client, application, version string, elapsed time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	names := make([]string, len(s.Nodes))
	for i, n := range s.Nodes {
		names[i] = n.Name
	}
	progress, err := registry.ReadProgress(ctx, client, application, version)
	entries, err2 := registry.ReadNodes(ctx, client, names)
	desired, err3 := registry.ReadDesired(ctx, client, application)
	if s.Problem = cmp.Or(err, err2, err3); s.Problem != nil {
		s.wait(elapsed)
		return
	}
	if desired.Version != version {
		s.Superseded = desired
	}
	s.Nodes = slices.Clone(s.Nodes) // whoever was shown the last ones may keep them
	for i, n := range s.Nodes {
		p, said := progress[n.Name]
		_, there := entries[n.Name]
		switch {
		case said && (there || p.Phase.Ended() || elapsed < absentAfter):
			s.Nodes[i] = Node{Name: n.Name, State: State(p.Phase), Error: p.Error, Running: p.Running, ElapsedMS: p.ElapsedMS}
			if !p.Phase.Ended() {
				s.Nodes[i].ElapsedMS = elapsed.Milliseconds()
			}
		case there || elapsed < absentAfter:
			s.Nodes[i] = Node{Name: n.Name, State: StateWaiting, ElapsedMS: elapsed.Milliseconds()}
		default:
			s.Nodes[i] = Node{Name: n.Name, State: StateAbsent}
		}
	}
}

// wait counts on while nothing is known.
func (s *Status) wait(elapsed time.Duration) {
	s.Nodes = slices.Clone(s.Nodes)
	for i, n := range s.Nodes {
		if !n.Ended() && n.State != StateAbsent {
			s.Nodes[i].ElapsedMS = elapsed.Milliseconds()
		}
	}
}

// over says whether there is nothing left to wait for.
func (s *Status) over() bool {
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
