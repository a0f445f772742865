// Package spectest provides a cluster specification for unit tests.
package spectest

import (
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

// Reference returns the specification of the reference cluster: seven nodes, at
// least one of each role.
func Reference() *clusterspec.Spec {
	s := &clusterspec.Spec{Name: "production", VPCID: "vpc-1", VPNCIDR: "10.100.0.0/16", Nodes: map[string]clusterspec.Node{},
		Buckets: clusterspec.Buckets{Uploads: "uploads-1", PGDump: "pgdump-1", WALG: "walg-1", Logs: "logs-1"}}
	for _, n := range []clusterspec.Node{
		{Name: "edge", Role: model.RoleLoadBalancer, Address: "10.0.1.10", EIPID: "eipalloc-1"},
		{Name: "gateway", Role: model.RoleWireGuard, Address: "10.0.1.11", EIPID: "eipalloc-2"},
		{Name: "app1", Role: model.RoleApp, Address: "10.0.2.10"},
		{Name: "app2", Role: model.RoleApp, Address: "10.0.2.11"},
		{Name: "management", Role: model.RoleManagement, Address: "10.0.2.20"},
		{Name: "db1", Role: model.RoleDB, Address: "10.0.2.30", VolumeID: "vol-1"},
		{Name: "db2", Role: model.RoleDB, Address: "10.0.2.31", VolumeID: "vol-2"},
	} {
		n.InstanceType, n.ImageID, n.SubnetID = "t3.small", "ami-1", "subnet-1"
		s.Nodes[n.Name] = n
	}
	return s
}
