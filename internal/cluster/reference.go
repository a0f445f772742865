package cluster

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// Layout of the reference cluster (docs/design.md#reference-cluster) relative to
// the VPC's address. Each zone has two /24: those of the first zone are the second
// and third of the VPC, and those of other zones follow. The address of a node does
// not depend on the number of nodes, so that adding one changes no other.
const (
	plannedSubnetBits = 24

	ReferenceVPC   = "10.0.0.0/16"
	ReferenceApps  = 2
	ReferenceDBs   = 2
	ReferenceZones = 2

	MaxPlannedApps  = 110 // .10 to .19, then .100 to .199
	MaxPlannedDBs   = 10  // .30 to .39
	MaxPlannedZones = 6   // the most that a region has (us-east-1)

	// Prefix lengths of VPCs that contain the subnets of one zone. AWS does not
	// allow a VPC larger than a /16.
	MinPlannedVPCBits = 16
	MaxPlannedVPCBits = 22
)

// databaseZones is the order in which db nodes are placed into three or more zones.
// The first zone has management; with the first two db nodes in others, each zone has
// one of etcd's three members. db2 is in the second zone also if there are only two.
var databaseZones = []int{2, 1, 0, 3, 4, 5}

// AddressPlan has the subnets and the fixed addresses of a cluster.
type AddressPlan struct {
	Subnets []PlannedSubnet // public and private of the first zone, then of the next
	Nodes   []PlannedNode   // by name
}

// PlannedSubnet is a subnet of an address plan: public or private in the first zone,
// public-2 or private-2 in the second.
type PlannedSubnet struct {
	Name   string
	Public bool
	Zone   int // from 0
	CIDR   netip.Prefix
}

// PlannedNode is a node of an address plan.
type PlannedNode struct {
	TopologyNode
	Subnet string
}

// MaxZonesOf returns how many zones the subnets of a VPC can be in.
func MaxZonesOf(vpc netip.Prefix) int {
	return min(MaxPlannedZones, (1<<(plannedSubnetBits-vpc.Bits())-1)/2)
}

// PlanAddresses returns the plan of a cluster with the given numbers of app and db
// nodes in 1 to [MaxZonesOf] zones. vpc must be an IPv4 prefix of MinPlannedVPCBits to
// MaxPlannedVPCBits bits. App and db nodes are spread over the zones. The others, of
// which there is one each, are all in the first zone, so that the loss of any other
// zone stops none of them.
func PlanAddresses(vpc netip.Prefix, apps, dbs, zones int) AddressPlan {
	plan := AddressPlan{}
	for zone := range zones {
		plan.Subnets = append(plan.Subnets, plannedSubnet(vpc, true, zone), plannedSubnet(vpc, false, zone))
	}
	add := func(name string, role Role, public bool, zone int, number byte) {
		subnet := plannedSubnet(vpc, public, zone)
		a := subnet.CIDR.Addr().As4()
		a[3] = number
		plan.Nodes = append(plan.Nodes, PlannedNode{TopologyNode{Name: name, Role: role, Address: netip.AddrFrom4(a).String()}, subnet.Name})
	}
	add("edge", RoleLoadBalancer, true, 0, 10)
	add("gateway", RoleWireGuard, true, 0, 11)
	add("management", RoleManagement, false, 0, 20)
	for n := 1; n <= apps; n++ {
		number := 9 + n
		if n > 10 {
			number = 89 + n
		}
		add(fmt.Sprintf("app%d", n), RoleApp, false, (n-1)%zones, byte(number))
	}
	for n := 1; n <= dbs; n++ {
		add(fmt.Sprintf("db%d", n), RoleDB, false, databaseZone(n, zones), byte(29+n))
	}
	slices.SortFunc(plan.Nodes, func(a, b PlannedNode) int { return cmp.Compare(a.Name, b.Name) })
	return plan
}

// databaseZone returns the zone, from 0, of the n-th db node, from 1.
func databaseZone(n, zones int) int {
	at := (n - 1) % zones
	if zones > 2 {
		return databaseZones[at]
	}
	return at
}

// plannedSubnet returns a subnet of a zone, which is counted from 0.
func plannedSubnet(vpc netip.Prefix, public bool, zone int) PlannedSubnet {
	s := PlannedSubnet{Name: "private", Public: public, Zone: zone}
	at := 2*zone + 2 // the first /24 stays free
	if public {
		s.Name, at = "public", 2*zone+1
	}
	if zone > 0 {
		s.Name = fmt.Sprintf("%s-%d", s.Name, zone+1)
	}
	a := vpc.Masked().Addr().As4()
	a[2] += byte(at) // cannot overflow: the third byte of vpc is a multiple of its number of /24
	s.CIDR = netip.PrefixFrom(netip.AddrFrom4(a), plannedSubnetBits)
	return s
}

// ReferencePlan returns the address plan of the reference cluster.
func ReferencePlan() AddressPlan {
	return PlanAddresses(netip.MustParsePrefix(ReferenceVPC), ReferenceApps, ReferenceDBs, ReferenceZones)
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
