package waitfordb

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/xeroops/xeroops/internal/testkit/debiantree"
)

const password = "correct horse"

func TestItWaitsUntilTheDatabaseAnswersThroughPgBouncer(t *testing.T) {
	folder := t.TempDir()
	postgres, pooler := freePort(t), freePort(t)
	makeDatabase(t, folder, postgres, pooler)
	w, err := newWaiter(fmt.Sprintf("postgres://app@127.0.0.1:%d/app?sslmode=disable", pooler), password, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.wait(t.Context(), 2*time.Second); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("with nothing there: %v, want an error that says what the last try saw", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- w.wait(t.Context(), time.Minute) }()
	run(t, folder, fmt.Sprintf("exec pgbouncer %s/pgbouncer.ini", folder))
	run(t, folder, fmt.Sprintf("exec /usr/lib/postgresql/17/bin/postgres -D data -p %d -c listen_addresses=127.0.0.1 -c unix_socket_directories=", postgres))
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestAWrongPasswordIsWhatTheErrorEndsWith(t *testing.T) {
	folder := t.TempDir()
	postgres, pooler := freePort(t), freePort(t)
	makeDatabase(t, folder, postgres, pooler)
	run(t, folder, fmt.Sprintf("exec pgbouncer %s/pgbouncer.ini", folder))
	w, err := newWaiter(fmt.Sprintf("postgres://app@127.0.0.1:%d/app?sslmode=disable", pooler), "another", hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.wait(t.Context(), 5*time.Second); err == nil || !strings.Contains(err.Error(), "authentication failed") {
		t.Errorf("got %v, want what PgBouncer said", err)
	}
}

func TestAMissingPasswordIsNamed(t *testing.T) {
	_, err := newWaiter(address, "", hclog.NewNullLogger())
	if err == nil || !strings.Contains(err.Error(), passwordVariable) {
		t.Errorf("got %v, want the variable's name", err)
	}
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	w, err := newWaiter(fmt.Sprintf("postgres://app@127.0.0.1:%d/app?sslmode=disable", freePort(t)), password, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	if err := w.wait(ctx, time.Hour); err == nil || time.Since(began) > 10*time.Second {
		t.Errorf("got %v after %s", err, time.Since(began))
	}
}

// makeDatabase prepares PostgreSQL with the database app, and PgBouncer before it.
func makeDatabase(t *testing.T, folder string, postgres, pooler int) {
	t.Helper()
	for d := folder; d != filepath.Clean(os.TempDir()); d = filepath.Dir(d) { // to let its user through
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(folder, "users.txt"), fmt.Sprintf("\"app\" %q\n", password))
	write(t, filepath.Join(folder, "password"), password+"\n")
	write(t, filepath.Join(folder, "pgbouncer.ini"), fmt.Sprintf(`[databases]
app = host=127.0.0.1 port=%d dbname=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = scram-sha-256
auth_file = %s/users.txt
pool_mode = transaction
server_login_retry = 1
`, postgres, pooler, folder))
	prepare := fmt.Sprintf(`chown -R postgres %s && exec runuser -u postgres -- /usr/lib/postgresql/17/bin/initdb -D %s/data --username=app --pwfile=%s/password --auth=scram-sha-256 --no-sync`, folder, folder, folder)
	if out, err := debiantree.CommandIn(t, folder, "sh", "-c", prepare).CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v: %s", err, out)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// run starts a program as the user postgres; it ends with the test.
func run(t *testing.T, folder, command string) {
	t.Helper()
	cmd := debiantree.CommandIn(t, folder, "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=KILL", "sh", "-c", command)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
