package boot

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/xeroops/xeroops/node/internal/backoff"
	"github.com/xeroops/xeroops/node/internal/instance"
)

// Command is `xeroops-node boot`.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:   "boot",
		Short: "Make a working node of this machine, report how that goes, and watch it",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			log := hclog.New(&hclog.LoggerOptions{Name: "boot", Level: hclog.Info, Output: os.Stderr, DisableTime: true})
			i, err := whoAmI(c.Context(), log)
			if err != nil || c.Context().Err() != nil {
				return err
			}
			metadata := instance.Metadata()
			b := &Boot{Instance: i, Metadata: metadata, S3: i.S3By(metadata), Files: DefaultFiles(), Log: log}
			return b.Run(c.Context())
		},
	}
}

// whoAmI waits for cloud-init to write instance.env. One that can't be
// understood is an error at once: nothing here can mend it.
func whoAmI(ctx context.Context, log hclog.Logger) (instance.Instance, error) {
	pause := backoff.New(200*time.Millisecond, 5*time.Second)
	for {
		i, err := instance.Load()
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return i, err
		}
		log.Warn("not yet", "error", err)
		if !backoff.Sleep(ctx, pause.Next()) {
			return i, nil
		}
	}
}
