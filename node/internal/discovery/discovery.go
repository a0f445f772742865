// Package discovery is `xeroops-node discovery`, on every node: it keeps the node's
// entry in the registry true (docs/design.md#registry), and the node's copy of the topology.
// The entry is written every 30 s, at once when something changed, and within a
// second of a registry that lost it. Nothing that is away ends it.
package discovery

import (
	"context"
	"reflect"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"

	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/node/internal/backoff"
	"github.com/xeroops/xeroops/node/internal/topology"
)

// How often the node is looked at: at units and files; with all health checks,
// which find what units don't tell, such as that PostgreSQL became the primary.
const (
	glance  = time.Second
	inspect = 5 * time.Second
)

// writeTimeout bounds one exchange with the registry.
const writeTimeout = 3 * time.Second

// How long a registry that is away is not asked, at first and at most.
const (
	firstPause = 250 * time.Millisecond
	lastPause  = 4 * time.Second
)

// node is what is looked at.
type node interface {
	// entry is how the node is, after all checks.
	entry(ctx context.Context) registry.Node
	// fingerprint changes when a unit or a file that matters did.
	fingerprint(ctx context.Context) string
}

// Discovery is the daemon.
type Discovery struct {
	Node     node
	Open     func(address string) *redis.Client
	Topology topology.Files // read to find the registry
	Log      hclog.Logger

	redis    *redis.Client
	address  string        // of redis
	told     registry.Node // the entry that was written last
	toldAt   time.Time     // zero if nothing was
	toTell   *registry.Node
	news     bool // toTell is more than a heartbeat
	pause    *backoff.Backoff
	after    time.Time // the registry is not to be asked before
	troubled bool
}

// Run keeps the entry until the context ends.
func (d *Discovery) Run(ctx context.Context) {
	d.pause = backoff.New(firstPause, lastPause)
	clock := time.NewTicker(glance)
	defer clock.Stop()
	var print string
	var inspected time.Time
	for {
		now := time.Now()
		is := d.Node.fingerprint(ctx)
		if is != print || now.Sub(inspected) >= inspect {
			print, inspected = is, now
			if entry := d.Node.entry(ctx); ctx.Err() == nil {
				d.consider(entry)
			}
		}
		d.tell(ctx)
		select {
		case <-ctx.Done():
			return
		case <-clock.C:
		}
	}
}

// consider takes an entry as the one to tell, if it is news or due. What could
// not be told before is news still.
func (d *Discovery) consider(entry registry.Node) {
	last := d.told
	if d.toTell != nil {
		last = *d.toTell
	}
	news := d.toldAt.IsZero() || differs(last, entry)
	if news || d.toTell != nil || time.Since(d.toldAt) >= registry.Heartbeat-inspect/2 {
		d.news = d.news || news
		d.toTell = &entry
	}
}

// tell writes what there is to tell; otherwise it looks whether the registry has
// lost the entry: it was emptied, or its clock jumped past the expiry.
func (d *Discovery) tell(ctx context.Context) {
	if time.Now().Before(d.after) {
		return
	}
	c := d.client()
	if c == nil {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if d.toTell == nil {
		has, err := registry.HasNode(bounded, c, d.told.Name)
		if d.settle(ctx, err); err != nil || has {
			return
		}
		d.Log.Info("the registry has lost this node's entry, writing it again")
		again := d.told
		d.toTell, d.news = &again, true
	}
	d.toTell.UpdatedAt = time.Now()
	err := registry.WriteNode(bounded, c, *d.toTell, d.news)
	if d.settle(ctx, err); err != nil {
		return
	}
	if d.news {
		d.Log.Info("entry written", "state", d.toTell.State, "applications", len(d.toTell.Applications))
	}
	d.told, d.toldAt, d.toTell, d.news = *d.toTell, time.Now(), nil, false
}

// settle notes whether the registry answered, and when to ask it again.
func (d *Discovery) settle(ctx context.Context, err error) {
	switch {
	case err == nil:
		if d.troubled {
			d.Log.Info("the registry is there again")
		}
		d.troubled = false
		d.after = time.Time{}
		d.pause.Reset()
	case ctx.Err() == nil:
		if !d.troubled {
			d.Log.Warn("the registry is away, trying again", "error", err)
		}
		d.troubled = true
		d.after = time.Now().Add(d.pause.Next())
		if d.toTell == nil { // it may have lost the entry meanwhile
			again := d.told
			d.toTell, d.news = &again, true
		}
	}
}

// Drain tells the registry that this node is going away.
func (d *Discovery) Drain(ctx context.Context) {
	if d.toldAt.IsZero() {
		return
	}
	entry := d.told
	entry.State = registry.NodeDraining
	d.toTell, d.news, d.after = &entry, true, time.Time{}
	d.tell(ctx)
}

// client is a client of the registry, which is where the topology says.
func (d *Discovery) client() *redis.Client {
	t, err := d.Topology.Read()
	address := registryOf(t)
	if err != nil || address == "" {
		if !d.troubled {
			d.Log.Warn("the registry is not known yet", "error", err)
		}
		d.troubled = true
		return nil
	}
	if address != d.address {
		d.Close()
		d.redis, d.address = d.Open(address), address
	}
	return d.redis
}

// Close ends the connections.
func (d *Discovery) Close() {
	if d.redis != nil {
		_ = d.redis.Close()
	}
	d.redis, d.address = nil, ""
}

// differs says whether b is news to who knows a; that load and time have changed
// is none.
func differs(a, b registry.Node) bool {
	a.Resources, b.Resources = registry.Resources{}, registry.Resources{}
	a.UpdatedAt, b.UpdatedAt = time.Time{}, time.Time{}
	return !reflect.DeepEqual(a, b)
}
