// Package deployments implements `xeroops-node deployments`, which deploys the desired
// versions of applications on an app node (docs/design.md#registry). For each release it
// downloads and verifies the wheels, creates a virtual environment, runs a trial beside
// the current version, and switches versions on a socket that systemd holds, so that no
// request fails. If any step fails, the current version keeps serving.
package deployments

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/node/internal/backoff"
	"github.com/xeroops/xeroops/node/internal/instance"
	"github.com/xeroops/xeroops/node/internal/journal"
	"github.com/xeroops/xeroops/node/internal/systemd"
)

// Command returns `xeroops-node deployments`.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:   "deployments",
		Short: "Deploy the desired versions of applications on this node",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), journal.NewLogger("deployments"))
		},
	}
}

// UnitsCommand returns `xeroops-node application-units`, the systemd generator of the
// applications' units.
func UnitsCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "application-units DIR",
		Short:  "Generate the systemd units of this node's applications in DIR",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE:   func(_ *cobra.Command, args []string) error { return writeUnits(Root, args[0]) },
	}
}

// statusFile is the target of the link [instance.RegisteredFile]: the daemon's user may
// not write to the directory of the node's secrets.
const statusFile = "/run/xeroops/deployments/applications.json"

func serve(ctx context.Context, log hclog.Logger) error {
	node, err := instance.Load()
	if err != nil {
		return err
	}
	password, err := instance.RegistryPassword()
	if err != nil {
		return err
	}
	conn, err := systemd.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := whileConnected(ctx, conn)
	defer cancel()
	python := python{commandOnNode}
	image, err := python.describe(ctx)
	if err != nil {
		return err
	}
	redis := registry.Open(net.JoinHostPort("management", registry.Port), registry.UserNode, password)
	defer func() { _ = redis.Close() }()
	s := store{Root}
	units := units{conn}
	d := &daemon{
		deployer: deployer{store: s, fetch: fetcher{node.S3(), node.UploadsBucket, s}, python: python, supervisor: units, image: image, host: "127.0.0.1", log: log},
		node:     node.Node,
		registry: redis,
		status:   status{path: statusFile, store: s, supervisor: units, log: log, mu: new(sync.Mutex)},
		workers:  map[string]chan struct{}{},
	}
	log.Info("started", "node", node.Node, "python", image.Version)
	err = d.run(ctx)
	if errors.Is(context.Cause(ctx), errDisconnected) {
		err = errDisconnected
	}
	return err
}

// errDisconnected ends the daemon, which systemd then restarts.
var errDisconnected = errors.New("connection to systemd lost")

// connectionPollInterval is how often the connection to systemd is checked.
const connectionPollInterval = time.Second

// whileConnected returns a context that ends with errDisconnected when the connection to
// systemd is lost. It is not restored, and waits for jobs would never end.
func whileConnected(ctx context.Context, conn interface{ Connected() bool }) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		for conn.Connected() {
			if !backoff.Sleep(ctx, connectionPollInterval) {
				return
			}
		}
		cancel(errDisconnected)
	}()
	return ctx, func() { cancel(nil) }
}

// parseMessage parses a message of [registry.DeploymentChannel].
func parseMessage(payload string) (registry.Deployment, bool) {
	var m registry.Deployment
	return m, json.Unmarshal([]byte(payload), &m) == nil
}
