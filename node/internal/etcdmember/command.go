package etcdmember

import (
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/xeroops/xeroops/node/internal/atomicfile"
	"github.com/xeroops/xeroops/node/internal/instance"
	"github.com/xeroops/xeroops/node/internal/journal"
	"github.com/xeroops/xeroops/node/internal/nodetls"
	"github.com/xeroops/xeroops/node/internal/topology"
)

const (
	settingsFile = "/run/xeroops/etcd.env"
	dataDir      = "/var/lib/etcd/default" // Debian's unit
	databases    = "/var/lib/postgresql/17/main/PG_VERSION"
)

// Command returns `xeroops-node etcd-member`, which runs before etcd.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:   "etcd-member",
		Short: "Decide whether the local etcd starts a cluster, joins one or is a gateway to it, and write " + settingsFile,
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			d, err := newDecision()
			if err != nil {
				return err
			}
			settings, err := d.Settings(c.Context())
			if err != nil {
				return err
			}
			_, err = atomicfile.Write(atomicfile.File{Path: settingsFile, Content: []byte(settings), Mode: 0o644, UID: -1, GID: -1})
			return err
		},
	}
}

func newDecision() (Decision, error) {
	i, err := instance.Load()
	if err != nil {
		return Decision{}, err
	}
	t, err := topology.Read()
	if err != nil {
		return Decision{}, err
	}
	d := Decision{
		Cluster: i.Cluster, Self: Node{i.Node, i.Address}, Nodes: nodesWithEtcd(t), DataDir: dataDir,
		TLS:         Files{Certificate: nodetls.EtcdCertificate, CA: nodetls.EtcdCA},
		PeerTimeout: 2 * time.Minute, RetryInterval: time.Second, Log: journal.NewLogger("etcd-member"),
	}
	if !slices.Contains(d.Nodes, d.Self) {
		return d, fmt.Errorf("node %s at %s is not among the management and database nodes of %s", i.Node, i.Address, topology.File)
	}
	_, err = os.Stat(databases)
	d.HasOlderData = err == nil
	return d, nil
}
