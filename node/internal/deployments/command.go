// Package deployments brings the applications of an app node to their desired
// versions (docs/design.md#registry): it fetches a release's wheels, checks every sum, makes
// an environment, tries it beside the version that serves, and lets it take over
// the application's socket, which systemd holds, so that no request fails. Whatever
// goes wrong, the version before serves on.
package deployments

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/node/internal/backoff"
	"github.com/xeroops/xeroops/node/internal/instance"
)

// Command is `xeroops-node deployments`.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:   "deployments",
		Short: "Bring this node's applications to their desired versions",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := hclog.New(&hclog.LoggerOptions{Name: "deployments", Output: os.Stdout, DisableTime: true}) // the journal has the time
			return serve(cmd.Context(), log)
		},
	}
}

// UnitsCommand is `xeroops-node application-units`, systemd's generator of the
// applications' units.
func UnitsCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "application-units FOLDER",
		Short:  "Write the units of this node's applications, for systemd",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE:   func(_ *cobra.Command, args []string) error { return writeUnits(Root, args[0]) },
	}
}

// statusFile is what [instance.RegisteredFile] links to: the daemon's user may not
// write beside the node's secrets.
const statusFile = "/run/xeroops/deployments/applications.json"

func serve(ctx context.Context, log hclog.Logger) error {
	self, err := instance.Load()
	if err != nil {
		return err
	}
	password, err := instance.RegistryPassword()
	if err != nil {
		return err
	}
	conn, err := dbus.NewSystemConnectionContext(ctx)
	if err != nil {
		return fmt.Errorf("connect to systemd: %w", err)
	}
	defer conn.Close()
	ctx, end := whileConnected(ctx, conn)
	defer end()
	images := python{commandOnNode}
	offered, err := images.offers(ctx)
	if err != nil {
		return err
	}
	redis := registry.Open(net.JoinHostPort("management", registry.Port), registry.UserNode, password)
	defer func() { _ = redis.Close() }()
	s := store{Root}
	units := systemd{conn}
	d := &daemon{
		deployer: deployer{store: s, fetch: fetcher{self.S3(), self.UploadsBucket, s}, python: images, supervisor: units, offered: offered, host: "127.0.0.1", log: log},
		node:     self.Node,
		registry: redis,
		status:   status{path: statusFile, store: s, supervisor: units, log: log, mu: new(sync.Mutex)},
		workers:  map[string]chan struct{}{},
	}
	log.Info("watching for deployments", "node", self.Node, "python", offered.Version)
	err = d.run(ctx)
	if errors.Is(context.Cause(ctx), errDisconnected) {
		err = errDisconnected
	}
	return err
}

// errDisconnected ends the daemon; systemd then starts it anew.
var errDisconnected = errors.New("the connection to systemd is lost")

// whileConnected returns a context that ends with errDisconnected when the
// connection does. It does not come back by itself, and who waits for the end of a
// job would not hear of it.
func whileConnected(ctx context.Context, conn *dbus.Conn) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		for conn.Connected() {
			if !backoff.Sleep(ctx, time.Second) {
				return
			}
		}
		cancel(errDisconnected)
	}()
	return ctx, func() { cancel(nil) }
}

// parseMessage reads a message of [registry.DeploymentChannel].
func parseMessage(payload string) (registry.Deployment, bool) {
	var m registry.Deployment
	return m, json.Unmarshal([]byte(payload), &m) == nil
}
