package vpnpeers

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/node/internal/instance"
	"github.com/xeroops/xeroops/node/internal/journal"
	"github.com/xeroops/xeroops/node/internal/topology"
)

// syncInterval is the maximum delay until a new peer can connect. A list request costs
// $0.000005.
const syncInterval = 10 * time.Second

// syncTimeout limits one synchronization.
const syncTimeout = time.Minute

const wireguard = "wg0"

// Command returns `xeroops-node vpn-peers`.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:   "vpn-peers",
		Short: "Configure the peers of " + wireguard + " from the objects in S3",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			i, err := instance.Load()
			if err != nil {
				return err
			}
			g := gateway{
				source: &source{S3: i.S3(), Bucket: i.UploadsBucket, Layout: i.Layout()},
				vpn:    vpnRange, wg: wg, layout: i.Layout(), log: journal.NewLogger("vpn-peers"),
			}
			g.run(c.Context())
			return nil
		},
	}
}

// vpnRange returns the VPN's address range according to the current topology.
func vpnRange() (netip.Prefix, error) {
	t, err := topology.Read()
	if err != nil {
		return netip.Prefix{}, err
	}
	vpn, err := netip.ParsePrefix(t.VPN.CIDR)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("parse the topology's VPN range: %w", err)
	}
	return vpn, nil
}

// wg runs wg(8).
func wg(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "wg", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("wg %s: %w: %s", args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return string(out), nil
}

// gateway configures the interface from the objects.
type gateway struct {
	source *source
	vpn    func() (netip.Prefix, error)
	wg     func(ctx context.Context, args ...string) (string, error)
	layout cluster.Layout
	log    hclog.Logger

	failure journal.Problem
	ignored journal.Problems
}

func (g *gateway) run(ctx context.Context) {
	for {
		err := g.sync(ctx)
		if ctx.Err() != nil {
			return
		}
		g.failure.Set(g.log, "synchronizing peers failed, retrying", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(syncInterval):
		}
	}
}

// sync changes the peers that differ from the objects. It reads the interface each time,
// so that a recreated one gets its peers again.
func (g *gateway) sync(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	vpn, err := g.vpn()
	if err != nil {
		return err
	}
	objects, unreadable, err := g.source.fetch(ctx)
	if err != nil {
		return err
	}
	peers, invalid := usable(objects, vpn, g.layout)
	g.ignored.Set(g.log, "VPN peer ignored", slices.Concat(invalid, unreadable))
	shown, err := g.wg(ctx, "show", wireguard, "allowed-ips")
	if err != nil {
		return err
	}
	args := changes(allowedIPs(shown), peers)
	if len(args) == 0 {
		return nil
	}
	const peersPerCall = 100 // the length of a command line is limited
	for chunk := range slices.Chunk(splitPeers(args), peersPerCall) {
		if _, err := g.wg(ctx, append([]string{"set", wireguard}, slices.Concat(chunk...)...)...); err != nil {
			return err
		}
	}
	g.log.Info("peers changed", "peers", len(peers))
	return nil
}

// splitPeers splits the arguments of `wg set` by peer.
func splitPeers(args []string) [][]string {
	var peers [][]string
	for _, arg := range args {
		if arg == "peer" {
			peers = append(peers, nil)
		}
		peers[len(peers)-1] = append(peers[len(peers)-1], arg)
	}
	return peers
}

// allowedIPs parses `wg show INTERFACE allowed-ips`: a key, a tab and ranges.
func allowedIPs(text string) map[string]string {
	ranges := map[string]string{}
	for line := range strings.Lines(text) {
		key, allowed, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if key != "" {
			ranges[key] = allowed
		}
	}
	return ranges
}
