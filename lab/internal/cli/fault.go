//go:build linux

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"
	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/lab/internal/supervisor"
)

func (a *app) fault() *cobra.Command {
	c := &cobra.Command{
		Use:   "fault",
		Short: "Break something, or mend it again",
		Args:  exactArgs(0),
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(
		a.nodeFault("power-cut", "Cut a machine's power; its instance becomes stopped"),
		a.nodeFault("power-on", "Start a machine that is off"),
		a.nodeFault("freeze", "Stop every process of a machine until thaw"),
		a.nodeFault("thaw", "Let a frozen machine go on"),
		a.partition(),
		&cobra.Command{
			Use: "heal", Short: "End every partition and slow link", Args: exactArgs(0),
			RunE: func(c *cobra.Command, _ []string) error { return a.inject(c, supervisor.Fault{Kind: "heal"}) },
		},
		a.slowDisk(), a.slowLink(), a.apiFault(), a.apiLatency(),
	)
	return c
}

func (a *app) inject(c *cobra.Command, f supervisor.Fault) error {
	return a.client().Inject(c.Context(), f)
}

func (a *app) nodeFault(kind, short string) *cobra.Command {
	return &cobra.Command{
		Use: kind + " NODE", Short: short, Args: exactArgs(1),
		RunE: func(c *cobra.Command, given []string) error {
			return a.inject(c, supervisor.Fault{Kind: kind, Node: given[0]})
		},
	}
}

func (a *app) partition() *cobra.Command {
	return &cobra.Command{
		Use: "partition NODE [OTHER]", Short: "Cut a machine off from another, or from everything, until heal",
		Args: args(cobra.RangeArgs(1, 2)),
		RunE: func(c *cobra.Command, given []string) error {
			f := supervisor.Fault{Kind: "partition", Node: given[0]}
			if len(given) == 2 {
				f.Other = given[1]
			}
			return a.inject(c, f)
		},
	}
}

func (a *app) slowDisk() *cobra.Command {
	f := supervisor.Fault{Kind: "slow-disk"}
	c := &cobra.Command{
		Use: "slow-disk NODE", Short: "Slow a machine's data volumes; without a limit, end that",
		Args: exactArgs(1),
		RunE: func(c *cobra.Command, given []string) error {
			f.Node = given[0]
			return a.inject(c, f)
		},
	}
	c.Flags().Int64Var(&f.BytesPerSecond, "bytes-per-second", 0, "bytes read, and bytes written, a second; 0 is no limit")
	c.Flags().Int64Var(&f.IOPS, "iops", 0, "reads, and writes, a second; 0 is no limit")
	return c
}

func (a *app) slowLink() *cobra.Command {
	f := supervisor.Fault{Kind: "slow-link"}
	c := &cobra.Command{
		Use: "slow-link NODE", Short: "Slow a machine's network link in both directions; without a limit, end that",
		Args: exactArgs(1),
		RunE: func(c *cobra.Command, given []string) error {
			f.Node = given[0]
			return a.inject(c, f)
		},
	}
	c.Flags().Uint64Var(&f.BitsPerSecond, "bits-per-second", 0, "0 is full speed")
	return c
}

func (a *app) apiFault() *cobra.Command {
	var f fakeaws.Fault
	var effect string
	var off bool
	c := &cobra.Command{
		Use:   "api",
		Short: "Make calls to the AWS API fail",
		Example: "  xeroops-lab fault api --action RunInstances --effect drop-after\n" +
			"  xeroops-lab fault api --rate 0.05 --times -1 --effect throttle\n  xeroops-lab fault api --off",
		Args: exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if off {
				return a.front(c.Context(), http.MethodDelete, "faults", nil)
			}
			f.Effect = fakeaws.Effect(effect)
			return a.front(c.Context(), http.MethodPost, "faults", f)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.Service, "service", "", "service of the calls: ec2, s3, iam, sts")
	flags.StringVar(&f.Action, "action", "", "action of the calls, such as RunInstances")
	flags.IntVar(&f.Call, "call", 0, "the n-th of all calls")
	flags.IntVar(&f.Mutation, "mutation", 0, "the n-th of the calls that change something")
	flags.IntVar(&f.Nth, "nth", 0, "the n-th of the calls that match")
	flags.Float64Var(&f.Rate, "rate", 0, "this share of the calls that match")
	flags.IntVar(&f.Times, "times", 0, "how often it strikes; 0 is once, -1 without end")
	flags.StringVar(&effect, "effect", string(fakeaws.ServerError), "error, throttle, 500, drop-before or drop-after")
	flags.StringVar(&f.Code, "code", "", "error code, with --effect error")
	flags.StringVar(&f.Message, "message", "", "error message, with --effect error")
	flags.BoolVar(&off, "off", false, "end all faults of the API")
	return c
}

func (a *app) apiLatency() *cobra.Command {
	return &cobra.Command{
		Use: "api-latency DURATION", Short: "Add latency to each call to the AWS API; 0s ends that", Args: exactArgs(1),
		RunE: func(c *cobra.Command, given []string) error {
			return a.front(c.Context(), http.MethodPut, "latency", map[string]string{"latency": given[0]})
		},
	}
}

// front talks to the AWS front's own control path.
func (a *app) front(ctx context.Context, method, what string, in any) error {
	state, err := a.client().State(ctx)
	if err != nil {
		return err
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	url := fmt.Sprintf("http://127.0.0.1:%d%s%s", state.Config.Port, fakeaws.ControlPath, what)
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= http.StatusMultipleChoices {
		why, _ := io.ReadAll(answer.Body) // the status says enough without
		return fmt.Errorf("the AWS front refused: %s", bytes.TrimSpace(why))
	}
	return nil
}

func (a *app) forward() *cobra.Command {
	var https, plain, vpn string
	c := &cobra.Command{
		Use:   "forward",
		Short: "Make the edge and the VPN gateway reachable on this host's loopback, until the lab ends",
		Args:  exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			for _, f := range []supervisor.Forward{
				{Network: "tcp", Listen: https, Role: cluster.RoleLoadBalancer, Port: 443},
				{Network: "tcp", Listen: plain, Role: cluster.RoleLoadBalancer, Port: 80},
				{Network: "udp", Listen: vpn, Role: cluster.RoleWireGuard, Port: 51820},
			} {
				if f.Listen == "" {
					continue
				}
				if err := a.client().Forward(c.Context(), f); err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "%s %s → %s port %d\n", f.Network, f.Listen, f.Role, f.Port)
			}
			return nil
		},
	}
	c.Flags().StringVar(&https, "https", "127.0.0.1:8443", "where to listen for the edge's port 443; empty is nowhere")
	c.Flags().StringVar(&plain, "http", "127.0.0.1:8080", "where to listen for the edge's port 80; empty is nowhere")
	c.Flags().StringVar(&vpn, "vpn", "127.0.0.1:51820", "where to listen for the gateway's UDP port 51820; empty is nowhere")
	return c
}
