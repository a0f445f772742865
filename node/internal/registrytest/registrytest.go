//go:build linux

// Package registrytest provides tests with a registry: Debian's Redis with the
// configuration of a management node, so that a test fails if a user lacks a permission.
package registrytest

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/internal/testkit/debiantree"
	"github.com/xeroops/xeroops/node/internal/configure"
	"github.com/xeroops/xeroops/templates"
)

// Server is a Redis that can be killed and restarted.
type Server struct {
	Address string // host:port

	t       testing.TB
	dir     string
	process *exec.Cmd
}

// Start starts a registry that runs until the test ends. address is an unused address of
// the loopback network.
func Start(t testing.TB, address string) *Server {
	t.Helper()
	debiantree.Path(t)
	data, err := configure.Sample(cluster.RoleManagement)
	if err != nil {
		t.Fatal(err)
	}
	for name := range data.Credentials {
		data.Credentials[name] = password(name)
	}
	files, err := configure.Render(templates.Files, data)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Address: net.JoinHostPort(address, registry.Port), t: t, dir: t.TempDir()}
	for _, f := range files {
		if filepath.Dir(f.Path) == "/etc/redis" {
			if err := os.WriteFile(filepath.Join(s.dir, filepath.Base(f.Path)), f.Content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.Restart()
	t.Cleanup(s.Kill)
	return s
}

// startTimeout is far longer than Redis takes to start.
const startTimeout = 30 * time.Second

func password(credential string) string { return "test-" + credential }

// Password returns the password of a user of the registry.
func Password(user string) string {
	return password("REDIS_" + strings.ToUpper(user) + "_PASSWORD")
}

// Restart starts Redis again after Kill.
func (s *Server) Restart() {
	s.t.Helper()
	data := filepath.Join(s.dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		s.t.Fatal(err)
	}
	host, _, err := net.SplitHostPort(s.Address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.process = debiantree.Command(s.t, "redis-server", filepath.Join(s.dir, "redis.conf"), "--bind", host, "--dir", data,
		"--aclfile", filepath.Join(s.dir, "users.acl"), "--loglevel", "warning")
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	admin := s.As(registry.UserAdmin)
	deadline := time.Now().Add(startTimeout)
	for admin.Ping(s.t.Context()).Err() != nil {
		if time.Now().After(deadline) {
			s.t.Fatalf("Redis does not answer within %s", startTimeout)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Kill kills Redis.
func (s *Server) Kill() {
	_ = s.process.Process.Kill()
	_ = s.process.Wait()
}

// Forget removes all data. Redis must not be running.
func (s *Server) Forget() {
	s.t.Helper()
	if err := os.RemoveAll(filepath.Join(s.dir, "data")); err != nil {
		s.t.Fatal(err)
	}
}

// As returns a client of a user that is open until the test ends.
func (s *Server) As(user string) *redis.Client {
	c := registry.Open(s.Address, user, Password(user))
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}
