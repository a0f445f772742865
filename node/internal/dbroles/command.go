package dbroles

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"
)

const (
	passwordsFile = "/run/xeroops/database.json" // 0600 postgres: boot renders it
	socket        = "host=/run/postgresql user=postgres dbname=postgres application_name=xeroops-node"
)

// Command is `xeroops-node database-roles`. Patroni runs it as postgres, with
// words of its own behind it: after a bootstrap, at a start and at a change of
// role; systemd runs it at a reload.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:   "database-roles [ANYTHING...]",
		Short: "On the primary: bring roles, passwords and the applications' database to what the credentials say",
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), 30*time.Second)
			defer cancel()
			content, err := os.ReadFile(passwordsFile)
			if err != nil {
				return err
			}
			var passwords map[string]string
			if err := json.Unmarshal(content, &passwords); err != nil {
				return fmt.Errorf("passwords in %s are not what boot writes; a password may not hold control characters", passwordsFile)
			}
			conn, err := pgx.Connect(ctx, socket)
			if err != nil {
				return fmt.Errorf("connect to PostgreSQL's socket: %w", err)
			}
			defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
			return Apply(ctx, conn, passwords)
		},
	}
}
