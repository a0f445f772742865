package discovery

import (
	"context"
	"net"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/node/internal/backoff"
	"github.com/xeroops/xeroops/node/internal/instance"
	"github.com/xeroops/xeroops/node/internal/topology"
)

// Command is `xeroops-node discovery`.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:   "discovery",
		Short: "Keep this node's entry in the registry, and its copy of the topology",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return run(c.Context(), c.Root().Version)
		},
	}
}

// HostsCommand is `xeroops-node hosts`.
func HostsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "hosts",
		Short: "Put the topology that discovery fetched in place, and into /etc/hosts",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			i, err := instance.Load()
			if err != nil {
				return err
			}
			changed, err := putInPlace(Fetched, topology.Default(), i.Cluster)
			if changed {
				newLog("hosts").Info("names of the cluster's nodes changed", "file", topology.HostsFile)
			}
			return err
		},
	}
}

func newLog(name string) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Name: name, Level: hclog.Info, Output: os.Stderr, DisableTime: true})
}

func run(ctx context.Context, version string) error {
	log := newLog("discovery")
	password, err := instance.RegistryPassword()
	if err != nil {
		return err
	}
	i, err := instance.Load()
	if err != nil {
		return err
	}
	open := func(address string) *redis.Client { return registry.Open(address, registry.UserNode, password) }
	m := newMachine(i, instanceID(ctx, i, log), version, log)
	defer m.disconnect()
	d := &Discovery{Node: m, Open: open, Topology: topology.Default(), Log: log}
	defer d.Close()

	f := &fetcher{Source: &topology.Source{S3: i.S3(), Bucket: i.UploadsBucket, Key: i.Layout().Topology()}, Copy: topology.Default(), File: Fetched, Log: log}
	early := make(chan struct{}, 1)
	go f.run(ctx, early)
	go f.listen(ctx, open, early)

	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
	d.Run(ctx)
	leave(context.WithoutCancel(ctx), m, d)
	return nil
}

// routed is how long routing may take to send a node that leaves nothing more;
// until then what it runs is kept waiting with its end.
const routed = time.Second

// leave lets a machine that shuts down go without a failed request.
func leave(ctx context.Context, m *machine, d *Discovery) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if !m.isStopping(ctx) {
		return
	}
	d.Drain(ctx)
	if m.instance.Role == cluster.RoleApp {
		backoff.Sleep(ctx, routed)
	}
}

// instanceID asks the metadata service for a while; an entry without it is
// better than none.
func instanceID(ctx context.Context, i instance.Instance, log hclog.Logger) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	is, err := i.Identify(ctx, instance.Metadata())
	if err != nil {
		log.Warn("the entry will name no instance", "error", err)
	}
	return is.InstanceID
}

// registryOf is where the registry of a cluster is, host:port; "" if it has none.
func registryOf(t cluster.Topology) string {
	if management := topology.Management(t); management != "" {
		return net.JoinHostPort(management, registry.Port)
	}
	return ""
}
