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
	passwordsFile = "/run/xeroops/database.json" // written by boot for the user postgres
	socket        = "host=/run/postgresql user=postgres dbname=postgres application_name=xeroops-node"
)

// Command returns `xeroops-node database-roles`. Patroni runs it as the user postgres, and
// adds arguments, after a bootstrap, at a start and at a change of role; systemd runs it
// at a reload.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:   "database-roles [PATRONI-ARGUMENT...]",
		Short: "Create roles, passwords and the applications' database according to the credentials (primary only)",
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), 30*time.Second)
			defer cancel()
			content, err := os.ReadFile(passwordsFile)
			if err != nil {
				return err
			}
			var passwords map[string]string
			if err := json.Unmarshal(content, &passwords); err != nil {
				return fmt.Errorf("parse %s: invalid JSON; a password must not contain control characters", passwordsFile)
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
