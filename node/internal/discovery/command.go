package discovery

import (
	"context"
	"net"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/node/internal/backoff"
	"github.com/xeroops/xeroops/node/internal/instance"
	"github.com/xeroops/xeroops/node/internal/journal"
	"github.com/xeroops/xeroops/node/internal/topology"
)

// Command returns `xeroops-node discovery`.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:   "discovery",
		Short: "Publish this node's state in the registry and fetch the topology",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return run(c.Context(), c.Root().Version)
		},
	}
}

// HostsCommand returns `xeroops-node hosts`.
func HostsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "hosts",
		Short: "Install the topology that discovery fetched, and write /etc/hosts",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			i, err := instance.Load()
			if err != nil {
				return err
			}
			changed, err := install(Fetched, topology.Default(), i.Cluster)
			if changed {
				journal.NewLogger("hosts").Info("topology installed", "hosts_file", topology.HostsFile)
			}
			return err
		},
	}
}

func run(ctx context.Context, version string) error {
	log := journal.NewLogger("discovery")
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
	drain(context.WithoutCancel(ctx), m, d)
	return nil
}

const (
	// drainPeriod is how long routing has to stop sending requests to a node that shuts
	// down; its applications keep running until then.
	drainPeriod  = time.Second
	drainTimeout = 5 * time.Second
)

// drain drains a machine that is shutting down, so that no request fails.
func drain(ctx context.Context, m *machine, d *Discovery) {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	if !m.isStopping(ctx) {
		return
	}
	d.Drain(ctx)
	if m.instance.Role == cluster.RoleApp {
		backoff.Sleep(ctx, drainPeriod)
	}
}

const identityTimeout = 10 * time.Second

// instanceID returns the instance id from the metadata service, or "" if that does not
// answer within [identityTimeout]: an entry without it is better than none.
func instanceID(ctx context.Context, i instance.Instance, log hclog.Logger) string {
	ctx, cancel := context.WithTimeout(ctx, identityTimeout)
	defer cancel()
	identity, err := i.Identify(ctx, instance.Metadata())
	if err != nil {
		log.Warn("instance id unknown", "error", err)
	}
	return identity.InstanceID
}

// registryOf returns the registry's address, host:port, or "" if the cluster has none.
func registryOf(t cluster.Topology) string {
	if management := topology.Management(t); management != "" {
		return net.JoinHostPort(management, registry.Port)
	}
	return ""
}
