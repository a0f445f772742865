// Package dbroles creates the database roles of the applications and PgBouncer, the
// applications' database, and the passwords of all roles according to the credentials. It
// runs on the primary, after a promotion and when credentials change. It leaves alone what
// is up to date: a new secret for the same password would make PgBouncer's logins fail
// until clients reconnect.
package dbroles

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
)

// application is the name of the applications' role and database.
const application = "app"

// loginFunction is the function with which PgBouncer looks up the secret of a user who
// logs in. It returns none for superusers, so they cannot log in through PgBouncer.
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

// Apply creates or updates the roles, their passwords, which are given by role, and the
// database. On a replica it does nothing. conn must be a superuser's connection to the
// database postgres.
func Apply(ctx context.Context, conn *pgx.Conn, passwords map[string]string) error {
	var replica bool
	if err := conn.QueryRow(ctx, `SELECT pg_is_in_recovery()`).Scan(&replica); err != nil {
		return fmt.Errorf("determine whether this is the primary: %w", err)
	}
	if replica {
		return nil
	}
	d := database{conn}
	// After a failover the synchronous replica may be the node that died. Changes that are
	// lost with this node are made again by the next primary.
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

// createLoginFunction does nothing if the function exists, since any change writes WAL.
func (d database) createLoginFunction(ctx context.Context) error {
	found, err := d.exists(ctx, `SELECT FROM pg_proc WHERE pronamespace = to_regnamespace('pgbouncer') AND proname = 'login'`)
	if err == nil && !found {
		_, err = d.conn.Exec(ctx, loginFunction) // one transaction with the simple protocol
	}
	if err != nil {
		return fmt.Errorf("create the function pgbouncer.login: %w", err)
	}
	return nil
}

// setPassword ignores a role that does not exist (yet): Patroni creates its own roles,
// with the passwords of its configuration, after the cluster's first start.
func (d database) setPassword(ctx context.Context, role, password string) error {
	var secret string
	err := d.conn.QueryRow(ctx, `SELECT coalesce(rolpassword, '') FROM pg_authid WHERE rolname = $1`, role).Scan(&secret)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && matches(secret, password) {
		return nil
	}
	if err == nil {
		secret, err = newSecret(password)
	}
	if err == nil {
		_, err = d.conn.Exec(ctx, `ALTER ROLE `+quoteName(role)+` PASSWORD '`+secret+`'`) // has only base64, $ and :
	}
	if err != nil {
		return fmt.Errorf("set the password of role %s: %w", role, err)
	}
	return nil
}

func quoteName(name string) string { return pgx.Identifier{name}.Sanitize() }
