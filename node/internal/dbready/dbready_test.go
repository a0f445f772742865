package dbready

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/go-hclog"
)

func TestNodeIsReadyAsPrimaryOrWithASynchronousReplica(t *testing.T) {
	leader := member{"db1", "leader", "running"}
	for name, c := range map[string]struct {
		members []member
		missing string
	}{
		"not joined":                        {nil, "not joined"},
		"primary":                           {[]member{{"db2", "leader", "running"}}, ""},
		"starting primary":                  {[]member{{"db2", "leader", "starting"}}, "starting"},
		"recovering replica":                {[]member{leader, {"db2", "replica", "running"}}, "state running"},
		"copying replica":                   {[]member{leader, {"db2", "replica", "creating replica"}}, "creating replica"},
		"no synchronous replica":            {[]member{leader, {"db2", "replica", "streaming"}}, "no synchronous"},
		"synchronous replica":               {[]member{leader, {"db2", "sync_standby", "streaming"}}, ""},
		"another synchronous replica":       {[]member{leader, {"db2", "replica", "streaming"}, {"db3", "sync_standby", "streaming"}}, ""},
		"synchronous replica not streaming": {[]member{leader, {"db2", "replica", "streaming"}, {"db3", "sync_standby", "running"}}, "no synchronous"},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkMember(c.members, "db2", true)
			if (err == nil) != (c.missing == "") || err != nil && !strings.Contains(err.Error(), c.missing) {
				t.Errorf("checkMember() = %v, want %q", err, c.missing)
			}
		})
	}
}

func TestWaitRetriesUntilPatroniAnswers(t *testing.T) {
	var requests atomic.Int32
	patroni := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case requests.Add(1) == 1:
			w.WriteHeader(http.StatusBadGateway)
		case r.URL.Path == "/config":
			_, _ = w.Write([]byte(`{"ttl": 20, "synchronous_mode": false}`))
		default:
			_, _ = w.Write([]byte(`{"members": [{"name": "db1", "role": "replica", "state": "streaming"}]}`))
		}
	}))
	defer patroni.Close()
	if err := wait(t.Context(), patroni.URL, "db1", hclog.NewNullLogger()); err != nil || requests.Load() != 3 {
		t.Errorf("wait() = %v after %d requests, want nil after 3", err, requests.Load())
	}
}
