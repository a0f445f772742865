package topology

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/xeroops/xeroops/internal/cluster"
)

const (
	hostsBegin = "# BEGIN xeroops: from topology.json\n"
	hostsEnd   = "# END xeroops\n"
)

// alias is a name of the first management node, which applications use.
const alias = "management"

// MergeHosts returns the text of an /etc/hosts with every node of t in a block
// at its end. Lines of others stay, but not those that the user-data wrote at
// launch: names within the cluster's own domain are the topology's alone.
func MergeHosts(text string, t cluster.Topology) string {
	before, after, found := strings.Cut(text, hostsBegin)
	if found {
		_, after, _ = strings.Cut(after, hostsEnd)
	}
	domain := "." + t.Cluster + ".internal"
	var b strings.Builder
	for line := range strings.Lines(before + after) {
		if !ofDomain(line, domain) {
			b.WriteString(strings.TrimRight(line, "\n") + "\n")
		}
	}
	b.WriteString(hostsBegin)
	management := Management(t)
	for _, n := range t.Nodes {
		fmt.Fprintf(&b, "%s %s%s %s", n.Address, n.Name, domain, n.Name)
		if n.Address == management && n.Name != alias {
			b.WriteString(" " + alias)
		}
		b.WriteString("\n")
	}
	b.WriteString(hostsEnd)
	return b.String()
}

func ofDomain(line, domain string) bool {
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return false
	}
	_, err := netip.ParseAddr(fields[0])
	return err == nil && strings.HasSuffix(fields[1], domain)
}

// NodesOf returns the nodes of a role, by name as in the topology.
func NodesOf(t cluster.Topology, role cluster.Role) []cluster.TopologyNode {
	var of []cluster.TopologyNode
	for _, n := range t.Nodes {
		if n.Role == role {
			of = append(of, n)
		}
	}
	return of
}

// Management is the address of the first management node, or "" without one.
func Management(t cluster.Topology) string {
	for _, n := range NodesOf(t, cluster.RoleManagement) {
		return n.Address
	}
	return ""
}
