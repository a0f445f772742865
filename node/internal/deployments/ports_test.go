package deployments

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/registry"
)

// routed simulates discovery and routing: the registry gets the content of the status
// file, and a proxy sends requests to the application's port, which it learns later.
type routed struct {
	url   string
	delay atomic.Int64 // until the proxy learns a new port, in nanoseconds
}

func (f *fixture) routed() *routed {
	way := new(routed)
	var port atomic.Int64
	port.Store(int64(f.port))
	front := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(q *httputil.ProxyRequest) {
			q.SetURL(&url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port.Load())})
		},
		Transport: &http.Transport{DisableKeepAlives: true},
	})
	f.t.Cleanup(front.Close)
	way.url = front.URL
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	f.t.Cleanup(func() { cancel(); <-ended })
	go func() {
		defer close(ended)
		for last := 0; ctx.Err() == nil; {
			all := f.status()
			_ = registry.WriteNode(ctx, f.registry, registry.Node{Name: "app1", Role: cluster.RoleApp, State: registry.NodeReady, Applications: all, UpdatedAt: time.Now()}, true)
			if len(all) == 1 && all[0].Port != last {
				last = all[0].Port
				follow := time.AfterFunc(time.Duration(way.delay.Load()), func() { port.Store(int64(all[0].Port)) })
				defer follow.Stop()
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}()
	return way
}

// status returns the content of the status file.
func (f *fixture) status() []registry.Application {
	var all []registry.Application
	content, err := os.ReadFile(filepath.Join(filepath.Dir(f.store.root), "applications.json"))
	if err == nil {
		err = json.Unmarshal(content, &all)
	}
	if err != nil && !os.IsNotExist(err) {
		f.t.Error(err)
	}
	return all
}

// mustHaveOnly waits until only a version and its port are left.
func (f *fixture) mustHaveOnly(version string, port int) {
	f.t.Helper()
	eventually(f.t, fmt.Sprintf("only %s on port %d to be left", version, port), func() error {
		services, err := f.units.States(f.t.Context(), serviceStem+"*.service")
		if err != nil {
			return err
		}
		sockets, err := f.units.States(f.t.Context(), socketsPattern)
		if len(services) != 1 || services[serviceUnit("demo", version)] == "" || len(sockets) != 1 || sockets[socketUnit(port)] == "" {
			err = fmt.Errorf("there are %v and %v", services, sockets)
		}
		return err
	})
}

func TestPortChangesUnderLoadFailNoRequest(t *testing.T) {
	f := newFixture(t)
	f.start()
	first := f.publish(version{version: "1.0"})
	f.mustBeHealthy("1.0")
	old, next := f.port, freePort(t)
	way := f.routed()
	report := underLoadAt(way.url, func() {
		way.delay.Store(int64(quietPeriod + 2*time.Second)) // as if messages were lost
		f.port = next
		second := f.publish(version{version: "1.1"})
		f.mustBeHealthy("1.1")
		f.stop() // the daemon restarts while the port changes
		f.start()
		f.mustHaveOnly("1.1", next)
		way.delay.Store(int64(2 * time.Second))
		f.port = old
		f.desire("1.0", first.SHA256)
		f.mustBeHealthy("1.0")
		f.port = next
		f.desire("1.1", second.SHA256) // which is still running as the former version
		f.mustBeHealthy("1.1")
		f.mustHaveOnly("1.1", next)
	})
	t.Log(report)
	if report.Failed > 0 {
		t.Errorf("%d of %d requests failed: %v", report.Failed, report.Requests, report.Errors)
	}
}

func TestVersionThatFailsAloneOnAnotherPortChangesNothing(t *testing.T) {
	f := newFixture(t)
	f.start()
	f.publish(version{version: "1.0"})
	f.mustBeHealthy("1.0")
	old := f.port
	f.port = freePort(t)
	degrading := fmt.Sprintf("requests = 0\ndef health():\n    global requests\n    requests += 1\n    return 200 if requests <= %d else 503\n", minAnswers)
	f.publish(version{version: "1.1", prelude: degrading, healthCode: "health()"})
	f.mustFail("1.1", "503")
	if all := f.status(); len(all) != 1 || all[0].Version != "1.0" || all[0].Port != old {
		t.Errorf("the status file has %+v, want 1.0 on the former port", all)
	}
	f.mustHaveOnly("1.0", old)
	f.port = old
	if got := f.answer(); got != "1.0" {
		t.Errorf("%q answers", got)
	}
}

func TestFormerPortIsServedUntilTheRegistryHasTheNewOne(t *testing.T) {
	f := newFixture(t)
	f.start()
	f.publish(version{version: "1.0"})
	f.mustBeHealthy("1.0")
	old := f.port
	f.port = freePort(t)
	f.publish(version{version: "1.1"})
	f.mustBeHealthy("1.1")
	const polls = int64(quietPeriod/portPollInterval) + 2 // after which the version would have been stopped
	before := f.registryReads()
	eventually(t, "polls of the registry", func() error {
		if n := f.registryReads() - before; n < polls {
			return fmt.Errorf("the registry was read %d times, want %d", n, polls)
		}
		return nil
	})
	if all, _ := f.units.States(t.Context(), unitsOf("demo")); len(all) != 2 {
		t.Errorf("running: %v; want the version on the former port, too", all)
	}
	d := f.daemon()
	current, _ := f.store.current("demo")
	for _, port := range []int{0, old, f.port} {
		if port > 0 {
			n := registry.Node{Name: "app1", Role: cluster.RoleApp, State: registry.NodeReady, Applications: []registry.Application{{Name: "demo", Port: port, State: registry.AppRunning}}}
			check(t, registry.WriteNode(t.Context(), f.registry, n, false))
		}
		if is := d.isPublished(t.Context(), current); is != (port == f.port) {
			t.Errorf("with port %d in the registry: isPublished() = %t", port, is)
		}
	}
	other := current.Manifest
	other.Application, other.Port = "other", old
	if err := d.claim(t.Context(), other); err == nil || !strings.Contains(err.Error(), "still used by version 1.0 of application demo") {
		t.Errorf("another application claims the port: %v, want an error", err)
	}
}

// registryReads returns how often entries have been read.
func (f *fixture) registryReads() (n int64) {
	f.t.Helper()
	info, err := f.registry.Info(f.t.Context(), "commandstats").Result()
	check(f.t, err)
	if _, calls, found := strings.Cut(info, "cmdstat_mget:calls="); found {
		_, err = fmt.Sscanf(calls, "%d", &n)
		check(f.t, err)
	}
	return n
}

func TestRecentConnectionsAreFound(t *testing.T) {
	const tcp = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 14808759 1 00000000c7175c21 100 0 0 10 0
   1: 0A02000A:1F41 1402000A:8DE2 01 00000000:00000000 00:00000000 00000000     0        0 14808760 1 00000000c7175c21 20 4 30 10 -1
   2: 0A02000A:1F42 1402000A:8DE3 06 00000000:00000000 03:0000176C 00000000     0        0 0 3 00000000c7175c21
   3: 0A02000A:1F43 1402000A:8DE4 06 00000000:00000000 03:0000144F 00000000     0        0 0 3 00000000c7175c21
`
	if got := connectedPorts(strings.NewReader(tcp)); !slices.Equal(got, []int{8001, 8002}) {
		t.Errorf("got %v, want the ports of the open connection and of the one that was closed 0.04 s ago", got)
	}
}
