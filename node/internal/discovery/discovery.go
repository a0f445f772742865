// Package discovery implements `xeroops-node discovery`, which runs on every node: it
// publishes the node's entry in the registry (docs/design.md#registry) and keeps the
// node's copy of the topology up to date. The entry is written every 30 s, at once when
// it changes, and within seconds after the registry has lost it or was unavailable.
package discovery

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"

	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/node/internal/backoff"
	"github.com/xeroops/xeroops/node/internal/journal"
	"github.com/xeroops/xeroops/node/internal/topology"
)

const (
	// pollInterval is how often units and files are polled for changes.
	pollInterval = time.Second
	// healthInterval is how often all health checks run. They find changes that units do
	// not show, such as a promotion of PostgreSQL.
	healthInterval = 5 * time.Second
	// registryTimeout limits one exchange with the registry.
	registryTimeout = 3 * time.Second
	// minPause and maxPause are the first and the longest pause between attempts to reach
	// an unavailable registry.
	minPause = 250 * time.Millisecond
	maxPause = 4 * time.Second
)

var errNoRegistry = errors.New("the topology has no management node")

// node is the source of the entry.
type node interface {
	// entry runs all health checks and returns the node's entry.
	entry(ctx context.Context) registry.Node
	// fingerprint returns a text that changes when a unit or a relevant file does.
	fingerprint(ctx context.Context) string
}

// Discovery is the daemon.
type Discovery struct {
	Node     node
	Open     func(address string) *redis.Client
	Topology topology.Files // names the registry's node
	Log      hclog.Logger

	redis       *redis.Client
	address     string         // of redis
	published   registry.Node  // the entry that was written last
	publishedAt time.Time      // zero if none was
	pending     *registry.Node // the entry to write next
	changed     bool           // whether pending is more than a heartbeat
	pause       *backoff.Backoff
	retryAt     time.Time // zero unless the registry is unavailable
	unavailable journal.Problem
}

// Run publishes the entry until the context ends.
func (d *Discovery) Run(ctx context.Context) {
	d.pause = backoff.New(minPause, maxPause)
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	var fingerprint string
	var checkedAt time.Time
	for {
		now := time.Now()
		current := d.Node.fingerprint(ctx)
		if current != fingerprint || now.Sub(checkedAt) >= healthInterval {
			fingerprint, checkedAt = current, now
			if entry := d.Node.entry(ctx); ctx.Err() == nil {
				d.update(entry)
			}
		}
		d.publish(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// update makes an entry the pending one if it differs from the published one, replaces an
// entry that is pending already, or is due as a heartbeat.
func (d *Discovery) update(entry registry.Node) {
	last := d.published
	if d.pending != nil {
		last = *d.pending
	}
	changed := d.publishedAt.IsZero() || differs(last, entry)
	if changed || d.pending != nil || time.Since(d.publishedAt) >= registry.Heartbeat-healthInterval/2 {
		d.changed = d.changed || changed
		d.pending = &entry
	}
}

// publish writes the pending entry. Without one it checks whether the registry has lost
// the entry, because it was emptied or its clock jumped past the expiry.
func (d *Discovery) publish(ctx context.Context) {
	if time.Now().Before(d.retryAt) {
		return
	}
	c := d.client()
	if c == nil {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, registryTimeout)
	defer cancel()
	if d.pending == nil {
		exists, err := registry.HasNode(bounded, c, d.published.Name)
		if d.recordResult(ctx, err); err != nil || exists {
			return
		}
		d.Log.Info("registry entry lost, writing it again")
		d.republish()
	}
	d.pending.UpdatedAt = time.Now()
	err := registry.WriteNode(bounded, c, *d.pending, d.changed)
	if d.recordResult(ctx, err); err != nil {
		return
	}
	if d.changed {
		d.Log.Info("entry published", "state", d.pending.State, "applications", len(d.pending.Applications))
	}
	d.published, d.publishedAt, d.pending, d.changed = *d.pending, time.Now(), nil, false
}

// republish makes the published entry pending again.
func (d *Discovery) republish() {
	entry := d.published
	d.pending, d.changed = &entry, true
}

// recordResult records the result of an exchange with the registry, and after a failure
// when to retry.
func (d *Discovery) recordResult(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	d.unavailable.Set(d.Log, "registry unavailable, retrying", err)
	if err == nil {
		d.retryAt = time.Time{}
		d.pause.Reset()
		return
	}
	d.retryAt = time.Now().Add(d.pause.Next())
	if d.pending == nil { // the registry may come back without the entry
		d.republish()
	}
}

// Drain publishes that the node is draining.
func (d *Discovery) Drain(ctx context.Context) {
	if d.publishedAt.IsZero() {
		return
	}
	entry := d.published
	entry.State = registry.NodeDraining
	d.pending, d.changed, d.retryAt = &entry, true, time.Time{}
	d.publish(ctx)
}

// client returns a client of the registry that the topology names, or nil if it names
// none.
func (d *Discovery) client() *redis.Client {
	t, err := d.Topology.Read()
	address := registryOf(t)
	if err == nil && address == "" {
		err = errNoRegistry
	}
	if err != nil {
		d.unavailable.Set(d.Log, "registry unavailable, retrying", err)
		return nil
	}
	if address != d.address {
		d.Close()
		d.redis, d.address = d.Open(address), address
	}
	return d.redis
}

// Close closes the connections to the registry.
func (d *Discovery) Close() {
	if d.redis != nil {
		_ = d.redis.Close()
	}
	d.redis, d.address = nil, ""
}

// differs reports whether b differs from a, ignoring load and timestamps.
func differs(a, b registry.Node) bool {
	a.Resources, b.Resources = registry.Resources{}, registry.Resources{}
	a.UpdatedAt, b.UpdatedAt = time.Time{}, time.Time{}
	return !reflect.DeepEqual(a, b)
}
