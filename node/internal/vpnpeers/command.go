package vpnpeers

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/node/internal/instance"
	"github.com/xeroops/xeroops/node/internal/topology"
)

// interval is how soon a new peer can connect: a list request costs 0.0005 cents.
const interval = 10 * time.Second

const wireguard = "wg0"

// Command is `xeroops-node vpn-peers`.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:   "vpn-peers",
		Short: "Keep the peers of " + wireguard + " those of the objects in S3",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			i, err := instance.Load()
			if err != nil {
				return err
			}
			log := hclog.New(&hclog.LoggerOptions{Name: "vpn-peers", DisableTime: true})
			g := gateway{
				source: &source{S3: i.S3(), Bucket: i.UploadsBucket, Layout: i.Layout()},
				vpn:    vpnRange, wg: wg, layout: i.Layout(), log: log,
			}
			g.run(c.Context())
			return nil
		},
	}
}

// vpnRange is the VPN's range as the node knows it now.
func vpnRange() (netip.Prefix, error) {
	t, err := topology.Read()
	if err != nil {
		return netip.Prefix{}, err
	}
	vpn, err := netip.ParsePrefix(t.VPN.CIDR)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("the topology's VPN range: %w", err)
	}
	return vpn, nil
}

// wg runs wg(8).
func wg(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "wg", args...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("wg %s: %w: %s", args[0], err, bytes.TrimSpace(complaint.Bytes()))
	}
	return string(out), nil
}

// gateway brings the objects to the interface.
type gateway struct {
	source *source
	vpn    func() (netip.Prefix, error)
	wg     func(ctx context.Context, args ...string) (string, error)
	layout cluster.Layout
	log    hclog.Logger

	told map[string]string // what was logged of which object
}

func (g *gateway) run(ctx context.Context) {
	failed := ""
	for {
		err := g.once(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && err.Error() != failed:
			g.log.Error("peers stay as they are", "error", err)
			failed = err.Error()
		case err == nil:
			failed = ""
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(interval):
		}
	}
}

// once reconciles the interface's peers with the objects. It reads the interface
// each time, so that a recreated one gets its peers again.
func (g *gateway) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	vpn, err := g.vpn()
	if err != nil {
		return err
	}
	objects, unread, err := g.source.fetch(ctx)
	if err != nil {
		return err
	}
	peers, bad := usable(objects, vpn, g.layout)
	maps.Copy(bad, unread)
	g.tell(bad)
	shown, err := g.wg(ctx, "show", wireguard, "allowed-ips")
	if err != nil {
		return err
	}
	args := changes(allowedIPs(shown), peers)
	if len(args) == 0 {
		return nil
	}
	const perCall = 100 // a command line has its limit
	for part := range slices.Chunk(wholePeers(args), perCall) {
		if _, err := g.wg(ctx, append([]string{"set", wireguard}, slices.Concat(part...)...)...); err != nil {
			return err
		}
	}
	g.log.Info("peers changed", "peers", len(peers))
	return nil
}

// wholePeers cuts arguments of `wg set` before each peer.
func wholePeers(args []string) [][]string {
	var parts [][]string
	for _, arg := range args {
		if arg == "peer" {
			parts = append(parts, nil)
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], arg)
	}
	return parts
}

// tell logs what is wrong with an object once.
func (g *gateway) tell(bad map[string]error) {
	told := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(bad)) {
		told[key] = bad[key].Error()
		if g.told[key] != told[key] {
			g.log.Warn("a peer is left out", "object", key, "error", bad[key])
		}
	}
	g.told = told
}

// allowedIPs reads `wg show INTERFACE allowed-ips`: a key, a tab, and ranges.
func allowedIPs(text string) map[string]string {
	has := map[string]string{}
	for line := range strings.Lines(text) {
		key, ranges, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if key != "" {
			has[key] = ranges
		}
	}
	return has
}
