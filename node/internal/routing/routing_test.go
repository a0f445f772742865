//go:build linux

package routing

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/internal/testkit/load"
)

// shop is a cluster whose nodes app1 and app2 run the application shop.
func shop(t *testing.T) (w *world, nodes map[string]*appNode) {
	t.Helper()
	w = newWorld(t)
	nodes = map[string]*appNode{}
	for _, name := range []string{"app1", "app2"} {
		nodes[name] = serve(t, name, w.add(name, cluster.RoleApp)+":8000", nil)
		w.beat(name, registry.NodeReady, application("shop", 8000))
	}
	w.start()
	for name := range nodes {
		w.within(3*time.Second, name+" is up", func() bool { return w.up("app_shop", name) })
	}
	return w, nodes
}

// underLoad sends requests while during runs and for a moment after it.
func (w *world) underLoad(o load.Options, during func()) load.Report {
	w.t.Helper()
	ctx, stop := context.WithCancel(w.t.Context())
	defer stop()
	done := make(chan load.Report, 1)
	go func() { done <- load.Run(ctx, o) }()
	time.Sleep(300 * time.Millisecond) // of load as usual
	during()
	time.Sleep(300 * time.Millisecond)
	stop()
	report := <-done
	w.t.Log(report)
	return report
}

func (w *world) noneFailed(r load.Report) {
	w.t.Helper()
	if r.Failed > 0 {
		w.t.Errorf("%d of %d requests failed: %v", r.Failed, r.Requests, r.Errors)
	}
}

func TestNewNodeGetsTrafficWithinTwoSeconds(t *testing.T) {
	w := newWorld(t)
	first := w.add("app1", cluster.RoleApp)
	w.start()
	serve(t, "app1", first+":8000", nil)
	w.beat("app1", registry.NodeReady, application("shop", 8000))
	took := w.within(2*time.Second, "app1 answers", func() bool { status, by := w.get("/api/shop/x"); return status == 200 && by == "app1" })
	t.Logf("first node after %s", took)

	second := w.add("app2", cluster.RoleApp)
	serve(t, "app2", second+":8000", nil)
	w.beat("app2", registry.NodeReady, application("shop", 8000))
	took = w.within(2*time.Second, "app2 answers", func() bool { _, by := w.get("/api/shop"); return by == "app2" })
	t.Logf("second node after %s", took)
}

func TestDeadNodeIsOutWithoutAFailedIdempotentRequest(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPut} {
		t.Run(method, func(t *testing.T) {
			w, nodes := shop(t)
			report := w.underLoad(load.Options{URL: w.url("/api/shop/x"), Method: method, Body: "{}", Rate: 200}, func() {
				nodes["app1"].kill()
				took := w.within(1500*time.Millisecond, "app1 is out", func() bool { return !w.up("app_shop", "app1") })
				t.Logf("out after %s", took)
			})
			w.noneFailed(report)
		})
	}
}

func TestNodeThatComesBackServesAgain(t *testing.T) {
	w, nodes := shop(t)
	nodes["app1"].kill()
	w.within(2*time.Second, "app1 is out", func() bool { return !w.up("app_shop", "app1") })
	serve(t, "app1", w.topology.Nodes[1].Address+":8000", nil)
	took := w.within(2*time.Second, "app1 is up", func() bool { return w.up("app_shop", "app1") })
	t.Logf("up after %s", took)
}

func TestDrainedNodeEndsWhatItHasAndGetsNothingNew(t *testing.T) {
	w := newWorld(t)
	finish, begun := make(chan struct{}), make(chan struct{}, 1)
	slow := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/slow") {
			begun <- struct{}{}
			<-finish
		}
	})
	serve(t, "app1", w.add("app1", cluster.RoleApp)+":8000", slow)
	w.beat("app1", registry.NodeReady, application("shop", 8000))
	w.start()
	w.within(3*time.Second, "app1 is up", func() bool { return w.up("app_shop", "app1") })
	answer := make(chan int, 1)
	go func() { status, _ := w.get("/api/shop/slow"); answer <- status }()
	<-begun
	serve(t, "app2", w.add("app2", cluster.RoleApp)+":8000", nil)
	w.beat("app2", registry.NodeReady, application("shop", 8000))
	w.within(3*time.Second, "app2 is up", func() bool { return w.up("app_shop", "app2") })

	report := w.underLoad(load.Options{URL: w.url("/api/shop/x"), Rate: 200}, func() {
		w.beat("app1", registry.NodeDraining, application("shop", 8000))
		w.within(2*time.Second, "app1 drains", func() bool { return w.weight("app_shop", "app1") == "0" })
		for range 50 {
			if _, by := w.get("/api/shop/x"); by != "app2" {
				t.Fatalf("%s served a new request", by)
			}
		}
	})
	w.noneFailed(report)
	close(finish)
	if status := <-answer; status != http.StatusOK {
		t.Errorf("the request that app1 had in hand: status %d", status)
	}

	w.beat("app1", registry.NodeReady, application("shop", 8000))
	w.within(2*time.Second, "app1 serves again", func() bool { return w.weight("app_shop", "app1") == "100" })
}

func TestAllDrainingStillServe(t *testing.T) {
	w, _ := shop(t)
	report := w.underLoad(load.Options{URL: w.url("/api/shop/x"), Rate: 100}, func() {
		w.beat("app1", registry.NodeDraining, application("shop", 8000))
		w.within(2*time.Second, "app1 drains", func() bool { return w.weight("app_shop", "app1") == "0" })
		w.beat("app2", registry.NodeDraining, application("shop", 8000))
		w.within(2*time.Second, "nobody drains", func() bool { return w.weight("app_shop", "app1") == "100" })
	})
	w.noneFailed(report)
}

