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
		Short: "Inject a fault, or end one",
		Args:  exactArgs(0),
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(
		a.nodeFault("power-cut", "Drop a machine's link and kill it; its instance becomes stopped"),
		a.nodeFault("power-on", "Start a machine that is off"),
		a.nodeFault("freeze", "Suspend a machine, its network included, until thaw"),
		a.nodeFault("thaw", "Resume a frozen machine"),
		a.partition(), a.slowLink(), a.slowDisk(),
		a.nodeFault("stall-disk", "Block all I/O on a machine's data volumes until heal"),
		&cobra.Command{
			Use: "heal", Short: "End all partitions, slow links and slow or stalled disks", Args: exactArgs(0),
			RunE: func(c *cobra.Command, _ []string) error { return a.inject(c, supervisor.Fault{Kind: "heal"}) },
		},
		a.apiFault(), a.apiLatency(),
	)
	return c
}

func (a *app) inject(c *cobra.Command, f supervisor.Fault) error {
	return a.client().Inject(c.Context(), f)
}

func (a *app) nodeFault(kind, short string) *cobra.Command {
	return &cobra.Command{
		Use: kind + " NODE", Short: short, Args: exactArgs(1),
		RunE: func(c *cobra.Command, arguments []string) error {
			return a.inject(c, supervisor.Fault{Kind: kind, Node: arguments[0]})
		},
	}
}

func (a *app) partition() *cobra.Command {
	return &cobra.Command{
		Use:   "partition NODE [OTHER…]",
		Short: "Drop all packets between a machine and others until heal",
		Long: `Drop all packets between a machine and others until heal, on established connections
too. Each OTHER is a node, an instance id, a subnet id or a CIDR block. Without
any, the machine is cut off from everything.`,
		Example: "  xeroops-lab fault partition db1\n  xeroops-lab fault partition db1 db2 management\n" +
			"  xeroops-lab fault partition edge 10.0.2.0/24",
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, arguments []string) error {
			return a.inject(c, supervisor.Fault{Kind: "partition", Node: arguments[0], Others: arguments[1:]})
		},
	}
}

func (a *app) slowDisk() *cobra.Command {
	f := supervisor.Fault{Kind: "slow-disk"}
	c := &cobra.Command{
		Use: "slow-disk NODE", Short: "Limit I/O on a machine's data volumes; without a limit, lift it",
		Args: exactArgs(1),
		RunE: func(c *cobra.Command, arguments []string) error {
			f.Node = arguments[0]
			return a.inject(c, f)
		},
	}
	c.Flags().Int64Var(&f.BytesPerSecond, "bytes-per-second", 0, "limit for reads, and separately for writes; 0 is no limit")
	c.Flags().Int64Var(&f.IOPS, "iops", 0, "reads per second, and separately writes per second; 0 is no limit")
	return c
}

func (a *app) slowLink() *cobra.Command {
	f := supervisor.Fault{Kind: "slow-link"}
	c := &cobra.Command{
		Use: "slow-link NODE", Short: "Limit a machine's network link in both directions; without a limit, lift it",
		Args: exactArgs(1),
		RunE: func(c *cobra.Command, arguments []string) error {
			f.Node = arguments[0]
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
		Short: "Make AWS API calls fail",
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
	flags.StringVar(&f.Service, "service", "", "match calls to this service: ec2, s3, iam or sts")
	flags.StringVar(&f.Action, "action", "", "match this action, such as RunInstances")
	flags.IntVar(&f.Call, "call", 0, "match the n-th of all calls")
	flags.IntVar(&f.Mutation, "mutation", 0, "match the n-th mutating call")
	flags.IntVar(&f.Nth, "nth", 0, "fail the n-th matching call")
	flags.Float64Var(&f.Rate, "rate", 0, "fail this fraction of the matching calls, such as 0.05")
	flags.IntVar(&f.Times, "times", 0, "number of calls that fail; 0 is one, -1 is unlimited")
	flags.StringVar(&effect, "effect", string(fakeaws.ServerError), "error, throttle, 500, drop-before or drop-after (the call takes effect, its response is lost)")
	flags.StringVar(&f.Code, "code", "", "error code for --effect error")
	flags.StringVar(&f.Message, "message", "", "error message for --effect error")
	flags.BoolVar(&off, "off", false, "end all API faults")
	return c
}

func (a *app) apiLatency() *cobra.Command {
	return &cobra.Command{
		Use: "api-latency DURATION", Short: "Delay every AWS API call; 0s ends the delay", Args: exactArgs(1),
		RunE: func(c *cobra.Command, arguments []string) error {
			return a.front(c.Context(), http.MethodPut, "latency", map[string]string{"latency": arguments[0]})
		},
	}
}

// front sends a request to the control API of the lab's AWS front.
func (a *app) front(ctx context.Context, method, resource string, in any) error {
	state, err := a.client().State(ctx)
	if err != nil {
		return err
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	url := fmt.Sprintf("http://127.0.0.1:%d%s%s", state.Config.Port, fakeaws.ControlPath, resource)
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
		message, _ := io.ReadAll(answer.Body) // without it, the status is still reported
		return fmt.Errorf("set API %s: %s: %s", resource, answer.Status, bytes.TrimSpace(message))
	}
	return nil
}

func (a *app) forward() *cobra.Command {
	forwards := []struct {
		flag, listen, usage string
		supervisor.Forward
	}{
		{"https", "127.0.0.1:8443", "address to listen on for the edge's port 443; empty for none",
			supervisor.Forward{Network: "tcp", Role: cluster.RoleLoadBalancer, Port: 443}},
		{"http", "127.0.0.1:8080", "address to listen on for the edge's port 80; empty for none",
			supervisor.Forward{Network: "tcp", Role: cluster.RoleLoadBalancer, Port: 80}},
		{"vpn", "127.0.0.1:51820", "address to listen on for the VPN gateway's UDP port 51820; empty for none",
			supervisor.Forward{Network: "udp", Role: cluster.RoleWireGuard, Port: 51820}},
	}
	c := &cobra.Command{
		Use:   "forward",
		Short: "Forward loopback ports to the edge and the VPN gateway until the lab ends",
		Long: `Forward loopback ports to the edge and the VPN gateway until the lab ends, and print
the addresses. If a default port is taken, a free one is used instead. A port that
this lab forwards already keeps its address.`,
		Args: exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			for n := range forwards {
				f := &forwards[n]
				if f.Listen == "" {
					continue
				}
				f.AnyPort = !c.Flags().Changed(f.flag)
				address, err := a.client().Forward(c.Context(), f.Forward)
				if err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "%s %s → %s port %d\n", f.Network, address, f.Role, f.Port)
			}
			return nil
		},
	}
	for n := range forwards {
		f := &forwards[n]
		c.Flags().StringVar(&f.Listen, f.flag, f.listen, f.usage)
	}
	return c
}
