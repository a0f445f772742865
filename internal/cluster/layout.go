package cluster

import "path"

// Layout returns the keys of a cluster's objects in its uploads bucket
// (docs/design.md#s3-layout). All components use these keys, and IAM policies are
// generated from them.
type Layout struct {
	Cluster string
}

// Prefix returns the prefix of all keys of the cluster, with a trailing slash.
func (l Layout) Prefix() string { return path.Join("clusters", l.Cluster) + "/" }

// Topology returns the key of the current topology, a [Topology].
func (l Layout) Topology() string { return l.Prefix() + "topology.json" }

// InstanceConfig returns the key of a node's settings, an env file without secrets.
func (l Layout) InstanceConfig(node string) string {
	return l.Prefix() + "config/" + node + "/instance-config.env"
}

// InstanceConfigs returns the prefix of the settings of all nodes.
func (l Layout) InstanceConfigs() string { return l.Prefix() + "config/" }

// Credentials returns the key of a role's secrets, an env file.
func (l Layout) Credentials(role Role) string {
	return l.Prefix() + "credentials/" + string(role) + "/prod-credentials.env"
}

// OperatorCredentials returns the key of the password of a user of the registry in
// [OperatorPasswords], an env file: the only secret of a cluster that such an operator
// needs.
func (l Layout) OperatorCredentials(user string) string {
	return l.Prefix() + "credentials/" + user + "/registry.env"
}

// Authority returns the key of a certificate authority, "nodes" or "etcd" (package
// pki): certificates with their private keys, which no role may read.
func (l Layout) Authority(use string) string { return l.Prefix() + "credentials/ca/" + use + ".pem" }

// AuthorityBundle returns the key of an authority's certificates without private
// keys, which all nodes trust.
func (l Layout) AuthorityBundle(use string) string {
	if use == "etcd" {
		return l.Prefix() + "config/etcd-ca.pem"
	}
	return l.Prefix() + "config/ca.pem"
}

// Certificate returns the key of a node's certificate and private key for all
// services except etcd.
func (l Layout) Certificate(role Role, node string) string {
	return l.Certificates(role) + node + ".pem"
}

// EtcdCertificate returns the key of the certificate and private key of a db or
// management node as a member or client of etcd.
func (l Layout) EtcdCertificate(role Role, node string) string {
	return l.Certificates(role) + "etcd/" + node + ".pem"
}

// Certificates returns the prefix of the certificates of a role's nodes.
func (l Layout) Certificates(role Role) string {
	return l.Prefix() + "credentials/" + string(role) + "/tls/"
}

// Report returns the key of a node's boot report, a [BootReport].
func (l Layout) Report(node string) string { return l.Prefix() + "reports/" + node + ".json" }

// Reports returns the prefix of all boot reports.
func (l Layout) Reports() string { return l.Prefix() + "reports/" }

// VPNPeer returns the key of a VPN peer, a [VPNPeer].
func (l Layout) VPNPeer(peer string) string { return l.VPNPeers() + peer + ".json" }

// VPNPeers returns the prefix of all VPN peers.
func (l Layout) VPNPeers() string { return l.Prefix() + "vpn/peers/" }

// VPNAddresses returns the key of the table of VPN addresses, a [VPNAddresses].
func (l Layout) VPNAddresses() string { return l.Prefix() + "vpn/addresses.json" }

// Applications returns the key of the ledger of ports and route prefixes (package
// desired), which management writes.
func (l Layout) Applications() string { return l.Prefix() + "applications.json" }

// WAFRules returns the prefix of the customer's WAF rules.
func (l Layout) WAFRules() string { return l.Prefix() + "waf/" }

// TLS returns the prefix of the edge's certificates.
func (l Layout) TLS() string { return l.Prefix() + "tls/" }

// Wheels is the prefix of all application bundles. Clusters that use the same
// bucket share it.
const Wheels = "wheels/"
