//go:build linux

// Package vpcnet implements the lab's network: VPCs, subnets, route tables, security
// groups and elastic IP addresses, by means of network namespaces, routes and nftables.
//
// There is one router namespace, one namespace per machine that a veth pair connects
// to the router, and one that represents the internet. [Network.Apply] brings them in
// line with a [Model]. The host's own namespace gets no address and no route, so
// packets of the lab cannot leave through it.
package vpcnet

import "net/netip"

// Addresses of the lab's services on the router; use [Network.Listen] to serve on
// them. Apart from ping to subnet gateways, the router accepts nothing else.
var (
	MetadataAddress = netip.MustParseAddr("169.254.169.254") // TCP 80, every machine
	DNSAddress      = netip.MustParseAddr("169.254.169.253") // TCP and UDP 53, every machine and the internet side
	// S3Address is for S3, TCP 80 and 443: reachable from the internet side, from
	// machines with internet access and from subnets with an S3 endpoint.
	S3Address = netip.MustParseAddr("198.18.0.3")
	// MirrorAddress is for the Debian mirror, TCP 80 and 443: reachable from machines
	// with internet access.
	MirrorAddress = netip.MustParseAddr("198.18.0.4")
	// InternetAddress is the address of the internet side. To simulate more hosts, add
	// addresses of InternetPrefix to eth0 there.
	InternetAddress = netip.MustParseAddr("198.18.255.2")
	InternetPrefix  = netip.MustParsePrefix("198.18.255.0/24")
)

// Model is the desired state of the network.
type Model struct {
	Subnets    []Subnet
	Machines   []Machine
	Groups     []Group
	Partitions []Partition
}

// Subnet is a subnet with its route table.
type Subnet struct {
	ID   string
	CIDR netip.Prefix // its first address is the gateway's, as on AWS
	// Internet is true if the default route points to an internet gateway. Machines
	// with a public address then reach the internet and are reachable from there.
	Internet   bool
	S3Endpoint bool // the route table has the VPC's S3 gateway endpoint
	Routes     []Route
}

// Route sends a CIDR block to a machine, which may be in another subnet.
type Route struct {
	CIDR    netip.Prefix
	Machine string // ID; a route to an unknown machine is a black hole
}

// Machine is a machine's network interface. Its namespace exists while it is in the
// model, whether or not the machine is on.
type Machine struct {
	ID      string
	Subnet  string // ID
	Address netip.Addr
	// PublicAddress is an elastic or auto-assigned public IPv4 address, mapped 1:1.
	// The zero Addr means none.
	PublicAddress netip.Addr
	Groups        []string // IDs; without any, all traffic is dropped
	// SourceDestCheck drops packets that the machine sends with a source address other
	// than its own, and packets to it for another destination.
	SourceDestCheck bool
	// LinkBitsPerSecond limits the link in both directions: a fault. 0 is full speed.
	LinkBitsPerSecond uint64
	// LinkDown drops all packets from and to the machine, as a pulled cable does. It
	// is set for machines that are off as well: their namespace still exists, and the
	// kernel would answer for them with TCP resets.
	LinkDown bool
	// Incarnation counts the machine's power cycles. A new number makes a new
	// namespace, so that no socket outlives a power cut.
	Incarnation int
}

// Group is a security group: stateful rules that allow traffic. All else is dropped.
type Group struct {
	ID      string
	Ingress []Rule
	Egress  []Rule
}

// Rule allows traffic from (ingress) or to (egress) any of its peers, the CIDR blocks
// and groups, if protocol and port match.
type Rule struct {
	Protocol string // tcp, udp, icmp, icmpv6, a number, or empty for all
	// FromPort and ToPort are for tcp and udp; 0 to 65535 is all ports.
	FromPort, ToPort uint16
	CIDRs            []netip.Prefix
	Groups           []string // IDs; stand for the private addresses of the group's machines
}

// Partition is a fault: machine A exchanges no packets with the other side, not even
// on established connections.
type Partition struct {
	A string
	// B is the machine on the other side, or empty for the machines in CIDR, or for
	// everything if CIDR is the zero prefix.
	B    string
	CIDR netip.Prefix
}
