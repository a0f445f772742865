package discovery

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
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

// Fetched is the file to which discovery writes the topology. Discovery does not run as
// root and may write neither /etc/hosts nor /run/xeroops; systemd starts
// xeroops-hosts.service when the file changes.
const Fetched = "/run/xeroops-discovery/topology.json"

const (
	// fetchInterval is how often S3 is polled for a changed topology. A request costs
	// $0.0000004 in most regions.
	fetchInterval = 12 * time.Second
	// earlyFetchPause limits fetches that messages cause.
	earlyFetchPause = time.Second
	// reconnectInterval is how often listening is retried.
	reconnectInterval = 5 * time.Second
)

// fetcher keeps the fetched topology up to date.
type fetcher struct {
	Source *topology.Source
	Copy   topology.Files // the installed topology
	File   string         // usually Fetched
	Log    hclog.Logger
}

// run fetches every [fetchInterval], and after each value from early, until the context
// ends.
func (f *fetcher) run(ctx context.Context, early <-chan struct{}) {
	var failure journal.Problem
	for {
		changed, err := f.fetch(ctx)
		if ctx.Err() != nil {
			return
		}
		failure.Set(f.Log, "fetching the topology failed, retrying", err)
		if changed {
			f.Log.Info("topology changed")
		}
		select {
		case <-ctx.Done():
			return
		case <-early:
			// The topology lists a node before the node is launched.
			if !backoff.Sleep(ctx, earlyFetchPause) {
				return
			}
		case <-time.After(fetchInterval):
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

// listen requests an early fetch for each message about a node that is not in the
// topology, until the context ends.
func (f *fetcher) listen(ctx context.Context, open func(address string) *redis.Client, early chan<- struct{}) {
	for ctx.Err() == nil {
		if t, err := f.Copy.Read(); err == nil && registryOf(t) != "" {
			f.listenTo(ctx, open(registryOf(t)), t, early)
		}
		if !backoff.Sleep(ctx, reconnectInterval) {
			return
		}
	}
}

// listenTo listens to one registry until the topology names another.
func (f *fetcher) listenTo(ctx context.Context, c *redis.Client, t cluster.Topology, early chan<- struct{}) {
	defer func() { _ = c.Close() }()
	subscription := c.Subscribe(ctx, registry.TopologyChannel)
	defer func() { _ = subscription.Close() }()
	ticker := time.NewTicker(fetchInterval)
	defer ticker.Stop()
	messages := subscription.Channel()
	address := registryOf(t)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if now, err := f.Copy.Read(); err == nil {
				t = now
			}
			if registryOf(t) != address {
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

// install makes the fetched topology the node's. It runs with more privileges than the
// fetcher, and so accepts only what can be the cluster's topology.
func install(fetched string, files topology.Files, clusterName string) (changed bool, err error) {
	var t cluster.Topology
	text, err := os.ReadFile(fetched)
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(text, &t); err != nil {
		return false, fmt.Errorf("parse %s: %w", fetched, err)
	}
	if t.Schema != cluster.TopologySchema || t.Cluster != clusterName || len(t.Nodes) == 0 {
		return false, fmt.Errorf("%s is not a topology of cluster %s", fetched, clusterName)
	}
	for _, n := range t.Nodes {
		if address, err := netip.ParseAddr(n.Address); err != nil || !address.Is4() || !address.IsGlobalUnicast() || !topology.IsNodeName(n.Name) {
			return false, fmt.Errorf("%s: node %q at %q: invalid name or address", fetched, n.Name, n.Address)
		}
	}
	for _, route := range t.VPN.Routes { // the gateway's firewall contains them
		if prefix, err := netip.ParsePrefix(route); err != nil || !prefix.Addr().Is4() {
			return false, fmt.Errorf("%s: invalid VPN route %q", fetched, route)
		}
	}
	return files.Write(t)
}
