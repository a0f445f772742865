package discovery

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/node/internal/atomicfile"
	"github.com/xeroops/xeroops/node/internal/backoff"
	"github.com/xeroops/xeroops/node/internal/topology"
)

// Fetched is where discovery puts a topology that it fetched. It is not root and may
// write neither /etc/hosts nor /run/xeroops: systemd starts xeroops-hosts.service
// when the file changes.
const Fetched = "/run/xeroops-discovery/topology.json"

// askEvery is how often S3 is asked whether the topology changed; a request
// that changes nothing costs 0.0000004 $ in most regions.
const askEvery = 12 * time.Second

// fetcher keeps the fetched topology in step.
type fetcher struct {
	Source *topology.Source
	Copy   topology.Files // what the node goes by
	File   string         // Fetched
	Log    hclog.Logger
}

// run fetches until the context ends: every [askEvery], and when early says so.
func (f *fetcher) run(ctx context.Context, early <-chan struct{}) {
	troubled := false
	for {
		changed, err := f.fetch(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !troubled:
			f.Log.Warn("topology may be out of date", "error", err)
		case err == nil && troubled:
			f.Log.Info("topology can be fetched again")
		case changed:
			f.Log.Info("topology changed")
		}
		troubled = err != nil
		select {
		case <-ctx.Done():
			return
		case <-early:
			// The node that is new was written down before it was launched.
			if !backoff.Sleep(ctx, time.Second) {
				return
			}
		case <-time.After(askEvery):
		}
	}
}

func (f *fetcher) fetch(ctx context.Context) (changed bool, err error) {
	t, changed, err := f.Source.Fetch(ctx)
	if err != nil || !changed {
		return false, err
	}
	text, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return false, err
	}
	return atomicfile.WriteFile(f.File, text, 0o644)
}

// listen asks for the topology early when a node that is none of the cluster's so far
// is heard of, until the context ends.
func (f *fetcher) listen(ctx context.Context, open func(address string) *redis.Client, early chan<- struct{}) {
	for ctx.Err() == nil {
		if t, err := f.Copy.Read(); err == nil && registryOf(t) != "" {
			f.listenTo(ctx, open(registryOf(t)), t, early)
		}
		if !backoff.Sleep(ctx, 5*time.Second) {
			return
		}
	}
}

// listenTo listens to one registry, until it moves.
func (f *fetcher) listenTo(ctx context.Context, c *redis.Client, t cluster.Topology, early chan<- struct{}) {
	defer func() { _ = c.Close() }()
	subscription := c.Subscribe(ctx, registry.TopologyChannel)
	defer func() { _ = subscription.Close() }()
	clock := time.NewTicker(askEvery)
	defer clock.Stop()
	messages := subscription.Channel()
	at := registryOf(t)
	for {
		select {
		case <-ctx.Done():
			return
		case <-clock.C:
			if now, err := f.Copy.Read(); err == nil {
				t = now
			}
			if registryOf(t) != at {
				return
			}
		case m, open := <-messages:
			if !open {
				return
			}
			if now, err := f.Copy.Read(); err == nil {
				t = now
			}
			if !slices.ContainsFunc(t.Nodes, func(n cluster.TopologyNode) bool { return n.Name == m.Payload }) {
				select {
				case early <- struct{}{}:
				default:
				}
			}
		}
	}
}

// hostName is what a node may be called, in /etc/hosts and elsewhere.
var hostName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// putInPlace makes the fetched topology the node's. Who fetched it may do less than
// this, so nothing that could not be the cluster's topology passes.
func putInPlace(fetched string, files topology.Files, of string) (changed bool, err error) {
	var t cluster.Topology
	text, err := os.ReadFile(fetched)
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(text, &t); err != nil {
		return false, fmt.Errorf("read %s: %w", fetched, err)
	}
	if t.Schema != cluster.TopologySchema || t.Cluster != of || len(t.Nodes) == 0 {
		return false, fmt.Errorf("%s is not a topology of cluster %s", fetched, of)
	}
	for _, n := range t.Nodes {
		if address, err := netip.ParseAddr(n.Address); err != nil || !address.Is4() || !address.IsGlobalUnicast() || !hostName.MatchString(n.Name) {
			return false, fmt.Errorf("%s: node %q at %q: name or address can't be a node's", fetched, n.Name, n.Address)
		}
	}
	for _, route := range t.VPN.Routes { // the gateway's firewall is made of them
		if prefix, err := netip.ParsePrefix(route); err != nil || !prefix.Addr().Is4() {
			return false, fmt.Errorf("%s: %q can't be a route of the VPN", fetched, route)
		}
	}
	return files.Write(t)
}
