//go:build linux

package routing

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/internal/testkit/load"
)

// shop starts a cluster whose nodes app1 and app2 run the application shop.
func shop(t *testing.T) (f *fixture, nodes map[string]*appNode) {
	t.Helper()
	f = newFixture(t)
	nodes = map[string]*appNode{}
	for _, name := range []string{"app1", "app2"} {
		nodes[name] = f.serve(name, f.add(name, cluster.RoleApp)+":8000", nil)
		f.beat(name, registry.NodeReady, application("shop", 8000))
	}
	f.start()
	for name := range nodes {
		f.await(name+" to be up", func() bool { return f.up("app_shop", name) })
	}
	f.await("the former worker to accept no more connections", func() bool { return f.servesNewConnections("/api/shop/x", 20) })
	return f, nodes
}

// underLoad sends requests before, during and after what a test does.
func (f *fixture) underLoad(o load.Options, during func()) load.Report {
	f.t.Helper()
	ctx, stop := context.WithCancel(f.t.Context())
	defer stop()
	done := make(chan load.Report, 1)
	go func() { done <- load.Run(ctx, o) }()
	f.awaitServed(60)
	during()
	f.awaitServed(60)
	stop()
	report := <-done
	f.t.Log(report)
	return report
}

// awaitServed waits until nodes have served n further requests.
func (f *fixture) awaitServed(n int64) {
	f.t.Helper()
	before := f.served.Load()
	f.await(fmt.Sprintf("%d requests", n), func() bool { return f.served.Load() >= before+n })
}

func (f *fixture) noneFailed(r load.Report) {
	f.t.Helper()
	if r.Failed > 0 {
		f.t.Errorf("%d of %d requests failed: %v", r.Failed, r.Requests, r.Errors)
	}
}

func TestNewNodeGetsTraffic(t *testing.T) {
	f := newFixture(t)
	first := f.add("app1", cluster.RoleApp)
	f.start()
	f.serve("app1", first+":8000", nil)
	f.beat("app1", registry.NodeReady, application("shop", 8000))
	f.await("app1 to answer", func() bool { status, by := f.get("/api/shop/x"); return status == 200 && by == "app1" })

	second := f.add("app2", cluster.RoleApp)
	f.serve("app2", second+":8000", nil)
	f.beat("app2", registry.NodeReady, application("shop", 8000))
	f.await("app2 to answer", func() bool { _, by := f.get("/api/shop"); return by == "app2" })
}

func TestDeadNodeIsOutWithoutAFailedIdempotentRequest(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPut} {
		t.Run(method, func(t *testing.T) {
			f, nodes := shop(t)
			report := f.underLoad(load.Options{URL: f.url("/api/shop/x"), Method: method, Body: "{}", Rate: 200}, func() {
				nodes["app1"].kill()
				f.await("app1 to be down", func() bool { return !f.up("app_shop", "app1") })
			})
			f.noneFailed(report)
		})
	}
}

func TestNodeThatComesBackServesAgain(t *testing.T) {
	f, nodes := shop(t)
	nodes["app1"].kill()
	f.await("app1 to be down", func() bool { return !f.up("app_shop", "app1") })
	f.serve("app1", f.topology.Nodes[1].Address+":8000", nil)
	f.await("app1 to be up", func() bool { return f.up("app_shop", "app1") })
}

func TestDrainingNodeFinishesItsRequestsAndGetsNoNewOnes(t *testing.T) {
	f := newFixture(t)
	finish, begun := make(chan struct{}), make(chan struct{}, 1)
	slow := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/slow") {
			begun <- struct{}{}
			<-finish
		}
	})
	f.serve("app1", f.add("app1", cluster.RoleApp)+":8000", slow)
	f.beat("app1", registry.NodeReady, application("shop", 8000))
	f.start()
	f.await("app1 to be up", func() bool { return f.up("app_shop", "app1") })
	answer := make(chan int, 1)
	go func() { status, _ := f.get("/api/shop/slow"); answer <- status }()
	<-begun
	f.serve("app2", f.add("app2", cluster.RoleApp)+":8000", nil)
	f.beat("app2", registry.NodeReady, application("shop", 8000))
	f.await("app2 to be up", func() bool { return f.up("app_shop", "app2") })

	report := f.underLoad(load.Options{URL: f.url("/api/shop/x"), Rate: 200}, func() {
		f.beat("app1", registry.NodeDraining, application("shop", 8000))
		f.await("app1 to drain", func() bool { return f.weight("app_shop", "app1") == "0" })
		for range 50 {
			if _, by := f.get("/api/shop/x"); by != "app2" {
				t.Fatalf("%s served a new request, want app2", by)
			}
		}
	})
	f.noneFailed(report)
	close(finish)
	if status := <-answer; status != http.StatusOK {
		t.Errorf("the request in progress on app1: status %d, want 200", status)
	}

	f.beat("app1", registry.NodeReady, application("shop", 8000))
	f.await("app1 to serve again", func() bool { return f.weight("app_shop", "app1") == "100" })
}

