package cluster

import "path"

// Layout names the objects of one cluster in its uploads bucket
// (docs/design.md#s3-layout). Every key that any part of the project reads or writes comes from
// here, and IAM policies are made of the same names.
type Layout struct {
	Cluster string
}

// Prefix is what all keys of the cluster begin with, with a trailing slash.
func (l Layout) Prefix() string { return path.Join("clusters", l.Cluster) + "/" }

// Topology is the key of the live topology, a [Topology].
func (l Layout) Topology() string { return l.Prefix() + "topology.json" }

// InstanceConfig is the key of a node's settings, an env file without secrets.
func (l Layout) InstanceConfig(node string) string {
	return l.Prefix() + "config/" + node + "/instance-config.env"
}

// InstanceConfigs is the prefix of all nodes' settings.
func (l Layout) InstanceConfigs() string { return l.Prefix() + "config/" }

// Credentials is the key of a role's secrets, an env file.
func (l Layout) Credentials(role Role) string {
	return l.Prefix() + "credentials/" + string(role) + "/prod-credentials.env"
}

// Authority is the key of a certificate authority, "nodes" or "etcd" (package
// pki): certificates with their keys, which no role may read.
func (l Layout) Authority(use string) string { return l.Prefix() + "credentials/ca/" + use + ".pem" }

// AuthorityBundle is the key of what everybody trusts of an authority:
// certificates without keys.
func (l Layout) AuthorityBundle(use string) string {
	if use == "etcd" {
		return l.Prefix() + "config/etcd-ca.pem"
	}
	return l.Prefix() + "config/ca.pem"
}

// Certificate is the key of a node's certificate with its key, for all services
// but etcd.
func (l Layout) Certificate(role Role, node string) string {
	return l.Certificates(role) + node + ".pem"
}

// EtcdCertificate is the key of the certificate, with its key, by which a db or
// management node is a member or a client of etcd.
func (l Layout) EtcdCertificate(role Role, node string) string {
	return l.Certificates(role) + "etcd/" + node + ".pem"
}

// Certificates is the prefix of the certificates of a role's nodes.
func (l Layout) Certificates(role Role) string {
	return l.Prefix() + "credentials/" + string(role) + "/tls/"
}

// Report is the key of a node's boot report, a [BootReport].
func (l Layout) Report(node string) string { return l.Prefix() + "reports/" + node + ".json" }

// Reports is the prefix of all boot reports.
func (l Layout) Reports() string { return l.Prefix() + "reports/" }

// VPNPeer is the key of a VPN peer, a [VPNPeer].
func (l Layout) VPNPeer(peer string) string { return l.VPNPeers() + peer + ".json" }

// VPNPeers is the prefix of all VPN peers.
func (l Layout) VPNPeers() string { return l.Prefix() + "vpn/peers/" }

// VPNAddresses is the key of the table of VPN addresses, a [VPNAddresses].
func (l Layout) VPNAddresses() string { return l.Prefix() + "vpn/addresses.json" }

// WAFRules is the prefix of the customer's own WAF rules.
func (l Layout) WAFRules() string { return l.Prefix() + "waf/" }

// TLS is the prefix of the edge's certificates.
func (l Layout) TLS() string { return l.Prefix() + "tls/" }

// Wheels is the prefix of all application bundles; it is shared by the
// clusters that use the same bucket.
const Wheels = "wheels/"
