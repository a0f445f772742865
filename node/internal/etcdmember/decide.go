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
)

// Decision is what there is to know before etcd starts.
type Decision struct {
	Cluster string // name
	Self    Node
	Nodes   []Node // all that have etcd, this one too
	DataDir string
	// Outlived says that this node's databases are older than its etcd: the
	// cluster was there before, so a silence of the others is not its beginning.
	Outlived bool
	Patience time.Duration // how long an Outlived node waits for the others
	Retry    time.Duration // between two attempts
	Log      hclog.Logger
}

// errNotYet is when another attempt may find more.
var errNotYet = errors.New("not yet")

// Settings waits until it is clear what this node is to etcd and returns etcd's
// environment. It ends with the context.
func (d Decision) Settings(ctx context.Context) (string, error) {
	if d.hasData() {
		// etcd goes by its data, and by the flags only until there is some.
		return member(d.Self, d.Cluster, []Node{d.Self}, "existing")
	}
	began := time.Now()
	var told string
	for {
		settings, err := d.attempt(ctx, time.Since(began))
		if err == nil {
			return settings, nil
		}
		if !errors.Is(err, errNotYet) {
			return "", err
		}
		if told != err.Error() {
			told = err.Error()
			d.Log.Info("etcd waits", "node", d.Self.Name, "because", told)
		}
		if !backoff.Sleep(ctx, d.Retry) {
			return "", fmt.Errorf("find out what %s is to etcd: %w; at last: %w", d.Self.Name, ctx.Err(), err)
		}
	}
}

// hasData reports whether etcd has a write-ahead log on this node.
func (d Decision) hasData() bool {
	logs, err := filepath.Glob(filepath.Join(d.DataDir, "member", "wal", "*.wal"))
	return err == nil && len(logs) > 0
}

func (d Decision) attempt(ctx context.Context, waited time.Duration) (string, error) {
	first := firstMembers(d.Nodes)
	seen := d.askOthers(ctx)
	for _, list := range seen {
		if slices.ContainsFunc(list, Member.started) {
			return d.join(ctx)
		}
	}
	switch {
	case !slices.Contains(first, d.Self):
		return gateway(first)
	case len(seen) == 0 && len(first) > 1 && d.Outlived && waited < d.Patience:
		return "", fmt.Errorf("%w: the databases here are older than this instance, so etcd was there before, but no other node of it answers", errNotYet)
	default:
		d.Log.Info("etcd begins a new cluster", "node", d.Self.Name, "members", first)
		return member(d.Self, d.Cluster, first, "new")
	}
}

// askOthers returns who the other nodes believe the members to be, of those that
// answer.
func (d Decision) askOthers(ctx context.Context) [][]Member {
	var mu sync.Mutex
	var seen [][]Member
	var all sync.WaitGroup
	for _, n := range d.Nodes {
		if n == d.Self {
			continue
		}
		all.Go(func() {
			if list, err := members(ctx, n); err == nil {
				mu.Lock()
				defer mu.Unlock()
				seen = append(seen, list)
			}
		})
	}
	all.Wait()
	return seen
}

// join makes this node a member of the cluster that is there, or a gateway to it
// if that has members enough.
func (d Decision) join(ctx context.Context) (string, error) {
	through, list, err := d.anyAgreed(ctx)
	if err != nil {
		return "", err
	}
	mine := slices.IndexFunc(list, d.isMine)
	if mine >= 0 && !list[mine].started() {
		return member(d.Self, d.Cluster, d.named(list), "existing")
	}
	if mine >= 0 {
		d.Log.Info("etcd forgets this node's former instance", "node", d.Self.Name, "member", list[mine].ID)
		if list, err = remove(ctx, through, list[mine]); err != nil {
			return "", fmt.Errorf("%w: %w", errNotYet, err)
		}
	}
	if list, err = d.makeRoom(ctx, through, list); err != nil {
		return "", err
	}
	if len(list) >= len(firstMembers(d.Nodes)) {
		return gateway(d.named(list))
	}
	d.Log.Info("etcd takes this node in", "node", d.Self.Name)
	if list, err = add(ctx, through, d.Self); err != nil {
		return "", fmt.Errorf("%w: %w", errNotYet, err)
	}
	return member(d.Self, d.Cluster, d.named(list), "existing")
}

// anyAgreed returns the list of members that a quorum agrees on, and who gave it.
func (d Decision) anyAgreed(ctx context.Context) (through Node, list []Member, err error) {
	err = errNotYet
	for _, n := range d.Nodes {
		if n == d.Self {
			continue
		}
		list, failed := agreed(ctx, n)
		if failed == nil {
			return n, list, nil
		}
		err = fmt.Errorf("%w: %w", err, failed)
	}
	return Node{}, nil, fmt.Errorf("etcd is there but has no quorum: %w", err)
}

func (d Decision) isMine(m Member) bool {
	return m.Name == d.Self.Name || slices.Contains(m.PeerURLs, peerURL(d.Self.Address))
}

// makeRoom removes a member whose node is no longer in the cluster.
func (d Decision) makeRoom(ctx context.Context, through Node, list []Member) ([]Member, error) {
	gone := slices.IndexFunc(list, func(m Member) bool {
		return !slices.ContainsFunc(d.Nodes, func(n Node) bool { return n.Address == addressOf(m) })
	})
	if gone < 0 {
		return list, nil
	}
	d.Log.Info("etcd forgets a node that the cluster no longer has", "member", list[gone].Name)
	list, err := remove(ctx, through, list[gone])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotYet, err)
	}
	return list, nil
}

// named are the members as nodes. One that was added and has not started has no
// name in etcd's list, but its node has.
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