func TestAllDrainingStillServe(t *testing.T) {
	f, _ := shop(t)
	report := f.underLoad(load.Options{URL: f.url("/api/shop/x"), Rate: 100}, func() {
		f.beat("app1", registry.NodeDraining, application("shop", 8000))
		f.await("app1 to drain", func() bool { return f.weight("app_shop", "app1") == "0" })
		f.beat("app2", registry.NodeDraining, application("shop", 8000))
		f.await("app1 to serve again", func() bool { return f.weight("app_shop", "app1") == "100" })
	})
	f.noneFailed(report)
}

func TestNodeThatLeavesTheTopologyIsRemoved(t *testing.T) {
	f, nodes := shop(t)
	report := f.underLoad(load.Options{URL: f.url("/api/shop/x"), Rate: 200}, func() {
		f.remove("app1")
		f.await("app1 to be removed", func() bool { return !f.has("app_shop", "app1") })
	})
	f.noneFailed(report)
	nodes["app1"].kill()
}

func TestNodeWithAFailedApplicationIsRemoved(t *testing.T) {
	f, _ := shop(t)
	failed := application("shop", 8000)
	failed.State = registry.AppFailed
	report := f.underLoad(load.Options{URL: f.url("/api/shop/x"), Rate: 200}, func() {
		f.beat("app1", registry.NodeReady, failed)
		f.await("app1 to be removed", func() bool { return !f.has("app_shop", "app1") })
	})
	f.noneFailed(report)
}

func TestRoutesArePublishedOnceServersAreUp(t *testing.T) {
	f, nodes := shop(t)
	published := func(ports string) func() bool {
		return func() bool {
			routes, known, err := registry.ReadRoutes(t.Context(), f.node)
			return err == nil && known && fmt.Sprint(routes["shop"].Prefixes, routes["shop"].Ports) == "[/api/shop] "+ports
		}
	}
	f.await("both nodes' routes", published("map[app1:8000 app2:8000]"))
	nodes["app1"].kill()
	f.await("app1 to be down", func() bool { return !f.up("app_shop", "app1") })
	f.beat("app1", registry.NodeReady, application("shop", 8001))
	f.await("the new port to be pending", published("map[app2:8000]"))
	f.serve("app1", f.topology.Nodes[1].Address+":8001", nil)
	f.await("the new port", published("map[app1:8001 app2:8000]"))
	if status, _ := f.get("/api/shop"); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	if err := f.admin.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	f.beat("app2", registry.NodeReady, application("shop", 8000))
	f.await("the routes after the registry lost them", published("map[app1:8001 app2:8000]"))
}

