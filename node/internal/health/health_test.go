package health

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/pki"
)

// patroni serves the answers of Patroni's REST API and returns its port and the file that
// verifies it.
func patroni(t *testing.T, health int, role string) (port int32, ca string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(health) })
	mux.HandleFunc("GET /patroni", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"state": "running", "postmaster_start_time": "2026-11-23 14:00:00+00:00", "role": %q, "server_version": 170006}`, role)
	})
	server := httptest.NewUnstartedServer(mux)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(t, ca)}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return portOf(server.Listener), ca
}

// certificate returns a certificate of db1, and writes what verifies it.
func certificate(t *testing.T, ca string) tls.Certificate {
	t.Helper()
	authority, err := pki.NewAuthority("test", pki.Nodes, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ca, pki.Generations{authority}.Bundle(), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := authority.Issue(pki.Identity{Cluster: "test", Node: "db1", Role: cluster.RoleDB, Address: netip.MustParseAddr("10.0.2.30")}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return c.TLS()
}

func portOf(l net.Listener) int32 { return int32(l.Addr().(*net.TCPAddr).Port) }

// freePort returns a port on which no process listens.
func freePort(t *testing.T) int32 {
	t.Helper()
	l, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return portOf(l)
}

func TestProbeFollowsTheServiceTable(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer plain.Close()
	listening := portOf(plain.Listener)
	withTLS, ca := patroni(t, http.StatusOK, "primary")
	otherCA := filepath.Join(t.TempDir(), "ca.pem")
	certificate(t, otherCA)
	nobody := net.JoinHostPort(loopback, strconv.Itoa(int(freePort(t))))
	for name, c := range map[string]struct {
		health  cluster.Health
		p       prober
		healthy bool
		detail  string
	}{
		"unit":                     {cluster.Health{Type: "unit"}, prober{}, true, ""},
		"tcp, listening":           {cluster.Health{Type: "tcp", Port: listening}, prober{}, true, ""},
		"tcp, refused":             {cluster.Health{Type: "tcp", Port: freePort(t)}, prober{}, false, "refused"},
		"http, 200":                {cluster.Health{Type: "http", Port: listening, Path: "/health"}, prober{}, true, ""},
		"http, 404":                {cluster.Health{Type: "http", Port: listening, Path: "/none"}, prober{}, false, "status 404"},
		"http, refused":            {cluster.Health{Type: "http", Port: freePort(t), Path: "/health"}, prober{}, false, "refused"},
		"https, 200":               {cluster.Health{Type: "https", Port: withTLS, Path: "/health"}, prober{ca: ca}, true, ""},
		"https, 404":               {cluster.Health{Type: "https", Port: withTLS, Path: "/none"}, prober{ca: ca}, false, "status 404"},
		"https, another authority": {cluster.Health{Type: "https", Port: withTLS, Path: "/health"}, prober{ca: otherCA}, false, "certificate"},
		"https, no authority":      {cluster.Health{Type: "https", Port: withTLS, Path: "/health"}, prober{ca: "/nonexistent"}, false, "/nonexistent"},
		"https, without TLS":       {cluster.Health{Type: "https", Port: listening, Path: "/health"}, prober{ca: ca}, false, "does not look like a TLS handshake"},
		"a member of etcd":         {cluster.Health{Type: "etcd", Port: listening, Path: "/health"}, prober{gateway: nobody}, true, ""},
		"a member without quorum":  {cluster.Health{Type: "etcd", Port: listening, Path: "/none"}, prober{gateway: nobody}, false, "status 404"},
		"a gateway to etcd":        {cluster.Health{Type: "etcd", Port: freePort(t), Path: "/health"}, prober{gateway: plain.Listener.Addr().String()}, true, ""},
		"neither":                  {cluster.Health{Type: "etcd", Port: freePort(t), Path: "/health"}, prober{gateway: nobody}, false, "refused"},
	} {
		healthy, detail := c.p.probe(t.Context(), cluster.Service{Name: "x", Roles: []cluster.Role{cluster.RoleDB}, Health: c.health})
		if healthy != c.healthy || !strings.Contains(detail, c.detail) || (c.healthy && detail != "") {
			t.Errorf("%s: probe() = %t, %q; want %t, %q", name, healthy, detail, c.healthy, c.detail)
		}
	}
}

func postgres(port int32) cluster.Service {
	return cluster.Service{Name: Postgres, Roles: []cluster.Role{cluster.RoleDB}, Health: cluster.Health{Type: "https", Port: port, Path: "/health"}}
}

func TestPostgreSQLReportsItsRole(t *testing.T) {
	for role, want := range map[string]string{"primary": "primary", "master": "primary", "replica": "replica", "standby_leader": "standby_leader"} {
		port, ca := patroni(t, http.StatusOK, role)
		if healthy, detail := (prober{ca: ca}).probe(t.Context(), postgres(port)); !healthy || detail != want {
			t.Errorf("%s: probe() = %t, %q; want true, %q", role, healthy, detail, want)
		}
	}
}

func TestStoppedPostgreSQLHasNoRole(t *testing.T) {
	port, ca := patroni(t, http.StatusServiceUnavailable, "primary")
	if healthy, detail := (prober{ca: ca}).probe(t.Context(), postgres(port)); healthy || !strings.Contains(detail, "503") {
		t.Errorf("probe() = %t, %q; want false and the status", healthy, detail)
	}
}

func TestServicesAreUnhealthyWithoutSystemd(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent")
	services := cluster.ServicesOf(cluster.RoleDB)
	found := Check(t.Context(), services)
	if len(found) != len(services) {
		t.Fatalf("Check() returned %d of %d services", len(found), len(services))
	}
	for n, s := range found {
		if s.Name != services[n].Name || s.Healthy || s.Detail == "" {
			t.Errorf("Check() returned %+v, want an unhealthy service with a detail", s)
		}
	}
}
