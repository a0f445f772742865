package configure

import (
	"fmt"

	"github.com/xeroops/xeroops/internal/cluster"
)

// Sample returns sample data of a node of the role in the reference cluster
// (docs/design.md#reference-cluster), for rendering templates without a
// cluster. Services' own checkers accept the result, and nothing in it is secret.
func Sample(role cluster.Role) (Data, error) {
	t := sampleTopology()
	d := Data{Role: string(role), Cluster: t.Cluster, Region: "eu-west-1", Topology: t, Credentials: map[string]string{}, CPUs: 2, MemoryMiB: 2048}
	for _, n := range t.Nodes {
		if n.Role == role && d.Node == "" {
			d.Node, d.Address = n.Name, n.Address
		}
	}
	if d.Node == "" {
		return d, fmt.Errorf("the reference cluster has no node of role %q", role)
	}
	for _, c := range cluster.CredentialsOf(role) {
		d.Credentials[c.Name] = sampleCredentials[c.Kind]
	}
	d.Config = map[string]string{
		"HOSTNAME": d.Node, "INSTANCE_ROLE": d.Role, "STATIC_IP": d.Address, "XEROOPS_CLUSTER": d.Cluster, "AWS_REGION": d.Region,
		"XEROOPS_NODE": d.Node, "XEROOPS_VPN_CIDR": t.VPN.CIDR, "XEROOPS_MANAGEMENT_ADDRESS": "10.0.2.20",
		"XEROOPS_UPLOADS_BUCKET": "uploads-123456789012", "XEROOPS_PGDUMP_BUCKET": "pgdump-123456789012",
		"XEROOPS_WALG_BUCKET": "walg-123456789012", "XEROOPS_LOGS_BUCKET": "logs-123456789012",
	}
	return d, nil
}

// sampleCredentials have the format of real ones; see cluster.CredentialKind.
var sampleCredentials = map[cluster.CredentialKind]string{
	cluster.Password:         "sample-password-not-secret-0123456789-abcde",
	cluster.SymmetricKey:     "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
	cluster.WireGuardPrivate: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHl8=",
}

func sampleTopology() cluster.Topology {
	return cluster.Topology{Schema: cluster.TopologySchema, Cluster: "sample",
		VPN: cluster.VPN{CIDR: "10.100.0.0/16", Endpoint: "198.51.100.2:51820",
			PublicKey: "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=", Routes: []string{"10.0.0.0/16"}},
		Nodes: []cluster.TopologyNode{
			{Name: "app1", Role: cluster.RoleApp, Address: "10.0.2.10"},
			{Name: "app2", Role: cluster.RoleApp, Address: "10.0.2.11"},
			{Name: "db1", Role: cluster.RoleDB, Address: "10.0.2.30"},
			{Name: "db2", Role: cluster.RoleDB, Address: "10.0.2.31"},
			{Name: "edge", Role: cluster.RoleLoadBalancer, Address: "10.0.1.10"},
			{Name: "gateway", Role: cluster.RoleWireGuard, Address: "10.0.1.11"},
			{Name: "management", Role: cluster.RoleManagement, Address: "10.0.2.20"},
		}}
}
