// Package waitfordb waits until the database answers a query, for applications that cannot
// start without it. It connects like an application: as user app to the database app,
// through HAProxy on the management node and PgBouncer to the primary.
package waitfordb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/node/internal/backoff"
	"github.com/xeroops/xeroops/node/internal/journal"
	"github.com/xeroops/xeroops/node/internal/topology"
)

const (
	address          = "postgres://app@management:5432/app?sslmode=disable"
	passwordVariable = cluster.PostgresAppPassword
	// defaultTimeout allows for a failover, which takes less than 30 s, and for the first
	// boot of a database, which takes a minute or two.
	defaultTimeout = 150 * time.Second
	attemptTimeout = 5 * time.Second
	retryInterval  = time.Second
	logInterval    = 10 * time.Second
)

// Command returns `xeroops-node wait-for-db`, which is also installed as wait-for-db.sh.
func Command() *cobra.Command {
	var timeout time.Duration
	var url string
	c := &cobra.Command{
		Use:   "wait-for-db",
		Short: "Wait until the database answers a query",
		Long: "Repeats a query to the database at management:5432 until it is answered. The password comes from the\n" +
			"environment variable " + passwordVariable + ". In a cluster without database nodes the command succeeds at once.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := journal.NewLogger("wait-for-db")
			if t, err := topology.Read(); err == nil && len(topology.NodesOf(t, cluster.RoleDB)) == 0 && !cmd.Flags().Changed("url") {
				log.Info("cluster has no database nodes")
				return nil
			}
			w, err := newWaiter(url, os.Getenv(passwordVariable), log)
			if err != nil {
				return err
			}
			return w.wait(cmd.Context(), timeout)
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", defaultTimeout, "maximum time to wait")
	c.Flags().StringVar(&url, "url", address, "database URL, without the password")
	return c
}

type waiter struct {
	config *pgconn.Config
	log    hclog.Logger
}

func newWaiter(url, password string, log hclog.Logger) (waiter, error) {
	config, err := pgconn.ParseConfig(url)
	if err != nil {
		return waiter{}, fmt.Errorf("parse the database URL: %w", err)
	}
	if password != "" {
		config.Password = password
	}
	if config.Password == "" {
		return waiter{}, fmt.Errorf("%s is not set; applications get it from /run/xeroops/applications.env", passwordVariable)
	}
	return waiter{config, log}, nil
}

// wait returns nil after the first answered query, or the error of the last complete
// attempt after the timeout.
func (w waiter) wait(ctx context.Context, timeout time.Duration) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	loggedAt := began.Add(-logInterval)
	var last error
	for {
		err := w.query(ctx)
		if err == nil {
			w.log.Info("database available", "host", w.config.Host, "elapsed", time.Since(began).Round(time.Millisecond).String())
			return nil
		}
		if ctx.Err() == nil || last == nil { // the timeout may have interrupted this attempt
			last = err
		}
		if time.Since(loggedAt) >= logInterval {
			w.log.Warn("database unavailable, retrying", "host", w.config.Host, "port", w.config.Port, "error", last)
			loggedAt = time.Now()
		}
		if !backoff.Sleep(ctx, retryInterval) {
			return fmt.Errorf("wait for the database at %s:%d: no answer within %s: %w", w.config.Host, w.config.Port,
				time.Since(began).Round(time.Second), last)
		}
	}
}

// query connects and sends a query with the simple protocol, which PgBouncer supports in
// every pool mode.
func (w waiter) query(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	conn, err := pgconn.ConnectConfig(ctx, w.config)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "SELECT 1").ReadAll()
	return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
}
