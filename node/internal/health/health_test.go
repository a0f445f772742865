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

// patroni serves what Patroni's REST API answers, and returns its port.
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

// freePort is a port on which nobody listens.
func freePort(t *testing.T) int32 {
	t.Helper()
	l, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return portOf(l)
}

func TestAServiceIsAskedAsTheTableSays(t *testing.T) {
	listening := patroni(t, http.StatusOK, "primary")
	for name, c := range map[string]struct {
		health  cluster.Health
		healthy bool
		detail  string
	}{
		"unit":              {cluster.Health{Type: "unit"}, true, ""},
		"tcp, listening":    {cluster.Health{Type: "tcp", Port: listening}, true, ""},
		"tcp, nobody there": {cluster.Health{Type: "tcp", Port: freePort(t)}, false, "refused"},
		"http, 200":         {cluster.Health{Type: "http", Port: listening, Path: "/health"}, true, ""},
		"http, 404":         {cluster.Health{Type: "http", Port: listening, Path: "/none"}, false, "status 404"},
		"http, nobody":      {cluster.Health{Type: "http", Port: freePort(t), Path: "/health"}, false, "refused"},
	} {
		healthy, detail := probe(t.Context(), cluster.Service{Name: "x", Health: c.health})
		if healthy != c.healthy || !strings.Contains(detail, c.detail) || (c.healthy && detail != "") {
			t.Errorf("%s: %v, %q", name, healthy, detail)
		}
	}
}

func TestPostgreSQLSaysWhichRoleItHas(t *testing.T) {
	for role, want := range map[string]string{"primary": "primary", "master": "primary", "replica": "replica", "standby_leader": "standby_leader"} {
		s := cluster.Service{Name: Postgres, Health: cluster.Health{Type: "http", Port: patroni(t, http.StatusOK, role), Path: "/health"}}
		if healthy, detail := probe(t.Context(), s); !healthy || detail != want {
			t.Errorf("%s: %v, %q", role, healthy, detail)
		}
	}
}

func TestPostgreSQLThatDoesNotRunHasNoRole(t *testing.T) {
	s := cluster.Service{Name: Postgres, Health: cluster.Health{Type: "http", Port: patroni(t, http.StatusServiceUnavailable, "primary"), Path: "/health"}}
	if healthy, detail := probe(t.Context(), s); healthy || !strings.Contains(detail, "503") {
		t.Errorf("got %v, %q", healthy, detail)
	}
}

func TestNothingIsHealthyThatSystemdCannotBeAskedAbout(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent")
	services := cluster.ServicesOf(cluster.RoleDB)
	found := Check(t.Context(), services)
	if len(found) != len(services) {
		t.Fatalf("got %d of %d services", len(found), len(services))
	}
	for n, s := range found {
		if s.Name != services[n].Name || s.Healthy || s.Detail == "" {
			t.Errorf("got %+v", s)
		}
	}
}
