//go:build linux

package routing

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/internal/testkit/load"
)

func TestServerChangesItsPortWithoutAFailedRequest(t *testing.T) {
	f, nodes := shop(t)
	app1 := f.topology.Nodes[1].Address
	report := f.underLoad(load.Options{URL: f.url("/api/shop/x"), Rate: 200, Fresh: true, Method: http.MethodPost, Body: "{}"}, func() {
		for n, apps := range [][]string{{"shop"}, {"shop", "more"}} { // in the running process, then with a reload
			port := 8001 + n
			next := f.serve("app1", fmt.Sprintf("%s:%d", app1, port), nil)
			var running []registry.Application
			for _, name := range apps {
				running = append(running, application(name, port))
			}
			f.beat("app1", registry.NodeReady, running...)
			f.await("HAProxy to have the new port", func() bool {
				all, err := runningServers(t.Context(), f.settings.StatsSocket)
				return err == nil && all["app_shop"]["app1"].port == port
			})
			nodes["app1"].stop(t)
			nodes["app1"] = next
			checked := next.checks.Load()
			f.await("three checks of the new port", func() bool {
				if !f.up("app_shop", "app1") {
					t.Fatal("app1 is down: HAProxy still checks its former port")
				}
				return next.checks.Load() >= checked+3
			})
		}
	})
	f.noneFailed(report)
}

// shopRoutes returns the routes of [shop], with app1 on a port.
func (f *fixture) shopRoutes(port int, draining bool) Routes {
	return Routes{Applications: []Application{{Name: "shop", Prefixes: []string{"/api/shop"}, HealthPath: "/healthz", Health: bundle.HealthRequest{}.WithDefaults("shop"), Timeout: 60, Servers: []Server{
		{Name: "app1", Address: f.topology.Nodes[1].Address, Port: port, Draining: draining},
		{Name: "app2", Address: f.topology.Nodes[2].Address, Port: 8000},
	}}}}
}

// A server state file overrides the configuration, so that a reload would restore the
// former port and weight of a server that changed with it.
func TestReloadDoesNotRestoreAFormerPortOrWeight(t *testing.T) {
	f, _ := shop(t)
	f.stopDaemon()
	b := f.newBalancer()
	desired := f.shopRoutes(8055, true)
	if _, err := b.install(t.Context(), desired); err != nil {
		t.Fatal(err)
	}
	if err := b.reload(t.Context(), desired); err != nil {
		t.Fatal(err)
	}
	f.await("the new worker to answer", func() bool {
		hash, err := runningConfigHash(t.Context(), f.settings.StatsSocket)
		_, want, _ := render(desired, f.settings)
		return err == nil && hash == want
	})
	all, err := runningServers(t.Context(), f.settings.StatsSocket)
	if err != nil {
		t.Fatal(err)
	}
	if s := all["app_shop"]["app1"]; s.port != 8055 || s.weight != "0" {
		t.Errorf("after the reload app1 has port %d and weight %s, want 8055 and 0", s.port, s.weight)
	}
	if !all["app_shop"]["app2"].up {
		t.Error("after the reload app2 is down, although it was up before")
	}
}

// HAProxy acknowledges a server's new address before it applies it.
func TestAdjustWaitsUntilAnAddressIsApplied(t *testing.T) {
	f, _ := shop(t)
	f.stopDaemon()
	b := f.newBalancer()
	b.StatsSocket = staleSocket(t, f, 3)
	if changed, err := b.adjust(t.Context(), f.shopRoutes(8066, false)); !changed || err != nil {
		t.Errorf("adjust: changed %t, %v; want it to wait for the new port", changed, err)
	}
}

// staleSocket forwards commands to HAProxy's socket, but after a change repeats the former
// answer of `show servers state` several times.
func staleSocket(t *testing.T, f *fixture, times int) (path string) {
	t.Helper()
	path = filepath.Join(f.dir, "stale")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	var last atomic.Value
	var changed atomic.Bool
	go func() {
		for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
			buffer := make([]byte, maxCommandBytes)
			n, _ := conn.Read(buffer)
			commands := strings.TrimSpace(string(buffer[:n]))
			answer, err := ask(t.Context(), f.settings.StatsSocket, commands)
			if err != nil {
				t.Error(err)
			}
			switch {
			case strings.HasPrefix(commands, "set server"):
				changed.Store(true)
			case changed.Load() && times > 0:
				times--
				answer = last.Load().(string)
			default:
				last.Store(answer)
			}
			_, _ = conn.Write([]byte(answer))
			_ = conn.Close()
		}
	}()
	return path
}
