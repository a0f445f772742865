//go:build linux

package routing

import (
	"net/http"
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/registry"
)

func TestNewNodeGetsTrafficWithinTwoSeconds(t *testing.T) {
	w := newWorld(t)
	first := w.add("app1", cluster.RoleApp)
	w.start()
	if status, _ := w.get("/api/shop/x"); status != http.StatusNotFound {
		t.Errorf("with no application: status %d, want 404", status)
	}
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