func TestApplicationWithoutAnInstanceIsNamedIn503(t *testing.T) {
	f, nodes := shop(t)
	if err := f.admin.SAdd(t.Context(), registry.ApplicationsKey, "shop").Err(); err != nil {
		t.Fatal(err)
	}
	unavailable := func(what string) {
		t.Helper()
		f.await("503 with the name: "+what, func() bool {
			res, err := http.Get(f.url("/api/shop/x"))
			if err != nil {
				return false
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if res.StatusCode == http.StatusNotFound {
				t.Fatalf("%s: 404 %s", what, body)
			}
			return err == nil && res.StatusCode == http.StatusServiceUnavailable && res.Header.Get("Content-Type") == "application/json" &&
				strings.Contains(string(body), "application shop ")
		})
	}
	failed := application("shop", 8000)
	failed.State = registry.AppFailed
	for name := range nodes {
		f.beat(name, registry.NodeReady, failed)
	}
	f.await("the servers to be removed", func() bool { return !f.has("app_shop", "app1") && !f.has("app_shop", "app2") })
	unavailable("all instances have failed")
	for name := range nodes {
		f.remove(name)
	}
	f.add("app3", cluster.RoleApp)
	f.beat("app3", registry.NodeReady)
	f.resync()
	unavailable("the nodes were replaced")
	f.stopDaemon()
	f.killHAProxy()
	f.startDaemon()
	f.startHAProxy()
	unavailable("after a restart")
	f.beat("app3", registry.NodeReady, application("other", 8001))
	if err := f.admin.SRem(t.Context(), registry.ApplicationsKey, "shop").Err(); err != nil {
		t.Fatal(err)
	}
	if err := f.admin.SAdd(t.Context(), registry.ApplicationsKey, "other").Err(); err != nil {
		t.Fatal(err)
	}
	f.resync()
	f.await("404 of an application that is no longer desired", func() bool { status, _ := f.get("/api/shop/x"); return status == http.StatusNotFound })
}

func TestReloadDropsNoRequestAndNoConnection(t *testing.T) {
	f, _ := shop(t)
	f.database("db1", "primary")
	f.await("db1 to be up", func() bool { return f.up("postgres_primary", "db1") })
	session := f.session(f.settings.Primary)
	for _, o := range []load.Options{{URL: f.url("/api/shop/x"), Rate: 200}, {URL: f.url("/api/shop/x"), Rate: 200, Fresh: true, Method: http.MethodPost, Body: "{}"}} {
		report := f.underLoad(o, func() {
			for n := range 5 {
				name := fmt.Sprintf("more%s%d", strings.ToLower(o.Method), n)
				f.beat("app1", registry.NodeReady, application("shop", 8000), application(name, 8000))
				f.await("the new application to answer", func() bool { status, _ := f.get("/api/" + name); return status == http.StatusOK })
			}
		})
		f.noneFailed(report)
	}
	if by, err := session.ask(); err != nil || by != "db1" {
		t.Errorf("the session that was open before the reloads: %q, %v; want db1", by, err)
	}
}

// The edge keeps connections to HAProxy open, and repeats no POST.
func TestReloadClosesNoKeptConnectionUnderAPOST(t *testing.T) {
	f, _ := shop(t)
	report := f.underLoad(load.Options{URL: f.url("/api/shop/x"), Rate: 400, Method: http.MethodPost, Body: "{}"}, func() {
		for n := range 20 {
			name := fmt.Sprintf("more%d", n)
			f.beat("app1", registry.NodeReady, application("shop", 8000), application(name, 8000))
			f.await("the new application to answer", func() bool { status, _ := f.get("/api/" + name); return status == http.StatusOK })
		}
	})
	f.noneFailed(report)
}

func TestRequestsGoToTheLongestPrefix(t *testing.T) {
	f := newFixture(t)
	address := f.add("app1", cluster.RoleApp)
	inner := application("inner", 8001)
	inner.RoutePrefix = "/api/shop/inner"
	f.serve("outer", address+":8000", nil)
	f.serve("inner", address+":8001", nil)
	f.add("app2", cluster.RoleApp)
	f.beat("app1", registry.NodeReady, application("shop", 8000), inner, application("down", 8002))
	f.start()
	f.await("down to be down", func() bool { status, _ := f.get("/api/down/"); return status == http.StatusServiceUnavailable })
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
		if status, by := f.get(test.path); status != test.status || by != test.by {
			t.Errorf("%s: status %d by %q, want %d by %q", test.path, status, by, test.status, test.by)
		}
	}
	for _, path := range []string{"/api/none", "/api/down"} {
		res, err := http.Get(f.url(path))
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

func TestOnlyTheEdgeMaySetSessionHeaders(t *testing.T) {
	f := newFixture(t)
	seen := make(chan string, 1)
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header.Get("X-Xeroops-Session") })
	f.serve("app1", f.add("app1", cluster.RoleApp)+":8000", handler)
	edge := f.add("edge", cluster.RoleLoadBalancer)
	f.beat("app1", registry.NodeReady, application("shop", 8000))
	f.start()
	f.await("app1 to be up", func() bool { return f.up("app_shop", "app1") })
	for from, want := range map[string]string{edge: "alice", f.network + "99": ""} {
		req, err := http.NewRequest(http.MethodGet, f.url("/api/shop"), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Xeroops-Session", "alice")
		res, err := f.clientAt(from).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if got := <-seen; got != want {
			t.Errorf("from %s: the application got session %q, want %q", from, got, want)
		}
	}
}

func TestInvalidConfigurationIsNotInstalled(t *testing.T) {
	f, _ := shop(t)
	f.stopDaemon()
	good := f.settings
	f.settings.Primary = "no such address"
	f.startDaemon()
	f.beat("app1", registry.NodeReady, application("shop", 8000), application("other", 8000))
	f.await("routing to log the error", func() bool { return f.log.has("haproxy -c") })
	if status, _ := f.get("/api/shop"); status != http.StatusOK {
		t.Errorf("status %d, want 200", status)
	}
	if hash, err := runningConfigHash(t.Context(), good.StatsSocket); err != nil || hash == "" {
		t.Errorf("HAProxy runs configuration %q, %v; want the valid one", hash, err)
	}
}
