//go:build linux

package routing

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/pki"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/internal/testkit/await"
)

// database is a db node. On PgBouncer's port it answers each byte with a line that has
// its name, and on Patroni's port it reports its role.
type database struct {
	mu          sync.Mutex
	role        string
	connections int
	checks      int // of either role
}

func (d *database) setRole(role string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.role = role
}

func (d *database) counts() (connections, checks int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.connections, d.checks
}

func (f *fixture) database(name, role string) *database {
	f.t.Helper()
	d := &database{role: role}
	address := f.add(name, cluster.RoleDB)
	bouncer, err := net.Listen("tcp", address+":6432")
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = bouncer.Close() })
	go func() {
		for {
			conn, err := bouncer.Accept()
			if err != nil {
				return
			}
			d.mu.Lock()
			d.connections++
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
		f.t.Fatal(err)
	}
	patroni := httptest.NewUnstartedServer(http.HandlerFunc(func(res http.ResponseWriter, req *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.checks++
		if req.URL.Path != "/"+d.role {
			res.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	_ = patroni.Listener.Close()
	patroni.Listener = rest
	certificate, err := f.ca.Issue(pki.Identity{Cluster: "test", Node: name, Role: cluster.RoleDB, Address: netip.MustParseAddr(address)}, time.Now())
	if err != nil {
		f.t.Fatal(err)
	}
	patroni.TLS = &tls.Config{Certificates: []tls.Certificate{certificate.TLS()}}
	patroni.StartTLS()
	f.t.Cleanup(patroni.Close)
	return d
}

// session is a connection to a database through HAProxy.
type session struct {
	conn net.Conn
	in   *bufio.Reader
}

func (f *fixture) session(address string) *session {
	f.t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = conn.Close() })
	s := &session{conn, bufio.NewReader(conn)}
	if _, err := s.ask(); err != nil {
		f.t.Fatal(err)
	}
	return s
}

// ask returns the name of the database.
func (s *session) ask() (string, error) {
	_ = s.conn.SetDeadline(time.Now().Add(await.Deadline))
	if _, err := s.conn.Write([]byte{'?'}); err != nil {
		return "", err
	}
	line, err := s.in.ReadString('\n')
	if err != nil {
		return "", err
	}
	return line[:len(line)-1], nil
}

// hasEnded reports whether HAProxy has closed the session.
func (s *session) hasEnded() bool {
	_, err := s.ask()
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

// at returns the name of the database that answers a new connection, or "".
func (f *fixture) at(address string) string {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }()
	name, err := (&session{conn, bufio.NewReader(conn)}).ask()
	if err != nil {
		return ""
	}
	return name
}

func TestDatabaseConnectionsFollowPatroni(t *testing.T) {
	f := newFixture(t)
	db1, db2 := f.database("db1", "primary"), f.database("db2", "replica")
	f.start()
	f.await("5432 to lead to db1", func() bool { return f.at(f.settings.Primary) == "db1" })
	f.await("5433 to lead to db2", func() bool { return f.at(f.settings.Replica) == "db2" })
	old := f.session(f.settings.Primary)

	db1.setRole("nothing")
	db2.setRole("primary")
	f.await("5432 to lead to db2", func() bool { return f.at(f.settings.Primary) == "db2" })
	f.await("the session with the former primary to end", old.hasEnded)
	f.await("5433 to lead to the primary without a replica", func() bool { return f.at(f.settings.Replica) == "db2" })
	db1.setRole("replica")
	f.await("5433 to lead to db1", func() bool { return f.at(f.settings.Replica) == "db1" })
}

func TestReplicaGetsNoWritesAtAStartOrReloadOrWhenItIsAdded(t *testing.T) {
	f := newFixture(t)
	f.add("app1", cluster.RoleApp)
	replica, primary := f.database("db0", "replica"), f.database("db1", "primary")
	f.start()
	// during connects to 5432 while it waits for a condition.
	during := func(what string, condition func() bool) {
		t.Helper()
		before, _ := replica.counts()
		f.await(what, func() bool {
			if name := f.at(f.settings.Primary); name != "db1" && name != "" {
				t.Fatalf("%s: 5432 led to %s", what, name)
			}
			return condition()
		})
		if after, _ := replica.counts(); after > before {
			t.Errorf("%s: the replica got %d connections", what, after-before)
		}
	}
	// checked returns a condition: both databases have been checked again in both roles.
	checked := func() func() bool {
		_, onReplica := replica.counts()
		_, onPrimary := primary.counts()
		return func() bool {
			_, nowOnReplica := replica.counts()
			_, nowOnPrimary := primary.counts()
			return nowOnReplica >= onReplica+6 && nowOnPrimary >= onPrimary+6
		}
	}
	during("checks after the start", checked())
	f.beat("app1", registry.NodeReady, application("shop", 8000))
	during("the reload", func() bool { status, _ := f.get("/api/shop"); return status == http.StatusServiceUnavailable })
	during("checks after the reload", checked())
	added := f.database("db2", "replica")
	during("the new replica to be up", func() bool { return f.up("postgres_replica", "db2") })
	if n, _ := added.counts(); n > 0 {
		t.Errorf("the new replica got %d connections", n)
	}
	f.killHAProxy()
	f.startHAProxy()
	during("checks after the restart", checked())
}

func TestSessionsFromBeforeAReloadEndWithTheirPrimary(t *testing.T) {
	f := newFixture(t)
	f.add("app1", cluster.RoleApp)
	db1, db2 := f.database("db1", "primary"), f.database("db2", "replica")
	f.start()
	f.await("5432 to lead to db1", func() bool { return f.at(f.settings.Primary) == "db1" })
	old := f.session(f.settings.Primary)
	f.beat("app1", registry.NodeReady, application("shop", 8000))
	f.await("the reload", func() bool { status, _ := f.get("/api/shop"); return status == http.StatusServiceUnavailable })
	if name, err := old.ask(); err != nil || name != "db1" {
		t.Fatalf("after the reload the session leads to %q, %v; want db1", name, err)
	}
	db1.setRole("nothing")
	db2.setRole("primary")
	f.await("the session with db1 to end", old.hasEnded)
}

// A client whose node lost power sends no end of its connection, and keeps its locks.
func TestVanishedClientIsDetectedWithinFifteenSeconds(t *testing.T) {
	f := newFixture(t)
	f.database("db1", "primary")
	f.start()
	f.await("db1 to be up", func() bool { return f.up("postgres_primary", "db1") })
	_, port, err := net.SplitHostPort(f.session(f.settings.Primary).conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	remote, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line) // sl local_address rem_address st tx_queue:rx_queue tr:tm->when
		if !strings.HasSuffix(fields[2], fmt.Sprintf(":%04X", remote)) || fields[3] != "01" {
			continue
		}
		timer, when, _ := strings.Cut(fields[5], ":")
		ticks, err := strconv.ParseInt(when, 16, 64)
		if err != nil || timer != "02" || ticks > 500 { // keepalive, in hundredths of a second
			t.Errorf("the client's connection has timer %s, want keepalive within 5 s", fields[5])
		}
		return
	}
	t.Fatal("HAProxy's side of the connection was not found")
}

// What pretends to be Patroni must not get the applications' connections.
func TestADatabaseWithoutItsCertificateGetsNoConnections(t *testing.T) {
	f := newFixture(t)
	db1, genuine := f.database("db1", "primary"), f.ca
	var err error
	if f.ca, err = pki.NewAuthority("test", pki.Nodes, time.Now()); err != nil {
		t.Fatal(err)
	}
	stranger := f.database("db2", "primary")
	f.ca = genuine
	f.start()
	f.await("several rounds of checks", func() bool { _, checks := db1.counts(); return checks >= 8 })
	f.await("5432 to lead to db1", func() bool { return f.at(f.settings.Primary) == "db1" })
	for range 20 {
		if name := f.at(f.settings.Primary); name != "db1" {
			t.Fatalf("5432 led to %q", name)
		}
	}
	if connections, checks := stranger.counts(); connections+checks > 0 {
		t.Errorf("the stranger got %d connections and %d requests", connections, checks)
	}
}
