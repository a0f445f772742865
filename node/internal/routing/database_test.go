//go:build linux

package routing

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/registry"
)

// database is a db node: PgBouncer's place answers each byte with a line that says
// who it is, and Patroni's says which role it has.
type database struct {
	mu    sync.Mutex
	role  string
	asked int // connections
}

func (d *database) become(role string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.role = role
}

func (d *database) connections() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

func (w *world) database(name, role string) *database {
	w.t.Helper()
	d := &database{role: role}
	address := w.add(name, cluster.RoleDB)
	bouncer, err := net.Listen("tcp", address+":6432")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = bouncer.Close() })
	go func() {
		for {
			conn, err := bouncer.Accept()
			if err != nil {
				return
			}
			d.mu.Lock()
			d.asked++
			d.mu.Unlock()
			go func() {
				defer func() { _ = conn.Close() }()
				for one := make([]byte, 1); ; {
					if _, err := conn.Read(one); err != nil {
						return
					}
					if _, err := io.WriteString(conn, name+"\n"); err != nil {
						return
					}
				}
			}()
		}
	}()
	rest, err := net.Listen("tcp", address+":8008")
	if err != nil {
		w.t.Fatal(err)
	}
	patroni := httptest.NewUnstartedServer(http.HandlerFunc(func(res http.ResponseWriter, req *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if req.URL.Path != "/"+d.role {
			res.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	_ = patroni.Listener.Close()
	patroni.Listener = rest
	patroni.Start()
	w.t.Cleanup(patroni.Close)
	return d
}

// session is a connection to a database.
type session struct {
	conn net.Conn
	in   *bufio.Reader
}

func (w *world) session(address string) *session {
	w.t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	s := &session{conn, bufio.NewReader(conn)}
	if _, err := s.ask(); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// ask returns who is at the other end.
func (s *session) ask() (string, error) {
	_ = s.conn.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := s.conn.Write([]byte{'?'}); err != nil {
		return "", err
	}
	line, err := s.in.ReadString('\n')
	if err != nil {
		return "", err
	}
	return line[:len(line)-1], nil
}

// at says who answers a new connection, or "".
func (w *world) at(address string) string {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }()
	by, err := (&session{conn, bufio.NewReader(conn)}).ask()
	if err != nil {
		return ""
	}
	return by
}

func TestDatabaseConnectionsFollowPatroni(t *testing.T) {
	w := newWorld(t)
	db1, db2 := w.database("db1", "primary"), w.database("db2", "replica")
	w.start()
	w.within(3*time.Second, "5432 is db1", func() bool { return w.at(w.settings.Primary) == "db1" })
	w.within(3*time.Second, "5433 is db2", func() bool { return w.at(w.settings.Replica) == "db2" })
	old := w.session(w.settings.Primary)

	db1.become("nothing")
	db2.become("primary")
	took := w.within(2*time.Second, "5432 is db2", func() bool { return w.at(w.settings.Primary) == "db2" })
	t.Logf("new connections follow after %s", took)
	w.within(2*time.Second, "the session with the former primary ends", func() bool { _, err := old.ask(); return err != nil })
	w.within(2*time.Second, "5433 is the primary, for want of a replica", func() bool { return w.at(w.settings.Replica) == "db2" })
	db1.become("replica")
	w.within(2*time.Second, "5433 is db1", func() bool { return w.at(w.settings.Replica) == "db1" })
}

func TestReplicaGetsNoWritesWhenHAProxyStartsOrReloadsOrLearnsOfIt(t *testing.T) {
	w := newWorld(t)
	w.add("app1", cluster.RoleApp)
	replica := w.database("db0", "replica")
	w.database("db1", "primary")
	w.start()
	ask := func(what string, during func() bool) {
		t.Helper()
		before := replica.connections()
		w.within(4*time.Second, what, func() bool {
			if by := w.at(w.settings.Primary); by != "db1" && by != "" {
				t.Fatalf("%s: 5432 went to %s", what, by)
			}
			return during()
		})
		if n := replica.connections() - before; n > 0 {
			t.Errorf("%s: the replica got %d connections", what, n)
		}
	}
	settled := func() func() bool {
		until := time.Now().Add(1500 * time.Millisecond) // all have been checked by then
		return func() bool { return time.Now().After(until) }
	}
	ask("start", settled())
	w.beat("app1", registry.NodeReady, application("shop", 8000))
	ask("reload", settled())
	newcomer := w.database("db2", "replica")
	ask("new replica", func() bool { return w.up("postgres_replica", "db2") })
	if n := newcomer.connections(); n > 0 {
		t.Errorf("the new replica got %d connections", n)
	}
	w.killHAProxy()
	w.startHAProxy()
	ask("restart", settled())
}

func TestSessionsOfBeforeAReloadEndWithTheirPrimary(t *testing.T) {
	w := newWorld(t)
	w.add("app1", cluster.RoleApp)
	db1, db2 := w.database("db1", "primary"), w.database("db2", "replica")
	w.start()
	w.within(3*time.Second, "5432 is db1", func() bool { return w.at(w.settings.Primary) == "db1" })
	old := w.session(w.settings.Primary)
	w.beat("app1", registry.NodeReady, application("shop", 8000))
	w.within(2*time.Second, "reloaded", func() bool { status, _ := w.get("/api/shop"); return status == http.StatusServiceUnavailable })
	if by, err := old.ask(); err != nil || by != "db1" {
		t.Fatalf("after the reload: %q, %v", by, err)
	}
	db1.become("nothing")
	db2.become("primary")
	took := w.within(4*time.Second, "the session with db1 ends", func() bool { _, err := old.ask(); return err != nil })
	t.Logf("ended after %s", took)
}
