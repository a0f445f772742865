package load

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

func TestFailuresAreCounted(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n := asked.Add(1); n > 10 && n <= 15 {
			w.WriteHeader(http.StatusBadGateway)
		}
		_, _ = w.Write([]byte(`{"node": "app1"}`))
	}))
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	r := Run(ctx, Options{URL: server.URL, Rate: 100})
	if r.Failed != 5 || r.Errors["status 502"] != 5 {
		t.Errorf("5 requests got 502, and the report is %v", r)
	}
	if int64(r.Requests) != asked.Load() || r.Requests < 20 || r.Answers["app1"] != r.Requests {
		t.Errorf("the server was asked %d times, and the report is %+v", asked.Load(), r)
	}
	if r.Outage <= 0.01 || r.Outage > 0.4 || r.Max <= 0 || r.P50 > r.P99 {
		t.Errorf("the report is %+v", r)
	}
}

func TestAllRequestsFailWithoutAServer(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if r := Run(ctx, Options{URL: server.URL, Rate: 50}); r.Requests == 0 || r.Failed != r.Requests || r.Errors["connection refused"] != r.Failed {
		t.Errorf("the report is %+v", r)
	}
}
