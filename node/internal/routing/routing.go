// Package routing is `xeroops-node routing` on the management node: HAProxy goes
// where the registry says that applications run, and to the database nodes
// of the topology. What it does not know for sure it leaves as it is: a registry
// that is empty or away, a node that is silent, or a configuration that
// HAProxy refuses empties no backend.
package routing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/node/internal/atomicfile"
	"github.com/xeroops/xeroops/node/internal/backoff"
	"github.com/xeroops/xeroops/node/internal/topology"
)

// How often routing looks without being told: at what is cheap, and at all.
const (
	glance = time.Second
	look   = 30 * time.Second
)

// gather is how long routing waits after a message for others: a cluster that
// starts has as many as nodes.
const gather = 50 * time.Millisecond

// Routing is the daemon.
type Routing struct {
	Redis    *redis.Client
	Topology topology.Files
	Saved    string // file of what was known last
	Balancer *balancer
	Log      hclog.Logger

	view     *view
	problems []string
	trouble  string // said last, so that it is said once
	retry    time.Time
	pause    *backoff.Backoff
}

// Run keeps HAProxy in step until the context ends. ready is called once
// there is a configuration with which HAProxy can start.
func (r *Routing) Run(ctx context.Context, ready func()) error {
	r.view = newView(r.load())
	r.pause = backoff.New(500*time.Millisecond, 5*time.Second)
	news := make(chan struct{}, 1)
	go r.listen(ctx, news)
	t := r.initial(ctx)
	ready()
	clock := time.NewTicker(glance)
	defer clock.Stop()
	for next := time.Now(); ; {
		if now := time.Now(); !now.Before(next) || r.due(now) || r.moved(&t) {
			r.pass(ctx, t)
			next = now.Add(look)
		}
		if err := r.Balancer.endFormer(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, errNotRunning) {
			r.Log.Warn("sessions of an old HAProxy worker", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-news:
			if !backoff.Sleep(ctx, gather) {
				return nil
			}
			next = time.Time{}
		case <-clock.C:
		}
	}
}

// initial lets HAProxy start with what was known last, or with nothing.
func (r *Routing) initial(ctx context.Context) cluster.Topology {
	t, err := r.Topology.Read()
	if err != nil {
		r.Log.Warn("no topology yet", "error", err)
		t = cluster.Topology{}
		if runnable, _ := os.ReadFile(r.Balancer.Config); strings.Contains(string(runnable), "description xeroops-") {
			return t
		}
	}
	routes, _ := newRoutes(t, r.view.says)
	if _, err := r.Balancer.install(ctx, routes); err != nil {
		r.Log.Error("initial configuration", "error", err)
	}
	return t
}

// moved reads the topology again and says whether it is another.
func (r *Routing) moved(t *cluster.Topology) bool {
	now, err := r.Topology.Read()
	if err != nil || slices.Equal(now.Nodes, t.Nodes) {
		return false
	}
	*t = now
	return true
}

// due says that something failed and it is time to try again.
func (r *Routing) due(now time.Time) bool { return !r.retry.IsZero() && now.After(r.retry) }

// pass brings HAProxy in step once.
func (r *Routing) pass(ctx context.Context, t cluster.Topology) {
	if len(t.Nodes) == 0 {
		return // nobody knows who is in the cluster: all stays as it is
	}
	began := time.Now()
	errRead := r.read(ctx, t)
	routes, problems := newRoutes(t, r.view.says)
	r.complain(problems)
	how, err := r.Balancer.apply(ctx, routes)
	if ctx.Err() != nil {
		return
	}
	r.again(errors.Join(errRead, err))
	if how == adjusted || how == reloaded {
		r.Log.Info("routes changed", "how", how, "applications", len(routes.Applications), "elapsed", time.Since(began).Round(time.Millisecond).String())
	}
}

// read takes in what the registry has.
func (r *Routing) read(ctx context.Context, t cluster.Topology) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var names, apps []string
	for _, n := range t.Nodes {
		names = append(names, n.Name)
		if n.Role == cluster.RoleApp {
			apps = append(apps, n.Name)
		}
	}
	r.view.retain(names)
	entries, problems, err := registry.ReadEntries(ctx, r.Redis, apps)
	if err != nil {
		r.view.interrupted()
		return err
	}
	for _, p := range problems {
		r.Log.Warn("entry not understood", "error", p)
	}
	r.view.update(entries, time.Now())
	if len(entries) > 0 {
		r.save()
	}
	return nil
}

// again plans another try after a failure: soon, then less often, never at once
// with others.
func (r *Routing) again(err error) {
	if err == nil {
		if r.trouble != "" {
			r.Log.Info("all is well again")
		}
		r.trouble, r.retry = "", time.Time{}
		r.pause.Reset()
		return
	}
	if text := err.Error(); text != r.trouble {
		r.trouble = text
		r.Log.Warn("not all is well, trying again", "error", err)
	}
	if errors.Is(err, errNotRunning) {
		r.pause.Reset() // it starts with the file; only what changed since is to be told
	}
	r.retry = time.Now().Add(r.pause.Next())
}

// complain logs what was left out, once.
func (r *Routing) complain(problems []string) {
	for _, p := range problems {
		if !slices.Contains(r.problems, p) {
			r.Log.Warn("left out", "reason", p)
		}
	}
	r.problems = problems
}

// listen wakes the daemon when an entry changed, and when the registry is there
// again.
func (r *Routing) listen(ctx context.Context, news chan<- struct{}) {
	subscription := r.Redis.Subscribe(ctx, registry.TopologyChannel)

	// Subscribed anew after a reconnect; that, too, arrives here.
	defer context.AfterFunc(ctx, func() { _ = subscription.Close() })()
	for range subscription.ChannelWithSubscriptions() {
		select {
		case news <- struct{}{}:
		default:
		}
	}
}

// load returns what was known when routing last ran.
func (r *Routing) load() map[string]registry.Node {
	text, err := os.ReadFile(r.Saved)
	if err != nil {
		return nil
	}
	var known map[string]registry.Node
	if err := json.Unmarshal(text, &known); err != nil {
		r.Log.Warn("what was known last is lost", "file", r.Saved, "error", err)
		return nil
	}
	return known
}

func (r *Routing) save() {
	text, err := json.Marshal(r.view.entries())
	if err == nil {
		_, err = atomicfile.WriteFile(r.Saved, text, 0o644)
	}
	if err != nil {
		r.Log.Warn("a restart will not know what is known now", "error", fmt.Errorf("write %s: %w", r.Saved, err))
	}
}
