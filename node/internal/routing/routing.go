// Package routing implements `xeroops-node routing` on the management node: it
// configures HAProxy to send requests to the nodes that run an application, according
// to the registry, and database connections to the database nodes of the topology.
// Missing information never empties a backend, whether the registry is empty or
// unavailable, a node is silent or HAProxy rejects a configuration.
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
	"github.com/xeroops/xeroops/node/internal/journal"
	"github.com/xeroops/xeroops/node/internal/topology"
)

const (
	// pollInterval is how often the topology file and old workers are checked.
	pollInterval = time.Second
	// resyncInterval is how often HAProxy is reconciled if there is no message.
	resyncInterval = 30 * time.Second
	// debounce is how long routing waits after a message for further ones: a cluster
	// that starts sends one per node.
	debounce = 50 * time.Millisecond
	// readTimeout limits one read of the registry.
	readTimeout = 5 * time.Second
)

// Routing is the daemon.
type Routing struct {
	Redis       *redis.Client
	Topology    topology.Files
	EntriesFile string // keeps the last entries across a restart
	Balancer    *balancer
	Log         hclog.Logger

	view          *view
	ignored       journal.Problems // what routes leave out
	unreadable    journal.Problems // entries that cannot be parsed
	failure       journal.Problem  // of the last reconcile
	staleSessions journal.Problem
	unpublished   journal.Problem
	published     registry.Routes // nil unless the registry has them
	desired       Routes          // of the last reconcile that succeeded
	publishUntil  time.Time       // when to stop waiting for servers that are not up
	retryAt       time.Time       // zero unless the last reconcile failed
	pause         *backoff.Backoff
}

// Run reconciles HAProxy until the context ends. It calls ready once there is a
// configuration with which HAProxy can start.
func (r *Routing) Run(ctx context.Context, ready func()) error {
	r.view = newView(r.loadEntries())
	r.pause = backoff.New(500*time.Millisecond, 5*time.Second)
	changed := make(chan struct{}, 1)
	go r.listen(ctx, changed)
	t := r.installInitial(ctx)
	ready()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for next := time.Now(); ; {
		if now := time.Now(); !now.Before(next) || r.retryDue(now) || r.topologyChanged(&t) {
			r.reconcile(ctx, t)
			next = now.Add(resyncInterval)
		}
		if err := r.Balancer.endStaleSessions(ctx); ctx.Err() == nil && !errors.Is(err, errNotRunning) {
			r.staleSessions.Set(r.Log, "ending sessions of old HAProxy workers failed, retrying", err)
		}
		soon := r.publishDue(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-soon:
		case <-changed:
			if !backoff.Sleep(ctx, debounce) {
				return nil
			}
			next = time.Time{}
		case <-ticker.C:
		}
	}
}

// installInitial writes the configuration with which HAProxy starts, from the entries of
// the last run, if any.
func (r *Routing) installInitial(ctx context.Context) cluster.Topology {
	t, err := r.Topology.Read()
	if err != nil {
		r.Log.Warn("topology unavailable", "error", err)
		t = cluster.Topology{}
		if existing, _ := os.ReadFile(r.Balancer.Config); strings.Contains(string(existing), "description xeroops-") {
			return t
		}
	}
	routes, _ := newRoutes(t, r.view.lookup, r.view.former()...)
	if _, err := r.Balancer.install(ctx, routes); err != nil {
		r.Log.Error("installing the initial configuration failed", "error", err)
	}
	return t
}

// topologyChanged reads the topology again and reports whether its nodes changed.
func (r *Routing) topologyChanged(t *cluster.Topology) bool {
	now, err := r.Topology.Read()
	if err != nil || slices.Equal(now.Nodes, t.Nodes) {
		return false
	}
	*t = now
	return true
}

// retryDue reports whether the last reconcile failed and it is time to retry.
func (r *Routing) retryDue(now time.Time) bool { return !r.retryAt.IsZero() && now.After(r.retryAt) }

// reconcile applies what the registry and the topology contain to HAProxy.
func (r *Routing) reconcile(ctx context.Context, t cluster.Topology) {
	if len(t.Nodes) == 0 {
		return // the topology is not known yet
	}
	began := time.Now()
	errRead := r.readRegistry(ctx, t)
	routes, problems := newRoutes(t, r.view.lookup, r.view.former()...)
	r.ignored.Set(r.Log, "registry data ignored", problems)
	how, err := r.Balancer.apply(ctx, routes)
	if ctx.Err() != nil {
		return
	}
	if err == nil && errRead == nil {
		r.published = nil // the registry may have lost them
		r.desired, r.publishUntil = routes, began.Add(maxPublishing)
	}
	r.scheduleRetry(errors.Join(errRead, err))
	if how == adjusted || how == reloaded {
		r.Log.Info("routes changed", "how", string(how), "applications", len(routes.Applications), "elapsed", time.Since(began).Round(time.Millisecond).String())
	}
}

// readRegistry updates the view.
func (r *Routing) readRegistry(ctx context.Context, t cluster.Topology) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
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
	desired, errDesired := registry.ReadApplications(ctx, r.Redis)
	if err = errors.Join(err, errDesired); err != nil {
		r.view.interrupt()
		return err
	}
	r.unreadable.Set(r.Log, "registry entry unreadable", problems)
	r.view.update(entries, time.Now())
	r.view.forget(desired)
	if len(entries) > 0 {
		r.saveEntries()
	}
	return nil
}

// scheduleRetry plans the next attempt after a failure, with a growing pause.
func (r *Routing) scheduleRetry(err error) {
	r.failure.Set(r.Log, "reconcile failed, retrying", err)
	if err == nil {
		r.retryAt = time.Time{}
		r.pause.Reset()
		return
	}
	if errors.Is(err, errNotRunning) {
		r.pause.Reset() // it may start at any moment, and needs the latest servers then
	}
	r.retryAt = time.Now().Add(r.pause.Next())
}

// listen signals changed when an entry changed, and when the connection to the registry
// was restored.
func (r *Routing) listen(ctx context.Context, changed chan<- struct{}) {
	subscription := r.Redis.Subscribe(ctx, registry.TopologyChannel)
	defer context.AfterFunc(ctx, func() { _ = subscription.Close() })()
	for range subscription.ChannelWithSubscriptions() { // resubscribing delivers a value, too
		select {
		case changed <- struct{}{}:
		default:
		}
	}
}

// loadEntries returns what the last run has saved.
func (r *Routing) loadEntries() (former saved) {
	text, err := os.ReadFile(r.EntriesFile)
	if err != nil {
		return saved{}
	}
	if err := json.Unmarshal(text, &former); err != nil {
		r.Log.Warn("saved entries unreadable", "file", r.EntriesFile, "error", err)
		return saved{}
	}
	return former
}

func (r *Routing) saveEntries() {
	text, err := json.Marshal(r.view.saved())
	if err == nil {
		_, err = atomicfile.WriteFile(r.EntriesFile, text, 0o644)
	}
	if err != nil {
		r.Log.Warn("saving entries failed", "error", fmt.Errorf("write %s: %w", r.EntriesFile, err))
	}
}
