package boot

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/xeroops/xeroops/node/internal/backoff"
	"github.com/xeroops/xeroops/node/internal/instance"
	"github.com/xeroops/xeroops/node/internal/journal"
)

// Command returns `xeroops-node boot`.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:   "boot",
		Short: "Configure this node, start its services, and report its state until stopped",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			log := journal.NewLogger("boot")
			i, err := awaitInstance(c.Context(), log)
			if err != nil || c.Context().Err() != nil {
				return err
			}
			metadata := instance.Metadata()
			b := &Boot{Instance: i, Metadata: metadata, S3: i.S3By(metadata), Files: DefaultFiles(), Log: log}
			return b.Run(c.Context())
		},
	}
}

// awaitInstance waits until cloud-init has written instance.env. A file that cannot be
// parsed is an error at once, since waiting does not help.
func awaitInstance(ctx context.Context, log hclog.Logger) (instance.Instance, error) {
	pause := backoff.New(200*time.Millisecond, 5*time.Second)
	var missing journal.Problem
	for {
		i, err := instance.Load()
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return i, err
		}
		missing.Set(log, "waiting for cloud-init", err)
		if !backoff.Sleep(ctx, pause.Next()) {
			return i, nil
		}
	}
}
