// Package etcdmember decides, each time before etcd starts, what this node is to
// etcd: a member of a cluster that is being made, one that was replaced and
// joins again, or a gateway to the members. It never touches a node that has
// data of its own, and leaves every change of the membership to etcd, which
// refuses one that would cost the quorum.
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

// etcd's registered ports.
const (
	clientPort = "2379"
	peerPort   = "2380"
)

func peerURL(address string) string   { return "http://" + net.JoinHostPort(address, peerPort) }
func clientURL(address string) string { return "http://" + net.JoinHostPort(address, clientPort) }

// Node is a node that has etcd.
type Node struct{ Name, Address string }

// nodesWithEtcd are those of a topology: the management nodes, then the
// databases, each by name.
func nodesWithEtcd(t cluster.Topology) []Node {
	var nodes []Node
	for _, role := range []cluster.Role{cluster.RoleManagement, cluster.RoleDB} {
		var of []Node
		for _, n := range t.Nodes {
			if n.Role == role {
				of = append(of, Node{n.Name, n.Address})
			}
		}
		slices.SortFunc(of, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
		nodes = append(nodes, of...)
	}
	return nodes
}

// firstMembers are the members that a new cluster begins with: the first three
// nodes that have etcd, or one where there are fewer than three, since two
// members are lost with either of them.
func firstMembers(nodes []Node) []Node {
	if len(nodes) >= 3 {
		return nodes[:3]
	}
	return nodes[:min(1, len(nodes))]
}

// settings of etcd, as a unit's EnvironmentFile.
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

// gateway has etcd pass connections on to the members.
func gateway(members []Node) (string, error) {
	var endpoints []string
	for _, n := range members {
		endpoints = append(endpoints, net.JoinHostPort(n.Address, clientPort))
	}
	return envfile.Format(map[string]string{
		"DAEMON_ARGS": fmt.Sprintf("gateway start --listen-addr=0.0.0.0:%s --endpoints=%s", clientPort, strings.Join(endpoints, ",")),
	})
}

// addressOf is the host of a member's first peer URL.
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
