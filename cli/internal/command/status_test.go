//go:build linux

package command

import (
	"encoding/json"
	"testing"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/registry"
)

func TestStatusShowsNodesAndApplications(t *testing.T) {
	f := newFixture(t)
	f.heartbeat("app1", registry.Application{Name: "notes", Version: "1.0", State: registry.AppRunning})
	f.setJSON(registry.NodeKey("management"), registry.Node{Name: "management", Role: cluster.RoleManagement, State: registry.NodeDegraded,
		Resources: registry.Resources{CPUs: 2, Load1: 0.5, MemoryBytes: 100, MemoryAvailableBytes: 25, UptimeSeconds: 61},
		Services:  []registry.ServiceHealth{{Name: "haproxy", State: "failed", Detail: "exit status 1"}, {Name: "redis", State: "active", Healthy: true}}})
	report, err := json.Marshal(cluster.BootReport{Node: "app2", State: cluster.BootFailed, Error: "no credentials yet"})
	if err != nil {
		t.Fatal(err)
	}
	f.put(cluster.Layout{Cluster: "production"}.Report("app2"), string(report))
	report, err = json.Marshal(cluster.BootReport{Node: "app1", State: cluster.BootReady, Services: []cluster.ServiceReport{
		{Name: cluster.CertificatesService, State: "active", Detail: "the certificate of authority nodes expires on 2026-12-01"}}})
	if err != nil {
		t.Fatal(err)
	}
	f.put(cluster.Layout{Cluster: "production"}.Report("app1"), string(report))
	f.desire("1.1", "user/jane")

	f.run("status").expect(t, 0, "degraded", "0.50/2", "75%", "1m1s", "haproxy failed exit status 1",
		"app2", "absent", "no heartbeat; its boot report: no credentials yet", "expires on 2026-12-01", "app1 1.0, app2 none", "user/jane")

	var s clusterStatus
	r := f.run("status", "--json")
	r.expect(t, 0)
	if err := json.Unmarshal([]byte(r.out), &s); err != nil {
		t.Fatal(err)
	}
	if s.Healthy || len(s.Nodes) != 3 || len(s.Applications) != 1 || s.Applications[0].Running["app1"] != "1.0" {
		t.Errorf("the status is %+v", s)
	}
}

func TestStatusWithoutTheRegistryShowsBootReports(t *testing.T) {
	f := newFixture(t)
	r := f.run("status", "--via", "false")
	r.expect(t, exitUnreachable, "app1", "no heartbeat and no boot report")
	f.run("status", "--via", "false", "--json").expect(t, exitUnreachable, `"registry_error"`)
	f.run("deployments").expect(t, 0, "no applications are deployed")
	f.run("deployments", "../etc").expect(t, exitUsage, "application name")
}
