//go:build linux

// Package vpcnet is the lab's network: what VPCs, subnets, route tables, security
// groups and elastic addresses do, done with namespaces, routes and nftables.
//
// There is one router namespace, one namespace per machine joined to it by a veth
// pair, and one that stands for the internet. [Network.Apply] makes all of it
// equal to a [Model]. The host's own namespace gets no address and no route, and
// nothing sent in the lab can leave through it.
package vpcnet

import "net/netip"

// Addresses that the router has besides the subnets' gateways. Serve on them with
// [Network.Listen]; from outside nothing else of the router can be reached.
var (
	MetadataAddress = netip.MustParseAddr("169.254.169.254") // TCP 80, every machine
	DNSAddress      = netip.MustParseAddr("169.254.169.253") // TCP and UDP 53, every machine and the internet side
	// S3Address is S3's, TCP 80 and 443: for the internet side, for machines with a
	// way to the internet, and for subnets with an S3 endpoint.
	S3Address = netip.MustParseAddr("198.18.0.3")
	// MirrorAddress is the Debian mirror's, TCP 80 and 443: the one thing of the
	// internet that machines with a way there can reach.
	MirrorAddress = netip.MustParseAddr("198.18.0.4")
	// InternetAddress is that of the internet side itself; more hosts can be played
	// there by adding addresses of InternetPrefix to its eth0.
	InternetAddress = netip.MustParseAddr("198.18.255.2")
	InternetPrefix  = netip.MustParsePrefix("198.18.255.0/24")
)

// Model is the network that there should be.
type Model struct {
	Subnets    []Subnet
	Machines   []Machine
	Groups     []Group
	Partitions []Partition
}

// Subnet is a subnet with the effect of its route table.
type Subnet struct {
	ID   string
	CIDR netip.Prefix // the gateway has its first address, as on AWS
	// Internet says that the default route leads to an internet gateway. Machines
	// there reach the internet, and are reached, if they have a public address.
	Internet   bool
	S3Endpoint bool // the route table has the VPC's S3 gateway endpoint
	Routes     []Route
}

// Route leads to a machine, which may be of another subnet.
type Route struct {
	CIDR    netip.Prefix
	Machine string // ID; a route to an unknown machine is a black hole
}

// Machine is a machine's network interface. Its namespace exists as long as it is
// in the model, whether or not the machine runs.
type Machine struct {
	ID      string
	Subnet  string // ID
	Address netip.Addr
	// PublicAddress is an elastic or a launch-time public IPv4, mapped 1:1; the zero
	// Addr is none.
	PublicAddress netip.Addr
	Groups        []string // IDs of at least one, else nothing comes in or out
	// SourceDestCheck drops what the machine sends with another source address than
	// its own, and what it would be sent for another destination.
	SourceDestCheck bool
	// LinkBitsPerSecond slows the link in both directions: a fault. 0 is full speed.
	LinkBitsPerSecond uint64
}

// Group is a security group. What is not allowed is dropped; answers to what was
// allowed pass.
type Group struct {
	ID      string
	Ingress []Rule
	Egress  []Rule
}

// Rule allows what matches its protocol and ports and comes from (ingress) or goes
// to (egress) any of its peers.
type Rule struct {
	Protocol string // tcp, udp, icmp, icmpv6, a number, or empty for all
	// FromPort and ToPort are for tcp and udp; 0 to 65535 is all ports.
	FromPort, ToPort uint16
	CIDRs            []netip.Prefix
	Groups           []string // IDs; their machines' private addresses. One that isn't in the model has none
}

// Partition is a fault: machines A and B exchange nothing, not even on established
// connections. An empty B stands for everything but A.
type Partition struct{ A, B string }
