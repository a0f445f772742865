package dbready

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/pki"
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
	patroni := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
	authority, err := pki.NewAuthority("test", pki.Nodes, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := authority.Issue(pki.Identity{Cluster: "test", Node: "db1", Role: cluster.RoleDB, Address: netip.MustParseAddr("10.0.2.30")}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pki.Generations{authority}.Bundle(), 0o600); err != nil {
		t.Fatal(err)
	}
	patroni.TLS = &tls.Config{Certificates: []tls.Certificate{certificate.TLS()}}
	patroni.StartTLS()
	if err := (patroniAPI{patroni.URL, ca, "db1"}).wait(t.Context(), hclog.NewNullLogger()); err != nil || requests.Load() != 3 {
		t.Errorf("wait() = %v after %d requests, want nil after 3", err, requests.Load())
	}
}
