package cluster

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// Layout of the reference cluster (docs/design.md#reference-cluster) relative to
// the VPC's address. The subnets are the second and third /24. The address of a
// node does not depend on the number of nodes, so that adding one changes no other.
const (
	plannedSubnetBits = 24
	publicSubnet      = 1
	privateSubnet     = 2

	ReferenceVPC  = "10.0.0.0/16"
	ReferenceApps = 2
	ReferenceDBs  = 2

	MaxPlannedApps = 110 // .10 to .19, then .100 to .199
	MaxPlannedDBs  = 10  // .30 to .39

	// Prefix lengths of VPCs that contain the subnets. AWS does not allow a VPC
	// larger than a /16.
	MinPlannedVPCBits = 16
	MaxPlannedVPCBits = 22
)

// AddressPlan has the subnets and the fixed addresses of a cluster.
type AddressPlan struct {
	Public, Private netip.Prefix
	Nodes           []PlannedNode // by name
}

// PlannedNode is a node of an address plan.
type PlannedNode struct {
	TopologyNode
	Public bool // in the public subnet instead of the private one
}

// PlanAddresses returns the plan of a cluster with the given numbers of app and db
// nodes. vpc must be an IPv4 prefix of MinPlannedVPCBits to MaxPlannedVPCBits bits.
func PlanAddresses(vpc netip.Prefix, apps, dbs int) AddressPlan {
	plan := AddressPlan{Public: plannedSubnet(vpc, publicSubnet), Private: plannedSubnet(vpc, privateSubnet)}
	add := func(name string, role Role, public bool, number byte) {
		a := plan.Private.Addr().As4()
		if public {
			a = plan.Public.Addr().As4()
		}
		a[3] = number
		plan.Nodes = append(plan.Nodes, PlannedNode{TopologyNode{Name: name, Role: role, Address: netip.AddrFrom4(a).String()}, public})
	}
	add("edge", RoleLoadBalancer, true, 10)
	add("gateway", RoleWireGuard, true, 11)
	add("management", RoleManagement, false, 20)
	for n := 1; n <= apps; n++ {
		number := 9 + n
		if n > 10 {
			number = 89 + n
		}
		add(fmt.Sprintf("app%d", n), RoleApp, false, byte(number))
	}
	for n := 1; n <= dbs; n++ {
		add(fmt.Sprintf("db%d", n), RoleDB, false, byte(29+n))
	}
	slices.SortFunc(plan.Nodes, func(a, b PlannedNode) int { return cmp.Compare(a.Name, b.Name) })
	return plan
}

// plannedSubnet returns the n-th /24 of the VPC.
func plannedSubnet(vpc netip.Prefix, n int) netip.Prefix {
	a := vpc.Masked().Addr().As4()
	a[2] += byte(n) // cannot overflow: the third byte of vpc is a multiple of four
	return netip.PrefixFrom(netip.AddrFrom4(a), plannedSubnetBits)
}

// ReferencePlan returns the address plan of the reference cluster.
func ReferencePlan() AddressPlan {
	return PlanAddresses(netip.MustParsePrefix(ReferenceVPC), ReferenceApps, ReferenceDBs)
}

// ReferenceTopology returns the topology of the reference cluster with the given
// cluster name. The VPN endpoint is an address for documentation (RFC 5737), and
// nobody has the private key of its public key.
func ReferenceTopology(name string) Topology {
	t := Topology{Schema: TopologySchema, Cluster: name, VPN: VPN{CIDR: "10.100.0.0/16", Endpoint: "198.51.100.2:51820",
		PublicKey: "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=", Routes: []string{ReferenceVPC}}}
	for _, n := range ReferencePlan().Nodes {
		t.Nodes = append(t.Nodes, n.TopologyNode)
	}
	return t
}