func TestRemovedNodeIsTakenOut(t *testing.T) {
	w, nodes := shop(t)
	report := w.underLoad(load.Options{URL: w.url("/api/shop/x"), Rate: 200}, func() {
		w.remove("app1")
		w.within(2*time.Second, "app1 is no server", func() bool { return !w.has("app_shop", "app1") })
	})
	w.noneFailed(report)
	nodes["app1"].kill()
}

func TestApplicationThatStopsOnANodeIsTakenOutThere(t *testing.T) {
	w, _ := shop(t)
	failed := application("shop", 8000)
	failed.State = registry.AppFailed
	report := w.underLoad(load.Options{URL: w.url("/api/shop/x"), Rate: 200}, func() {
		w.beat("app1", registry.NodeReady, failed)
		w.within(2*time.Second, "app1 is no server", func() bool { return !w.has("app_shop", "app1") })
	})
	w.noneFailed(report)
}

func TestReloadDropsNoRequestAndNoConnection(t *testing.T) {
	w, _ := shop(t)
	w.database("db1", "primary")
	w.within(3*time.Second, "db1 is up", func() bool { return w.up("postgres_primary", "db1") })
	session := w.session(w.settings.Primary)
	for _, o := range []load.Options{{URL: w.url("/api/shop/x"), Rate: 200}, {URL: w.url("/api/shop/x"), Rate: 200, Fresh: true, Method: http.MethodPost, Body: "{}"}} {
		report := w.underLoad(o, func() {
			for n := range 5 {
				name := fmt.Sprintf("more%s%d", strings.ToLower(o.Method), n)
				w.beat("app1", registry.NodeReady, application("shop", 8000), application(name, 8000))
				w.within(2*time.Second, "the new application answers", func() bool { status, _ := w.get("/api/" + name); return status == http.StatusOK })
			}
		})
		w.noneFailed(report)
	}
	if by, err := session.ask(); err != nil || by != "db1" {
		t.Errorf("a connection that was open before: %q, %v", by, err)
	}
}

func TestPathsThatNobodyHas(t *testing.T) {
	w := newWorld(t)
	address := w.add("app1", cluster.RoleApp)
	inner := application("inner", 8001)
	inner.RoutePrefix = "/api/shop/inner"
	serve(t, "outer", address+":8000", nil)
	serve(t, "inner", address+":8001", nil)
	w.add("app2", cluster.RoleApp)
	w.beat("app1", registry.NodeReady, application("shop", 8000), inner, application("down", 8002))
	w.start()
	w.within(3*time.Second, "down is down", func() bool { status, _ := w.get("/api/down/"); return status == http.StatusServiceUnavailable })
	for _, test := range []struct {
		path   string
		status int
		by     string
	}{
		{"/api/shop", 200, "outer"},
		{"/api/shop/", 200, "outer"},
		{"/api/shop/innermost", 200, "outer"},
		{"/api/shop/inner", 200, "inner"},
		{"/api/shop/inner/x?y", 200, "inner"},
		{"/api/shopping", 404, ""},
		{"/api", 404, ""},
		{"/api/down/x", 503, ""},
	} {
		if status, by := w.get(test.path); status != test.status || by != test.by {
			t.Errorf("%s: status %d by %q, want %d by %q", test.path, status, by, test.status, test.by)
		}
	}
	for _, path := range []string{"/api/none", "/api/down"} {
		res, err := http.Get(w.url(path))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.Header.Get("Content-Type") != "application/json" || !strings.HasPrefix(string(body), `{"error":`) {
			t.Errorf("%s: %s %q, %v", path, res.Header.Get("Content-Type"), body, err)
		}
	}
}

func TestOnlyTheEdgeSaysWhoseASessionIs(t *testing.T) {
	w := newWorld(t)
	seen := make(chan string, 1)
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header.Get("X-Xeroops-Session") })
	serve(t, "app1", w.add("app1", cluster.RoleApp)+":8000", handler)
	edge := w.add("edge", cluster.RoleLoadBalancer)
	w.beat("app1", registry.NodeReady, application("shop", 8000))
	w.start()
	w.within(3*time.Second, "app1 is up", func() bool { return w.up("app_shop", "app1") })
	for from, want := range map[string]string{edge: "alice", w.network + "99": ""} {
		req, err := http.NewRequest(http.MethodGet, w.url("/api/shop"), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Xeroops-Session", "alice")
		res, err := w.clientAt(from).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if got := <-seen; got != want {
			t.Errorf("from %s: application saw session %q, want %q", from, got, want)
		}
	}
}

func TestConfigurationThatHAProxyRefusesReplacesNothing(t *testing.T) {
	w, _ := shop(t)
	w.stopDaemon()
	good := w.settings
	w.settings.Primary = "no such address"
	w.startDaemon()
	w.beat("app1", registry.NodeReady, application("shop", 8000), application("other", 8000))
	w.within(5*time.Second, "routing says what is wrong", func() bool { return w.log.has("haproxy -c") })
	if status, _ := w.get("/api/shop"); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	if shape, err := runningShape(t.Context(), good.StatsSocket); err != nil || shape == "" {
		t.Errorf("HAProxy: %q, %v", shape, err)
	}
}
