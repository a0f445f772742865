//go:build linux

// Package registrytest gives tests a registry: Debian's Redis with the configuration
// of a management node, so that a test fails where a user of it lacks a permission.
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

// Server is a Redis that can be killed and started again.
type Server struct {
	Address string // host:port

	t       testing.TB
	dir     string
	process *exec.Cmd
}

// Start starts a registry at an address of the loopback network that nobody else
// uses, on the registry's port. It ends with the test.
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

func password(credential string) string { return "test-" + credential }

// Password is that of a user of the registry.
func Password(user string) string {
	return password("REDIS_" + strings.ToUpper(user) + "_PASSWORD")
}

// Restart starts Redis after Kill.
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
	limit := time.Now().Add(20 * time.Second)
	for admin.Ping(s.t.Context()).Err() != nil {
		if time.Now().After(limit) {
			s.t.Fatal("Redis does not answer within 20 s")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Kill ends Redis at once.
func (s *Server) Kill() {
	_ = s.process.Process.Kill()
	_ = s.process.Wait()
}

// Forget removes what was stored. Redis must not run.
func (s *Server) Forget() {
	s.t.Helper()
	if err := os.RemoveAll(filepath.Join(s.dir, "data")); err != nil {
		s.t.Fatal(err)
	}
}

// As is a client as one of the users, to be had for the whole test.
func (s *Server) As(user string) *redis.Client {
	c := registry.Open(s.Address, user, Password(user))
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}
