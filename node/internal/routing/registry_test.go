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
	w, _ := shop(t)
	report := w.underLoad(load.Options{URL: w.url("/api/shop/x"), Rate: 200}, func() {
		w.redis.Kill()
		w.redis.Forget()
		time.Sleep(300 * time.Millisecond)
		w.redis.Restart()
		w.look()
		if !w.has("app_shop", "app1") || !w.has("app_shop", "app2") {
			t.Error("an empty registry took servers out")
		}
		// One that is heard of again does not push out the other.
		w.beat("app1", registry.NodeReady, application("shop", 8000), application("more", 8000))
		w.within(3*time.Second, "what is new is routed", func() bool { status, _ := w.get("/api/more"); return status == http.StatusOK })
		if !w.has("app_shop", "app2") {
			t.Error("app2 was taken out")
		}
	})
	w.noneFailed(report)
}

func TestRestartWithAnEmptyRegistryKeepsWhatWasKnown(t *testing.T) {
	w, _ := shop(t)
	report := w.underLoad(load.Options{URL: w.url("/api/shop/x"), Rate: 200}, func() {
		w.stopDaemon()
		w.redis.Kill()
		w.redis.Forget()
		w.redis.Restart()
		w.startDaemon()
		w.look()
		for _, name := range []string{"app1", "app2"} {
			if !w.has("app_shop", name) {
				t.Errorf("%s was taken out", name)
			}
		}
	})
	w.noneFailed(report)
}

func TestRegistryThatIsAwayStopsNothing(t *testing.T) {
	w, nodes := shop(t)
	report := w.underLoad(load.Options{URL: w.url("/api/shop/x"), Rate: 200}, func() {
		w.redis.Kill()
		nodes["app1"].kill()
		w.within(1500*time.Millisecond, "app1 is out", func() bool { return !w.up("app_shop", "app1") })
		w.remove("app1") // the topology counts, also now
		w.within(3*time.Second, "app1 is no server", func() bool { return !w.has("app_shop", "app1") })
	})
	w.noneFailed(report)
	w.redis.Restart()
	w.beat("app2", registry.NodeReady, application("shop", 8000), application("more", 8000))
	took := w.within(7*time.Second, "the registry counts again", func() bool { status, _ := w.get("/api/more"); return status == http.StatusOK })
	t.Logf("after %s", took)
}

// What Redis does when its clock jumps ahead is to expire keys whose time, by the
// wall clock, has come.
func TestKeysThatAJumpOfTheClockExpiresTakeNobodyOut(t *testing.T) {
	w, _ := shop(t)
	report := w.underLoad(load.Options{URL: w.url("/api/shop/x"), Rate: 200}, func() {
		for _, name := range []string{"app1", "app2"} {
			if err := w.admin.PExpireAt(t.Context(), registry.NodeKey(name), time.Unix(1, 0)).Err(); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.admin.Publish(t.Context(), registry.TopologyChannel, "app1").Err(); err != nil {
			t.Fatal(err)
		}
		w.look()
		if !w.has("app_shop", "app1") || !w.has("app_shop", "app2") {
			t.Error("keys that expired took servers out")
		}
	})
	w.noneFailed(report)
}

func TestSilentNodeIsGoneAfterNinetySecondsOfReading(t *testing.T) {
	begin := time.Now()
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	entry := func(seconds int) registry.Node { return registry.Node{UpdatedAt: at(seconds)} }
	v := newView(nil)
	v.update(map[string]registry.Node{"a": entry(0), "b": entry(0)}, at(0))
	check := func(what, node string, wantFresh bool) {
		t.Helper()
		if _, fresh, known := v.says(node); fresh != wantFresh || !known {
			t.Errorf("%s: fresh %t, known %t", what, fresh, known)
		}
	}
	for s := 30; s <= 60; s += 30 {
		v.update(map[string]registry.Node{"a": entry(s)}, at(s))
	}
	check("silent for 60 s", "b", true)
	v.interrupted()
	v.update(map[string]registry.Node{"a": entry(400)}, at(400))
	check("nobody could be heard", "b", true)
	v.update(map[string]registry.Node{"a": entry(430), "b": entry(0)}, at(430))
	check("heard, and an entry lies there that nobody wrote again", "b", false)
	check("heard", "a", true)
	v.update(map[string]registry.Node{"b": entry(431)}, at(431))
	check("heard again", "b", true)
}

func TestOneNodeThatIsHeardOfTakesOutThoseThatAreSilentAndNobodyDoesNot(t *testing.T) {
	known := map[string]bool{"app1": true, "app2": false}
	says := func(node string) (registry.Node, bool, bool) {
		return registry.Node{Applications: []registry.Application{application("shop", 8000)}}, known[node], true
	}
	w := &world{t: t, network: "127.0.0."}
	for _, test := range []struct {
		fresh1, fresh2 bool
		want           string
	}{
		{true, true, "[app1 app2]"}, {true, false, "[app1]"}, {false, true, "[app2]"}, {false, false, "[app1 app2]"},
	} {
		known["app1"], known["app2"] = test.fresh1, test.fresh2
		routes, _ := newRoutes(twoApps(w), says)
		var names []string
		for _, s := range routes.Applications[0].Servers {
			names = append(names, s.Name)
		}
		if got := fmt.Sprint(names); got != test.want {
			t.Errorf("fresh %t, %t: servers %s, want %s", test.fresh1, test.fresh2, got, test.want)
		}
	}
}
