//go:build linux

package routing

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/internal/testkit/load"
)

func TestEmptyRegistryEmptiesNoBackend(t *testing.T) {
	f, _ := shop(t)
	report := f.underLoad(load.Options{URL: f.url("/api/shop/x"), Rate: 200}, func() {
		f.redis.Kill()
		f.redis.Forget()
		f.awaitServed(60)
		f.redis.Restart()
		f.resync()
		if !f.has("app_shop", "app1") || !f.has("app_shop", "app2") {
			t.Error("servers were removed because the registry was empty")
		}
		// The entry of one node does not remove the other.
		f.beat("app1", registry.NodeReady, application("shop", 8000), application("more", 8000))
		f.await("the new application to answer", func() bool { status, _ := f.get("/api/more"); return status == http.StatusOK })
		if !f.has("app_shop", "app2") {
			t.Error("app2 was removed")
		}
	})
	f.noneFailed(report)
}

func TestRestartWithAnEmptyRegistryKeepsServers(t *testing.T) {
	f, _ := shop(t)
	report := f.underLoad(load.Options{URL: f.url("/api/shop/x"), Rate: 200}, func() {
		f.stopDaemon()
		f.redis.Kill()
		f.redis.Forget()
		f.redis.Restart()
		f.startDaemon()
		f.resync()
		for _, name := range []string{"app1", "app2"} {
			if !f.has("app_shop", name) {
				t.Errorf("%s was removed", name)
			}
		}
	})
	f.noneFailed(report)
}

func TestRegistryOutageStopsNothing(t *testing.T) {
	f, nodes := shop(t)
	report := f.underLoad(load.Options{URL: f.url("/api/shop/x"), Rate: 200}, func() {
		f.redis.Kill()
		nodes["app1"].kill()
		f.await("app1 to be down", func() bool { return !f.up("app_shop", "app1") })
		f.remove("app1") // the topology still applies
		f.await("app1 to be removed", func() bool { return !f.has("app_shop", "app1") })
	})
	f.noneFailed(report)
	f.redis.Restart()
	f.beat("app2", registry.NodeReady, application("shop", 8000), application("more", 8000))
	f.await("the registry to apply again", func() bool { status, _ := f.get("/api/more"); return status == http.StatusOK })
}

// Redis expires keys by the wall clock, so that a jump of its clock expires them early.
func TestKeysExpiredByAClockJumpRemoveNoServer(t *testing.T) {
	f, _ := shop(t)
	report := f.underLoad(load.Options{URL: f.url("/api/shop/x"), Rate: 200}, func() {
		for _, name := range []string{"app1", "app2"} {
			if err := f.admin.PExpireAt(t.Context(), registry.NodeKey(name), time.Unix(1, 0)).Err(); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.admin.Publish(t.Context(), registry.TopologyChannel, "app1").Err(); err != nil {
			t.Fatal(err)
		}
		f.resync()
		if !f.has("app_shop", "app1") || !f.has("app_shop", "app2") {
			t.Error("servers were removed because their keys had expired")
		}
	})
	f.noneFailed(report)
}

func TestNodeIsSilentAfterNinetySecondsOfReading(t *testing.T) {
	begin := time.Now()
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	entry := func(seconds int) registry.Node { return registry.Node{UpdatedAt: at(seconds)} }
	v := newView(saved{})
	v.update(map[string]registry.Node{"a": entry(0), "b": entry(0)}, at(0))
	check := func(what, node string, wantAlive bool) {
		t.Helper()
		if _, alive, known := v.lookup(node); alive != wantAlive || !known {
			t.Errorf("%s: alive %t, known %t; want alive %t", what, alive, known, wantAlive)
		}
	}
	for s := 30; s <= 60; s += 30 {
		v.update(map[string]registry.Node{"a": entry(s)}, at(s))
	}
	check("silent for 60 s", "b", true)
	v.interrupt()
	v.update(map[string]registry.Node{"a": entry(400)}, at(400))
	check("the registry was unavailable", "b", true)
	v.update(map[string]registry.Node{"a": entry(430), "b": entry(0)}, at(430))
	check("the entry exists but was not rewritten", "b", false)
	check("the entry was rewritten", "a", true)
	v.update(map[string]registry.Node{"b": entry(431)}, at(431))
	check("the entry was rewritten again", "b", true)
}

func TestSilentNodesAreRemovedOnlyIfAnotherIsAlive(t *testing.T) {
	alive := map[string]bool{}
	lookup := func(node string) (registry.Node, bool, bool) {
		return registry.Node{Applications: []registry.Application{application("shop", 8000)}}, alive[node], true
	}
	for _, test := range []struct {
		alive1, alive2 bool
		want           string
	}{
		{true, true, "[app1 app2]"}, {true, false, "[app1]"}, {false, true, "[app2]"}, {false, false, "[app1 app2]"},
	} {
		alive["app1"], alive["app2"] = test.alive1, test.alive2
		routes, _ := newRoutes(twoApps(), lookup)
		var names []string
		for _, s := range routes.Applications[0].Servers {
			names = append(names, s.Name)
		}
		if got := fmt.Sprint(names); got != test.want {
			t.Errorf("alive %t, %t: servers %s, want %s", test.alive1, test.alive2, got, test.want)
		}
	}
}
