package health

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/xeroops/xeroops/internal/cluster"
)

// patroni serves the answers of Patroni's REST API and returns its port.
func patroni(t *testing.T, health int, role string) int32 {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(health) })
	mux.HandleFunc("GET /patroni", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"state": "running", "postmaster_start_time": "2026-11-23 14:00:00+00:00", "role": %q, "server_version": 170006}`, role)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return portOf(server.Listener)
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
	listening := patroni(t, http.StatusOK, "primary")
	for name, c := range map[string]struct {
		health  cluster.Health
		healthy bool
		detail  string
	}{
		"unit":           {cluster.Health{Type: "unit"}, true, ""},
		"tcp, listening": {cluster.Health{Type: "tcp", Port: listening}, true, ""},
		"tcp, refused":   {cluster.Health{Type: "tcp", Port: freePort(t)}, false, "refused"},
		"http, 200":      {cluster.Health{Type: "http", Port: listening, Path: "/health"}, true, ""},
		"http, 404":      {cluster.Health{Type: "http", Port: listening, Path: "/none"}, false, "status 404"},
		"http, refused":  {cluster.Health{Type: "http", Port: freePort(t), Path: "/health"}, false, "refused"},
	} {
		healthy, detail := probe(t.Context(), cluster.Service{Name: "x", Health: c.health})
		if healthy != c.healthy || !strings.Contains(detail, c.detail) || (c.healthy && detail != "") {
			t.Errorf("%s: probe() = %t, %q; want %t, %q", name, healthy, detail, c.healthy, c.detail)
		}
	}
}

func TestPostgreSQLReportsItsRole(t *testing.T) {
	for role, want := range map[string]string{"primary": "primary", "master": "primary", "replica": "replica", "standby_leader": "standby_leader"} {
		s := cluster.Service{Name: Postgres, Health: cluster.Health{Type: "http", Port: patroni(t, http.StatusOK, role), Path: "/health"}}
		if healthy, detail := probe(t.Context(), s); !healthy || detail != want {
			t.Errorf("%s: probe() = %t, %q; want true, %q", role, healthy, detail, want)
		}
	}
}

func TestStoppedPostgreSQLHasNoRole(t *testing.T) {
	s := cluster.Service{Name: Postgres, Health: cluster.Health{Type: "http", Port: patroni(t, http.StatusServiceUnavailable, "primary"), Path: "/health"}}
	if healthy, detail := probe(t.Context(), s); healthy || !strings.Contains(detail, "503") {
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
