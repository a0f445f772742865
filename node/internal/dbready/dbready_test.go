package dbready

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/go-hclog"
)

func TestANodeIsReadyOnceItLeadsOrTheClusterCanLoseItsPrimary(t *testing.T) {
	leader := member{"db1", "leader", "running"}
	for name, c := range map[string]struct {
		members []member
		lacks   string
	}{
		"not joined":              {nil, "not in"},
		"leads":                   {[]member{{"db2", "leader", "running"}}, ""},
		"is to lead":              {[]member{{"db2", "leader", "starting"}}, "starting"},
		"recovers":                {[]member{leader, {"db2", "replica", "running"}}, "neither"},
		"copies":                  {[]member{leader, {"db2", "replica", "creating replica"}}, "creating replica"},
		"nobody is waited for":    {[]member{leader, {"db2", "replica", "streaming"}}, "no replica"},
		"is waited for":           {[]member{leader, {"db2", "sync_standby", "streaming"}}, ""},
		"another is waited for":   {[]member{leader, {"db2", "replica", "streaming"}, {"db3", "sync_standby", "streaming"}}, ""},
		"who was waited for died": {[]member{leader, {"db2", "replica", "streaming"}, {"db3", "sync_standby", "running"}}, "no replica"},
	} {
		t.Run(name, func(t *testing.T) {
			err := lacks(c.members, "db2", true)
			if (err == nil) != (c.lacks == "") || err != nil && !strings.Contains(err.Error(), c.lacks) {
				t.Errorf("it lacks %v, want %q", err, c.lacks)
			}
		})
	}
}

func TestItWaitsForPatroni(t *testing.T) {
	var asked atomic.Int32
	patroni := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case asked.Add(1) == 1:
			w.WriteHeader(http.StatusBadGateway)
		case r.URL.Path == "/config":
			_, _ = w.Write([]byte(`{"ttl": 20, "synchronous_mode": false}`))
		default:
			_, _ = w.Write([]byte(`{"members": [{"name": "db1", "role": "replica", "state": "streaming"}]}`))
		}
	}))
	defer patroni.Close()
	if err := wait(t.Context(), patroni.URL, "db1", hclog.NewNullLogger()); err != nil || asked.Load() != 3 {
		t.Errorf("got %v after %d requests", err, asked.Load())
	}
}
