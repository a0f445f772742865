package topology

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/xeroops/xeroops/internal/cluster"
)

const (
	hostsBegin = "# BEGIN xeroops: from topology.json\n"
	hostsEnd   = "# END xeroops\n"
)

// alias is a further name of the first management node, which applications use.
const alias = "management"

// MergeHosts returns the text of /etc/hosts with a block at its end that has every node
// of t. Other lines are kept, except those with names in the cluster's own domain, such
// as the lines that the user data wrote at launch.
func MergeHosts(text string, t cluster.Topology) string {
	before, after, found := strings.Cut(text, hostsBegin)
	if found {
		_, after, _ = strings.Cut(after, hostsEnd)
	}
	domain := "." + t.Cluster + ".internal"
	var b strings.Builder
	for line := range strings.Lines(before + after) {
		if !hasDomain(line, domain) {
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

func hasDomain(line, domain string) bool {
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return false
	}
	_, err := netip.ParseAddr(fields[0])
	return err == nil && strings.HasSuffix(fields[1], domain)
}

// NodesOf returns the nodes of a role, sorted by name like the topology.
func NodesOf(t cluster.Topology, role cluster.Role) []cluster.TopologyNode {
	var nodes []cluster.TopologyNode
	for _, n := range t.Nodes {
		if n.Role == role {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// Management returns the address of the first management node, or "" if there is none.
func Management(t cluster.Topology) string {
	for _, n := range NodesOf(t, cluster.RoleManagement) {
		return n.Address
	}
	return ""
}

var nodeName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// IsNodeName reports whether a name is valid for a node, and so safe to write into
// /etc/hosts and configuration files.
func IsNodeName(name string) bool { return nodeName.MatchString(name) }
