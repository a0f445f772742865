//go:build linux

package appsecret

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/redis/go-redis/v9"

	"github.com/xeroops/xeroops/internal/testkit/debiantree"
)

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// eventually retries until a server that was just started answers.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

func start(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := debiantree.Command(t, name, args...)
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// TestBothGenerationsWorkInPostgreSQL is a rotation as a db node is to do it.
func TestBothGenerationsWorkInPostgreSQL(t *testing.T) {
	debiantree.Path(t)
	port := freePort(t)
	// Its data is in the memory of the tree's mount, and gone with it.
	start(t, "sh", "-c", fmt.Sprintf(`mkdir /pg && chown postgres /pg && cd / && exec setpriv --reuid=postgres --regid=postgres --clear-groups --pdeathsig=KILL sh -c '
		printf superuser >/pg/password && b=/usr/lib/postgresql/17/bin &&
		$b/initdb -D /pg/data --username=admin --pwfile=/pg/password --auth=scram-sha-256 --no-sync >/dev/null &&
		exec $b/postgres -D /pg/data -p %d -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off'`, port))
	connect := func(user, password, database string) (*pgx.Conn, error) {
		return pgx.Connect(t.Context(), fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/%s?sslmode=disable", user, password, port, database))
	}
	run := func(c *pgx.Conn, statements ...string) error {
		for _, s := range statements {
			if _, err := c.Exec(t.Context(), s); err != nil {
				return fmt.Errorf("%s: %w", s, err)
			}
		}
		return nil
	}
	var admin *pgx.Conn
	eventually(t, "PostgreSQL", func() (err error) { admin, err = connect("admin", "superuser", "postgres"); return err })
	defer admin.Close(t.Context())
	generations := []Key{key(t, Postgres, testKey, 1), key(t, Postgres, strings.Repeat("e", 64), 2)}
	for _, application := range []string{"notes", "notes-1"} {
		owner := Database(application)
		statements := []string{"CREATE ROLE " + owner, "CREATE DATABASE " + owner + " OWNER " + owner, "REVOKE ALL ON DATABASE " + owner + " FROM PUBLIC"}
		for _, k := range generations {
			login := LoginRole(application, k.Generation())
			statements = append(statements, fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s' IN ROLE %s", login, password(t, k, application), owner),
				fmt.Sprintf("ALTER ROLE %s SET role = %s", login, owner))
		}
		if err := run(admin, statements...); err != nil {
			t.Fatal(err)
		}
	}
	as := func(application string, k Key, database string) (*pgx.Conn, error) {
		c, err := connect(LoginRole(application, k.Generation()), password(t, k, application), database)
		if err == nil {
			t.Cleanup(func() { _ = c.Close(t.Context()) })
		}
		return c, err
	}
	// What one generation makes is the other's as well.
	old, err := as("notes", generations[0], Database("notes"))
	if err != nil {
		t.Fatal(err)
	}
	if err := run(old, "CREATE TABLE public.note (id int)"); err != nil {
		t.Fatal(err)
	}
	renewed, err := as("notes", generations[1], Database("notes"))
	if err != nil {
		t.Fatal(err)
	}
	if err := run(renewed, "INSERT INTO note VALUES (1)", "ALTER TABLE note ADD more text"); err != nil {
		t.Error(err)
	}
	// The old generation ends, and what it made stays.
	if err := run(admin, "DROP ROLE "+LoginRole("notes", 1)); err != nil {
		t.Error(err)
	}
	if _, err := as("notes", generations[0], Database("notes")); err == nil {
		t.Error("the old generation still logs in")
	}
	if err := run(renewed, "SELECT more FROM note"); err != nil {
		t.Error(err)
	}
	// One application does not reach another's database.
	_, err = as("notes-1", generations[1], Database("notes"))
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != "42501" { // insufficient_privilege
		t.Errorf("another application: %v", err)
	}
}

func TestBothGenerationsWorkInRedis(t *testing.T) {
	debiantree.Path(t)
	port := freePort(t)
	old, renewed := key(t, Redis, testKey, 1), key(t, Redis, strings.Repeat("e", 64), 2)
	config := fmt.Sprintf("port %d\nbind 127.0.0.1\nsave \"\"\nuser default off\n", port)
	for _, application := range []string{"notes", "notes-1"} {
		config += "user " + RedisUser(application) + " on >" + password(t, old, application) + " >" + password(t, renewed, application) +
			" ~" + RedisPrefix(application) + "* &" + RedisPrefix(application) + "* +@all -@dangerous\n"
	}
	path := filepath.Join(t.TempDir(), "redis.conf")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, "redis-server", path)
	as := func(application string, k Key) *redis.Client {
		c := redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", port), Username: RedisUser(application), Password: password(t, k, application)})
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	eventually(t, "Redis", func() error { return as("notes", old).Ping(t.Context()).Err() })
	for _, k := range []Key{old, renewed} {
		if err := as("notes", k).Set(t.Context(), RedisPrefix("notes")+"x", 1, 0).Err(); err != nil {
			t.Errorf("%v: %v", k, err)
		}
		if err := as("notes-1", k).Get(t.Context(), RedisPrefix("notes")+"x").Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Errorf("another application with %v: %v", k, err)
		}
	}
}
