// Package dbroles brings the database's own roles to what the credentials say:
// the applications' role and database, PgBouncer's, and the passwords of all. It
// runs on whichever node is the primary, when it becomes that and when
// credentials have changed, and changes nothing that is right: a new secret for
// the same password would fail PgBouncer's logins until clients come again.
package dbroles

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
)

// application is the name of the role and of its database.
const application = "app"

// loginFunction lets PgBouncer see the secret of whom it is asked to let in, and
// of nobody else; no superuser comes in through it.
const loginFunction = `
CREATE SCHEMA IF NOT EXISTS pgbouncer;
REVOKE ALL ON SCHEMA pgbouncer FROM PUBLIC;
GRANT USAGE ON SCHEMA pgbouncer TO pgbouncer;
CREATE OR REPLACE FUNCTION pgbouncer.login(who text) RETURNS TABLE (name name, secret text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
	SELECT rolname, rolpassword FROM pg_authid
	WHERE rolname = who AND rolcanlogin AND NOT rolsuper AND NOT rolreplication
	AND (rolvaliduntil IS NULL OR rolvaliduntil > now())
$$;
REVOKE ALL ON FUNCTION pgbouncer.login FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgbouncer.login TO pgbouncer`

// Apply does nothing on a replica. conn is a superuser's, to the database
// postgres; passwords are by role.
func Apply(ctx context.Context, conn *pgx.Conn, passwords map[string]string) error {
	var replica bool
	if err := conn.QueryRow(ctx, `SELECT pg_is_in_recovery()`).Scan(&replica); err != nil {
		return fmt.Errorf("ask whether this is the primary: %w", err)
	}
	if replica {
		return nil
	}
	d := database{conn}
	// After a failover the replica to wait for may be the one that died; what is
	// lost with this node comes again with the next primary.
	if _, err := conn.Exec(ctx, `SET synchronous_commit = local`); err != nil {
		return err
	}
	err := errors.Join(
		d.createRole(ctx, application),
		d.createRole(ctx, "pgbouncer"),
		d.createDatabase(ctx, application),
		d.createLoginFunction(ctx),
	)
	for _, role := range slices.Sorted(maps.Keys(passwords)) {
		err = errors.Join(err, d.setPassword(ctx, role, passwords[role]))
	}
	return err
}

type database struct{ conn *pgx.Conn }

func (d database) exists(ctx context.Context, query string, args ...any) (bool, error) {
	var found bool
	err := d.conn.QueryRow(ctx, `SELECT EXISTS (`+query+`)`, args...).Scan(&found)
	return found, err
}

func (d database) createRole(ctx context.Context, role string) error {
	found, err := d.exists(ctx, `SELECT FROM pg_roles WHERE rolname = $1`, role)
	if err == nil && !found {
		_, err = d.conn.Exec(ctx, `CREATE ROLE `+quoteName(role)+` LOGIN`)
	}
	if err != nil {
		return fmt.Errorf("create role %s: %w", role, err)
	}
	return nil
}

func (d database) createDatabase(ctx context.Context, name string) error {
	found, err := d.exists(ctx, `SELECT FROM pg_database WHERE datname = $1`, name)
	if err == nil && !found {
		_, err = d.conn.Exec(ctx, `CREATE DATABASE `+quoteName(name)+` OWNER `+quoteName(name))
	}
	if err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	return nil
}

// createLoginFunction changes nothing if it is there: each change writes WAL.
func (d database) createLoginFunction(ctx context.Context) error {
	found, err := d.exists(ctx, `SELECT FROM pg_proc WHERE pronamespace = to_regnamespace('pgbouncer') AND proname = 'login'`)
	if err == nil && !found {
		_, err = d.conn.Exec(ctx, loginFunction) // one transaction: the simple protocol's
	}
	if err != nil {
		return fmt.Errorf("create PgBouncer's function: %w", err)
	}
	return nil
}

// setPassword leaves out a role that is not there (yet): Patroni makes its own
// after the cluster's first start, with the passwords of its configuration.
func (d database) setPassword(ctx context.Context, role, password string) error {
	var secret string
	err := d.conn.QueryRow(ctx, `SELECT coalesce(rolpassword, '') FROM pg_authid WHERE rolname = $1`, role).Scan(&secret)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && isOf(secret, password) {
		return nil
	}
	if err == nil {
		secret, err = secretOf(password)
	}
	if err == nil {
		_, err = d.conn.Exec(ctx, `ALTER ROLE `+quoteName(role)+` PASSWORD '`+secret+`'`) // base64, $ and :
	}
	if err != nil {
		return fmt.Errorf("set the password of role %s: %w", role, err)
	}
	return nil
}

func quoteName(name string) string { return pgx.Identifier{name}.Sanitize() }
