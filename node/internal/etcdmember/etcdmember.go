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

func peerURL(address string) string   { return "http://" + net.JoinHostPort(address, peerPort) }
func clientURL(address string) string { return "http://" + net.JoinHostPort(address, clientPort) }

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
func member(self Node, cluster string, initial []Node, state string) (string, error) {
	var all []string
	for _, n := range initial {
		all = append(all, n.Name+"="+peerURL(n.Address))
	}
	return envfile.Format(map[string]string{
		"ETCD_NAME":                        self.Name,
		"ETCD_LISTEN_PEER_URLS":            peerURL(self.Address),
		"ETCD_LISTEN_CLIENT_URLS":          clientURL(self.Address) + "," + clientURL("127.0.0.1"),
		"ETCD_INITIAL_ADVERTISE_PEER_URLS": peerURL(self.Address),
		"ETCD_ADVERTISE_CLIENT_URLS":       clientURL(self.Address),
		"ETCD_INITIAL_CLUSTER":             strings.Join(all, ","),
		"ETCD_INITIAL_CLUSTER_STATE":       state,
		"ETCD_INITIAL_CLUSTER_TOKEN":       cluster,
	})
}

// gateway returns the environment of an etcd that forwards connections to the members. It
// retries an unreachable member every second; by default it would do so every minute, and
// so be without a member for that long if the only one restarts.
func gateway(members []Node) (string, error) {
	var endpoints []string
	for _, n := range members {
		endpoints = append(endpoints, net.JoinHostPort(n.Address, clientPort))
	}
	return envfile.Format(map[string]string{
		"DAEMON_ARGS": fmt.Sprintf("gateway start --retry-delay=1s --listen-addr=0.0.0.0:%s --endpoints=%s", clientPort, strings.Join(endpoints, ",")),
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
