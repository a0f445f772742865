// Command xeroops-node is the agent that runs on every node of a cluster: a static binary
// with a subcommand for each of its systemd units.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/spf13/cobra"

	"github.com/xeroops/xeroops/node/internal/boot"
	"github.com/xeroops/xeroops/node/internal/configure"
	"github.com/xeroops/xeroops/node/internal/dbready"
	"github.com/xeroops/xeroops/node/internal/dbroles"
	"github.com/xeroops/xeroops/node/internal/deployments"
	"github.com/xeroops/xeroops/node/internal/discovery"
	"github.com/xeroops/xeroops/node/internal/edgecert"
	"github.com/xeroops/xeroops/node/internal/etcdmember"
	"github.com/xeroops/xeroops/node/internal/routing"
	"github.com/xeroops/xeroops/node/internal/vpnpeers"
	"github.com/xeroops/xeroops/node/internal/waitfordb"
)

// version is set at link time.
var version = "dev"

func main() {
	redis.SetLogger(&logging.VoidLogger{}) // it repeats the returned errors
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newRoot().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "xeroops-node:", err)
		os.Exit(1)
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "xeroops-node",
		Short:         "XeroOps node agent, whose subcommands are run by systemd units",
		Version:       version,
		SilenceErrors: true, SilenceUsage: true,
	}
	root.AddCommand(
		boot.Command(),
		configure.Command(),
		dbready.Command(),
		dbroles.Command(),
		deployments.Command(),
		deployments.UnitsCommand(),
		discovery.Command(),
		discovery.HostsCommand(),
		edgecert.Command(),
		etcdmember.Command(),
		routing.Command(),
		vpnpeers.Command(),
		waitfordb.Command(),
	)
	return root
}
