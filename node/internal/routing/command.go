package routing

import (
	"context"
	"net"
	"os/exec"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/node/internal/instance"
	"github.com/xeroops/xeroops/node/internal/journal"
	"github.com/xeroops/xeroops/node/internal/nodetls"
	"github.com/xeroops/xeroops/node/internal/topology"
)

// nodeSettings are the settings of a management node. HAProxy's drop-in names the
// master's socket, too; the state file is in the unit's RuntimeDirectory.
var nodeSettings = Settings{
	Config:      "/etc/haproxy/haproxy.cfg",
	StatsSocket: "/run/haproxy/admin.sock", MasterSocket: "/run/haproxy-master.sock", Group: "xeroops-routing",
	StateFile: "/run/xeroops-routing/servers", CA: nodetls.CA,
	Applications: ":5001", Primary: ":5432", Replica: ":5433",
}

const entriesFile = "/var/lib/xeroops-routing/entries.json"

// Command returns `xeroops-node routing`.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:   "routing",
		Short: "Configure HAProxy from the registry and the topology (management nodes)",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			log := journal.NewLogger("routing")
			password, err := instance.RegistryPassword()
			if err != nil {
				return err
			}
			redis := registry.Open(net.JoinHostPort("127.0.0.1", registry.Port), registry.UserNode, password)
			defer func() { _ = redis.Close() }()
			r := &Routing{Redis: redis, Topology: topology.Default(), EntriesFile: entriesFile, Log: log,
				Balancer: &balancer{Settings: nodeSettings, haproxy: haproxy, log: log, oldWorkers: true}}
			return r.Run(c.Context(), func() { _, _ = daemon.SdNotify(false, daemon.SdNotifyReady) })
		},
	}
}

func haproxy(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "/usr/sbin/haproxy", args...)
}
