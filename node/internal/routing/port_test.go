//go:build linux

package routing

import (
	"fmt"
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/internal/testkit/load"
)

func TestAServersPortChangesWithoutAFailedRequest(t *testing.T) {
	w, nodes := shop(t)
	app1 := w.topology.Nodes[1].Address
	report := w.underLoad(load.Options{URL: w.url("/api/shop/x"), Rate: 200, Fresh: true, Method: "POST", Body: "{}"}, func() {
		for n, health := range []string{"/healthz", "/health"} { // in place, and with a reload
			port := 8001 + n
			next := serve(t, "app1", fmt.Sprintf("%s:%d", app1, port), nil)
			a := application("shop", port)
			a.HealthPath = health
			w.beat("app1", registry.NodeReady, a)
			took := w.within(2*time.Second, "HAProxy has the new port", func() bool {
				all, err := runningServers(t.Context(), w.settings.StatsSocket)
				return err == nil && all["app_shop"]["app1"].port == port
			})
			t.Logf("after %s", took)
			time.Sleep(500 * time.Millisecond) // what was sent to the old one
			nodes["app1"].kill()
			nodes["app1"] = next
			for began := time.Now(); time.Since(began) < 3*time.Second; time.Sleep(20 * time.Millisecond) { // checks among them
				if !w.up("app_shop", "app1") {
					t.Fatal("the server is down: it is still checked at its old port")
				}
			}
		}
	})
	w.noneFailed(report)
}
