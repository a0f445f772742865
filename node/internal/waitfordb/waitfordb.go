// Package waitfordb waits until the database answers a query, for applications
// that can't start without it. It asks as an application does: user and database
// app, through HAProxy on management and PgBouncer to the primary.
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
	"github.com/xeroops/xeroops/node/internal/topology"
)

const (
	address          = "postgres://app@management:5432/app?sslmode=disable"
	passwordVariable = cluster.PostgresAppPassword
	// A failover takes under 30 s, and the first boot of a database a minute or two.
	defaultTimeout = 150 * time.Second
	tryTimeout     = 5 * time.Second
	pause          = time.Second
	sayEvery       = 10 * time.Second
)

// Command is `xeroops-node wait-for-db`, also installed as wait-for-db.sh.
func Command() *cobra.Command {
	var timeout time.Duration
	var url string
	c := &cobra.Command{
		Use:   "wait-for-db",
		Short: "Wait until the database answers a query",
		Long: "Asks the database behind management:5432 a real query, with " + passwordVariable + " from the environment, until it answers.\n" +
			"Succeeds at once in a cluster without database nodes.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := hclog.New(&hclog.LoggerOptions{Name: "wait-for-db", Output: os.Stdout, DisableTime: true}) // the journal has the time
			if t, err := topology.Read(); err == nil && len(topology.NodesOf(t, cluster.RoleDB)) == 0 && !cmd.Flags().Changed("url") {
				log.Info("this cluster has no database")
				return nil
			}
			w, err := newWaiter(url, os.Getenv(passwordVariable), log)
			if err != nil {
				return err
			}
			return w.wait(cmd.Context(), timeout)
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", defaultTimeout, "give up after this long")
	c.Flags().StringVar(&url, "url", address, "the database; the password comes from "+passwordVariable)
	return c
}

type waiter struct {
	config *pgconn.Config
	log    hclog.Logger
}

func newWaiter(url, password string, log hclog.Logger) (waiter, error) {
	config, err := pgconn.ParseConfig(url)
	if err != nil {
		return waiter{}, fmt.Errorf("wait for the database: %w", err)
	}
	if password != "" {
		config.Password = password
	}
	if config.Password == "" {
		return waiter{}, fmt.Errorf("wait for the database: %s is not set; applications get it from /run/xeroops/applications.env", passwordVariable)
	}
	return waiter{config, log}, nil
}

// wait returns nil after the first query that was answered, or with what the last
// try saw once the time is over.
func (w waiter) wait(ctx context.Context, timeout time.Duration) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	said := began.Add(-sayEvery)
	var last error
	for {
		err := w.ask(ctx)
		if err == nil {
			w.log.Info("the database answers", "host", w.config.Host, "ms", time.Since(began).Milliseconds())
			return nil
		}
		if ctx.Err() == nil || last == nil { // the try that the end of the time cut short saw nothing
			last = err
		}
		if time.Since(said) >= sayEvery {
			w.log.Warn("the database does not answer yet", "host", w.config.Host, "port", w.config.Port, "error", last)
			said = time.Now()
		}
		if !backoff.Sleep(ctx, pause) {
			return fmt.Errorf("the database at %s:%d did not answer for %s: %w", w.config.Host, w.config.Port,
				time.Since(began).Round(time.Second), last)
		}
	}
}

// ask makes a connection and a query of the simple protocol, which PgBouncer
// passes on in every mode.
func (w waiter) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	conn, err := pgconn.ConnectConfig(ctx, w.config)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "SELECT 1").ReadAll()
	return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
}
