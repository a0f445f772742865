package waitfordb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/xeroops/xeroops/internal/testkit/debiantree"
)

const password = "correct horse"

func newTestWaiter(t *testing.T, port int, password string) waiter {
	t.Helper()
	w, err := newWaiter(fmt.Sprintf("postgres://app@127.0.0.1:%d/app?sslmode=disable", port), password, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWaitReturnsWhenTheDatabaseAnswersThroughPgBouncer(t *testing.T) {
	dir := t.TempDir()
	postgres, pooler := freePort(t), freePort(t)
	makeDatabase(t, dir, postgres, pooler)
	w := newTestWaiter(t, pooler, password)
	var log logBuffer
	w.log = hclog.New(&hclog.LoggerOptions{Output: &log})
	result := make(chan error, 1)
	go func() { result <- w.wait(t.Context(), 2*time.Minute) }()
	log.await(t, "database unavailable")
	run(t, dir, fmt.Sprintf("exec pgbouncer %s/pgbouncer.ini", dir))
	run(t, dir, fmt.Sprintf("exec /usr/lib/postgresql/17/bin/postgres -D data -p %d -c listen_addresses=127.0.0.1 -c unix_socket_directories=", postgres))
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}

// logBuffer collects a log.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (c *logBuffer) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.Write(p)
}

func (c *logBuffer) await(t *testing.T, event string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c.mu.Lock()
		found := strings.Contains(c.text.String(), event)
		c.mu.Unlock()
		if found {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("waited 30 s for %q in the log", event)
		}
	}
}

// An attempt that the timeout interrupts must not hide the error of the one before.
func TestTimeoutReportsTheLastCompleteAttempt(t *testing.T) {
	w := newTestWaiter(t, freePort(t), password)
	var attempts int
	w.config.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		if attempts++; attempts == 1 {
			return nil, syscall.ECONNREFUSED
		}
		<-ctx.Done() // as on a machine that is too busy to connect in time
		return nil, ctx.Err()
	}
	if err := w.wait(t.Context(), retryInterval+500*time.Millisecond); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("wait() = %v, want the error of the first attempt", err)
	}
}

func TestErrorHasTheReasonOfPgBouncer(t *testing.T) {
	dir := t.TempDir()
	postgres, pooler := freePort(t), freePort(t)
	makeDatabase(t, dir, postgres, pooler)
	run(t, dir, fmt.Sprintf("exec pgbouncer %s/pgbouncer.ini", dir))
	w := newTestWaiter(t, pooler, "another")
	for end := time.Now().Add(time.Minute); ; {
		err := w.query(t.Context())
		if err != nil && strings.Contains(err.Error(), "authentication failed") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("query() = %v, want the error of PgBouncer", err)
		}
	}
}

func TestMissingPasswordIsAnError(t *testing.T) {
	_, err := newWaiter(address, "", hclog.NewNullLogger())
	if err == nil || !strings.Contains(err.Error(), passwordVariable) {
		t.Errorf("newWaiter() = %v, want an error that names the variable", err)
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	w := newTestWaiter(t, freePort(t), password)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	result := make(chan error, 1)
	go func() { result <- w.wait(ctx, time.Hour) }()
	select {
	case err := <-result:
		if err == nil {
			t.Error("wait() = nil, want an error")
		}
	case <-time.After(30 * time.Second):
		t.Error("wait did not return")
	}
}

// makeDatabase creates a PostgreSQL cluster and the configuration of a PgBouncer for it.
func makeDatabase(t *testing.T, dir string, postgres, pooler int) {
	t.Helper()
	for d := dir; d != filepath.Clean(os.TempDir()); d = filepath.Dir(d) { // so that the user postgres can enter
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "users.txt"), fmt.Sprintf("\"app\" %q\n", password))
	write(t, filepath.Join(dir, "password"), password+"\n")
	write(t, filepath.Join(dir, "pgbouncer.ini"), fmt.Sprintf(`[databases]
app = host=127.0.0.1 port=%d dbname=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = scram-sha-256
auth_file = %s/users.txt
pool_mode = transaction
server_login_retry = 1
`, postgres, pooler, dir))
	prepare := fmt.Sprintf(`chown -R postgres %s && exec runuser -u postgres -- /usr/lib/postgresql/17/bin/initdb -D %s/data --username=app --pwfile=%s/password --auth=scram-sha-256 --no-sync`, dir, dir, dir)
	if out, err := debiantree.CommandIn(t, dir, "sh", "-c", prepare).CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v: %s", err, out)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// run starts a program as the user postgres, which is killed when the test ends.
func run(t *testing.T, dir, command string) {
	t.Helper()
	cmd := debiantree.CommandIn(t, dir, "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=KILL", "sh", "-c", command)
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
