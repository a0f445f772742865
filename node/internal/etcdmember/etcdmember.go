// Package etcdmember decides, each time before etcd starts, whether this node is a member
// of a new cluster, joins an existing cluster, possibly in place of a former instance, or
// is a gateway to the members. It leaves a node with data alone, and makes all changes
// through etcd, which refuses those that would lose the quorum.
package etcdmember

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/envfile"
)

// The registered ports of etcd.
const (
	clientPort = "2379"
	peerPort   = "2380"
)

// metricsURL is where a member reports its health, without a certificate, to its own node
// (service-ports.json).
const metricsURL = "http://127.0.0.1:2381"

func peerURL(address string) string   { return "https://" + net.JoinHostPort(address, peerPort) }
func clientURL(address string) string { return "https://" + net.JoinHostPort(address, clientPort) }

// Files are the files of TLS: a member's certificate with its key, with which it is
// server and client, and the authority that it trusts. etcd lets every certificate of that authority
// write every key (docs/decisions/0011-two-certificate-authorities.md).
type Files struct{ Certificate, CA string }

// Node is a node with etcd.
type Node struct{ Name, Address string }

// nodesWithEtcd returns the nodes of a topology that have etcd: the management nodes, then
// the database nodes, each sorted by name.
func nodesWithEtcd(t cluster.Topology) []Node {
	var nodes []Node
	for _, role := range []cluster.Role{cluster.RoleManagement, cluster.RoleDB} {
		var withRole []Node
		for _, n := range t.Nodes {
			if n.Role == role {
				withRole = append(withRole, Node{n.Name, n.Address})
			}
		}
		slices.SortFunc(withRole, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
		nodes = append(nodes, withRole...)
	}
	return nodes
}

// firstMembers returns the members of a new cluster: the first three nodes with etcd, or
// one if there are fewer than three, since two members fail if either does.
func firstMembers(nodes []Node) []Node {
	if len(nodes) >= 3 {
		return nodes[:3]
	}
	return nodes[:min(1, len(nodes))]
}

// member returns the environment of an etcd that is a member, as an EnvironmentFile.
func (d Decision) member(initial []Node, state string) (string, error) {
	var all []string
	for _, n := range initial {
		all = append(all, n.Name+"="+peerURL(n.Address))
	}
	return envfile.Format(map[string]string{
		"ETCD_NAME":                        d.Self.Name,
		"ETCD_LISTEN_PEER_URLS":            peerURL(d.Self.Address),
		"ETCD_LISTEN_CLIENT_URLS":          clientURL(d.Self.Address),
		"ETCD_LISTEN_METRICS_URLS":         metricsURL,
		"ETCD_INITIAL_ADVERTISE_PEER_URLS": peerURL(d.Self.Address),
		"ETCD_ADVERTISE_CLIENT_URLS":       clientURL(d.Self.Address),
		"ETCD_INITIAL_CLUSTER":             strings.Join(all, ","),
		"ETCD_INITIAL_CLUSTER_STATE":       state,
		"ETCD_INITIAL_CLUSTER_TOKEN":       d.Cluster,
		"ETCD_CLIENT_CERT_AUTH":            "true",
		"ETCD_CERT_FILE":                   d.TLS.Certificate,
		"ETCD_KEY_FILE":                    d.TLS.Certificate,
		"ETCD_TRUSTED_CA_FILE":             d.TLS.CA,
		"ETCD_PEER_CLIENT_CERT_AUTH":       "true",
		"ETCD_PEER_CERT_FILE":              d.TLS.Certificate,
		"ETCD_PEER_KEY_FILE":               d.TLS.Certificate,
		"ETCD_PEER_TRUSTED_CA_FILE":        d.TLS.CA,
	})
}

// gateway returns the environment of an etcd that forwards connections from this node to
// the members: of a node that has no data, so that its unit runs. Clients cannot verify a
// member through it.
func gateway(members []Node) (string, error) {
	var endpoints []string
	for _, n := range members {
		endpoints = append(endpoints, net.JoinHostPort(n.Address, clientPort))
	}
	return envfile.Format(map[string]string{
		"DAEMON_ARGS": fmt.Sprintf("gateway start --listen-addr=127.0.0.1:%s --endpoints=%s", clientPort, strings.Join(endpoints, ",")),
	})
}

// addressOf returns the host of a member's first peer URL.
func addressOf(m Member) string {
	if len(m.PeerURLs) == 0 {
		return ""
	}
	u, err := url.Parse(m.PeerURLs[0])
	if err != nil {
		return ""
	}
	return u.Hostname()
}
