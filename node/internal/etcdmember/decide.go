package etcdmember

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/xeroops/xeroops/node/internal/backoff"
	"github.com/xeroops/xeroops/node/internal/journal"
)

// Decision has the inputs of the decision, which is made before etcd starts.
type Decision struct {
	Cluster string // name
	Self    Node
	Nodes   []Node // all nodes with etcd, including this one
	DataDir string
	TLS     Files
	// HasOlderData reports that this node's databases are older than its etcd: the cluster
	// existed before, so that silence of the other nodes does not mean that it is new.
	HasOlderData  bool
	PeerTimeout   time.Duration // how long a node with older data waits for the others
	RetryInterval time.Duration
	Log           hclog.Logger
}

// errRetry marks errors after which a retry may succeed.
var errRetry = errors.New("undecided")

// Settings decides the role of this node and returns the environment of its etcd. It
// retries until the context ends.
func (d Decision) Settings(ctx context.Context) (string, error) {
	if d.hasData() {
		// etcd ignores the flags of its membership once it has data.
		return d.member([]Node{d.Self}, "existing")
	}
	began := time.Now()
	var undecided journal.Problem
	for {
		settings, err := d.attempt(ctx, time.Since(began))
		if err == nil {
			return settings, nil
		}
		if !errors.Is(err, errRetry) {
			return "", err
		}
		undecided.Set(d.Log, "etcd membership undecided, retrying", err, "node", d.Self.Name)
		if !backoff.Sleep(ctx, d.RetryInterval) {
			return "", fmt.Errorf("decide the etcd membership of %s: %w; last error: %w", d.Self.Name, ctx.Err(), err)
		}
	}
}

// hasData reports whether etcd has a write-ahead log on this node.
func (d Decision) hasData() bool {
	logs, err := filepath.Glob(filepath.Join(d.DataDir, "member", "wal", "*.wal"))
	return err == nil && len(logs) > 0
}

// attempt makes the decision, unless it has to be retried.
func (d Decision) attempt(ctx context.Context, waited time.Duration) (string, error) {
	first := firstMembers(d.Nodes)
	lists := d.otherMembers(ctx)
	for _, list := range lists {
		if slices.ContainsFunc(list, Member.started) {
			return d.join(ctx)
		}
	}
	switch {
	case !slices.Contains(first, d.Self):
		return gateway(first)
	case len(lists) == 0 && len(first) > 1 && d.HasOlderData && waited < d.PeerTimeout:
		return "", fmt.Errorf("%w: this node's databases are older than its etcd, so the cluster existed before, but no other node answers", errRetry)
	default:
		d.Log.Info("starting a new etcd cluster", "node", d.Self.Name, "members", first)
		return d.member(first, "new")
	}
}

// otherMembers returns the lists of members of the other nodes that answer.
func (d Decision) otherMembers(ctx context.Context) [][]Member {
	var mu sync.Mutex
	var lists [][]Member
	var all sync.WaitGroup
	for _, n := range d.Nodes {
		if n == d.Self {
			continue
		}
		all.Go(func() {
			if list, err := d.members(ctx, n); err == nil {
				mu.Lock()
				defer mu.Unlock()
				lists = append(lists, list)
			}
		})
	}
	all.Wait()
	return lists
}

// join makes this node a member of the existing cluster, or a gateway to it if it has
// enough members.
func (d Decision) join(ctx context.Context) (string, error) {
	through, list, err := d.agreedMembers(ctx)
	if err != nil {
		return "", err
	}
	self := slices.IndexFunc(list, d.isSelf)
	if self >= 0 && !list[self].started() {
		return d.member(d.named(list), "existing")
	}
	if self >= 0 {
		d.Log.Info("removing the former instance of this node from etcd", "node", d.Self.Name, "member", list[self].ID)
		if list, err = d.remove(ctx, through, list[self]); err != nil {
			return "", fmt.Errorf("%w: %w", errRetry, err)
		}
	}
	if list, err = d.removeGone(ctx, through, list); err != nil {
		return "", err
	}
	if len(list) >= len(firstMembers(d.Nodes)) {
		return gateway(d.named(list))
	}
	d.Log.Info("joining etcd", "node", d.Self.Name)
	if list, err = d.add(ctx, through); err != nil {
		return "", fmt.Errorf("%w: %w", errRetry, err)
	}
	return d.member(d.named(list), "existing")
}

// agreedMembers returns the list of members that a quorum agrees on, and the node that
// returned it.
func (d Decision) agreedMembers(ctx context.Context) (through Node, list []Member, err error) {
	err = errRetry
	for _, n := range d.Nodes {
		if n == d.Self {
			continue
		}
		list, failure := d.agreedBy(ctx, n)
		if failure == nil {
			return n, list, nil
		}
		err = fmt.Errorf("%w: %w", err, failure)
	}
	return Node{}, nil, fmt.Errorf("etcd has no quorum: %w", err)
}

// isSelf reports whether a member is this node or its former instance.
func (d Decision) isSelf(m Member) bool {
	return m.Name == d.Self.Name || slices.Contains(m.PeerURLs, peerURL(d.Self.Address))
}

// removeGone removes a member whose node is no longer in the cluster.
func (d Decision) removeGone(ctx context.Context, through Node, list []Member) ([]Member, error) {
	gone := slices.IndexFunc(list, func(m Member) bool {
		return !slices.ContainsFunc(d.Nodes, func(n Node) bool { return n.Address == addressOf(m) })
	})
	if gone < 0 {
		return list, nil
	}
	d.Log.Info("removing a node from etcd that left the cluster", "member", list[gone].Name)
	list, err := d.remove(ctx, through, list[gone])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRetry, err)
	}
	return list, nil
}

// named returns the members as nodes, with the names of the topology: etcd's list has no
// name of a member that has not started.
func (d Decision) named(list []Member) []Node {
	var nodes []Node
	for _, m := range list {
		n := Node{Name: m.Name, Address: addressOf(m)}
		if i := slices.IndexFunc(d.Nodes, func(k Node) bool { return k.Address == n.Address }); i >= 0 {
			n.Name = d.Nodes[i].Name
		}
		nodes = append(nodes, n)
	}
	return nodes
}
