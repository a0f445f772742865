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

	"github.com/xeroops/xeroops/internal/registry"
)

// routed is what stands between clients and a node: discovery, which says in the
// registry what the status file does, and routing, which follows some time later.
type routed struct {
	url   string
	delay atomic.Int64 // of routing
}

func (r *rig) routed() *routed {
	f := new(routed)
	var port atomic.Int64
	port.Store(int64(r.port))
	front := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(q *httputil.ProxyRequest) {
			q.SetURL(&url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port.Load())})
		},
		Transport: &http.Transport{DisableKeepAlives: true},
	})
	r.t.Cleanup(front.Close)
	f.url = front.URL
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	r.t.Cleanup(func() { cancel(); <-ended })
	go func() {
		defer close(ended)
		for last := 0; ctx.Err() == nil; {
			all := r.status()
			_ = registry.WriteNode(ctx, r.registry, registry.Node{Name: "app1", Applications: all, UpdatedAt: time.Now()}, true)
			if len(all) == 1 && all[0].Port != last {
				last = all[0].Port
				follow := time.AfterFunc(time.Duration(f.delay.Load()), func() { port.Store(int64(all[0].Port)) })
				defer follow.Stop()
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}()
	return f
}

// status is what the node says that it runs.
func (r *rig) status() []registry.Application {
	var all []registry.Application
	content, err := os.ReadFile(filepath.Join(filepath.Dir(r.store.root), "applications.json"))
	if err == nil {
		err = json.Unmarshal(content, &all)
	}
	if err != nil && !os.IsNotExist(err) {
		r.t.Error(err)
	}
	return all
}

// mustHaveJust waits until a version and its port are all that is left.
func (r *rig) mustHaveJust(version string, port int) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("nothing but %s on %d to be left", version, port), func() error {
		services, err := r.units.States(r.t.Context(), serviceStem+"*.service")
		if err != nil {
			return err
		}
		sockets, err := r.units.States(r.t.Context(), socketsPattern)
		if len(services) != 1 || services[serviceUnit("demo", version)] == "" || len(sockets) != 1 || sockets[socketUnit(port)] == "" {
			err = fmt.Errorf("there are %v and %v", services, sockets)
		}
		return err
	})
}

func TestAVersionOnAnotherPortFollowsUnderLoadWithoutAFailedRequest(t *testing.T) {
	r := newRig(t)
	r.start()
	first := r.publish(version{version: "1.0"})
	r.mustBeHealthy("1.0")
	old, next := r.port, freePort(t)
	way := r.routed()
	report := underLoadAt(way.url, func() {
		way.delay.Store(int64(followed + 2*time.Second)) // there are no messages, say
		r.port = next
		second := r.publish(version{version: "1.1"})
		r.mustBeHealthy("1.1")
		r.stop() // it is killed while the port changes
		r.start()
		r.mustHaveJust("1.1", next)
		way.delay.Store(int64(2 * time.Second))
		r.port = old
		r.desire("1.0", first.SHA256)
		r.mustBeHealthy("1.0")
		r.port = next
		r.desire("1.1", second.SHA256) // which serves on as the version before
		r.mustBeHealthy("1.1")
		r.mustHaveJust("1.1", next)
	})
	t.Log(report)
	if report.Failed > 0 {
		t.Errorf("%d of %d requests failed: %v", report.Failed, report.Requests, report.Errors)
	}
}

func TestAVersionThatFailsAloneOnAnotherPortChangesNothing(t *testing.T) {
	r := newRig(t)
	r.start()
	r.publish(version{version: "1.0"})
	r.mustBeHealthy("1.0")
	old := r.port
	r.port = freePort(t)
	tiring := fmt.Sprintf("asked = 0\ndef health():\n    global asked\n    asked += 1\n    return 200 if asked <= %d else 503\n", goodAnswers)
	r.publish(version{version: "1.1", begins: tiring, healthCode: "health()"})
	r.mustFail("1.1", "503")
	if all := r.status(); len(all) != 1 || all[0].Version != "1.0" || all[0].Port != old {
		t.Errorf("the node says that it runs %+v", all)
	}
	r.mustHaveJust("1.0", old)
	r.port = old
	if got := r.answer(); got != "1.0" {
		t.Errorf("%q answers", got)
	}
}

func TestAFormerPortIsServedUntilTheRegistryNamesTheNewOne(t *testing.T) {
	r := newRig(t)
	r.start()
	r.publish(version{version: "1.0"})
	r.mustBeHealthy("1.0")
	old := r.port
	r.port = freePort(t)
	r.publish(version{version: "1.1"})
	r.mustBeHealthy("1.1")
	time.Sleep(followed + 2*portsEvery) // in which it would have ended
	if all, _ := r.units.States(t.Context(), unitsOf("demo")); len(all) != 2 {
		t.Errorf("running: %v; want the version of the former port, too", all)
	}
	d := r.daemon()
	current, _ := r.store.current("demo")
	for _, port := range []int{0, old, r.port} {
		if port > 0 {
			n := registry.Node{Name: "app1", Applications: []registry.Application{{Name: "demo", Port: port}}}
			check(t, registry.WriteNode(t.Context(), r.registry, n, false))
		}
		if is := d.isNamed(t.Context(), current); is != (port == r.port) {
			t.Errorf("with port %d in the registry: %t", port, is)
		}
	}
	other := current.Manifest
	other.Application, other.Port = "other", old
	if err := d.claim(t.Context(), other); err == nil || !strings.Contains(err.Error(), "demo's until just now") {
		t.Errorf("another application gets the port: %v", err)
	}
}

func TestConnectionsThatCount(t *testing.T) {
	const tcp = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 14808759 1 00000000c7175c21 100 0 0 10 0
   1: 0A02000A:1F41 1402000A:8DE2 01 00000000:00000000 00:00000000 00000000     0        0 14808760 1 00000000c7175c21 20 4 30 10 -1
   2: 0A02000A:1F42 1402000A:8DE3 06 00000000:00000000 03:0000176C 00000000     0        0 0 3 00000000c7175c21
   3: 0A02000A:1F43 1402000A:8DE4 06 00000000:00000000 03:0000144F 00000000     0        0 0 3 00000000c7175c21
`
	if got := connected(strings.NewReader(tcp)); !slices.Equal(got, []int{8001, 8002}) {
		t.Errorf("got %v, want the port of the open connection and of the one that ended 0.04 s ago", got)
	}
}
