//go:build linux

package reconcile

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/xeroops/xeroops/lab/internal/vpcnet"
)

var everywhere = netip.MustParsePrefix("0.0.0.0/0")

// networkModel returns the network of the account's instances. Subnets without an
// instance, such as those of moto's default VPCs, are left out.
func (a *account) networkModel() vpcnet.Model {
	var m vpcnet.Model
	used := map[string]bool{}
	for _, i := range a.instances {
		machine, ok := a.networkMachine(i)
		if !ok {
			continue
		}
		m.Machines = append(m.Machines, machine)
		if !used[machine.Subnet] {
			used[machine.Subnet] = true
			m.Subnets = append(m.Subnets, a.networkSubnet(a.subnets[machine.Subnet]))
		}
	}
	for _, g := range a.groups {
		m.Groups = append(m.Groups, vpcnet.Group{
			ID:      *g.GroupId,
			Ingress: rules(g.IpPermissions),
			Egress:  rules(g.IpPermissionsEgress),
		})
	}
	return m
}

// networkMachine returns an instance's network interface. It reports false if its
// subnet is unknown or does not contain its address.
func (a *account) networkMachine(i types.Instance) (vpcnet.Machine, bool) {
	subnet, known := a.subnets[aws.ToString(i.SubnetId)]
	address := parseAddress(i.PrivateIpAddress)
	if !known || !netip.MustParsePrefix(*subnet.CidrBlock).Contains(address) {
		return vpcnet.Machine{}, false // moto assigns such addresses to launches without a subnet
	}
	m := vpcnet.Machine{
		ID: *i.InstanceId, Subnet: *subnet.SubnetId, Address: address,
		PublicAddress: a.publicAddress(i), SourceDestCheck: true,
	}
	if i.SourceDestCheck != nil {
		m.SourceDestCheck = *i.SourceDestCheck
	}
	for id := range groupsOf(i) {
		if slices.ContainsFunc(a.groups, func(g types.SecurityGroup) bool { return *g.GroupId == id }) {
			m.Groups = append(m.Groups, id)
		}
	}
	slices.Sort(m.Groups)
	return m, true
}

func (a *account) networkSubnet(s types.Subnet) vpcnet.Subnet {
	table := a.routeTable(s)
	out := vpcnet.Subnet{ID: *s.SubnetId, CIDR: netip.MustParsePrefix(*s.CidrBlock), S3Endpoint: a.s3Endpoint(table) != nil}
	if table == nil {
		return out
	}
	for _, r := range table.Routes {
		cidr, err := netip.ParsePrefix(aws.ToString(r.DestinationCidrBlock))
		if err != nil {
			continue // IPv6 and prefix lists
		}
		if strings.HasPrefix(aws.ToString(r.GatewayId), "igw-") {
			out.Internet = out.Internet || cidr == everywhere
			continue
		}
		if id := a.routeTarget(r); id != "" {
			out.Routes = append(out.Routes, vpcnet.Route{CIDR: cidr, Machine: id})
		}
	}
	return out
}

// routeTarget returns the id of the instance that a route points to, directly or by
// its network interface. It returns an empty string for other routes.
func (a *account) routeTarget(r types.Route) string {
	if id := aws.ToString(r.InstanceId); id != "" {
		return id
	}
	wanted := aws.ToString(r.NetworkInterfaceId)
	if wanted == "" {
		return ""
	}
	for _, i := range a.instances {
		for _, n := range i.NetworkInterfaces {
			if aws.ToString(n.NetworkInterfaceId) == wanted {
				return *i.InstanceId
			}
		}
	}
	return wanted // a blackhole route: the network interface no longer exists
}

func rules(permissions []types.IpPermission) []vpcnet.Rule {
	var all []vpcnet.Rule
	for _, p := range permissions {
		r := vpcnet.Rule{Protocol: protocol(aws.ToString(p.IpProtocol))}
		if r.Protocol == "tcp" || r.Protocol == "udp" {
			r.FromPort, r.ToPort = port(p.FromPort, 0), port(p.ToPort, 65535)
		}
		for _, c := range p.IpRanges {
			if cidr, err := netip.ParsePrefix(aws.ToString(c.CidrIp)); err == nil {
				r.CIDRs = append(r.CIDRs, cidr)
			}
		}
		if len(p.PrefixListIds) > 0 { // the lab has S3's prefix list only
			r.CIDRs = append(r.CIDRs, netip.PrefixFrom(vpcnet.S3Address, 32))
		}
		for _, g := range p.UserIdGroupPairs {
			r.Groups = append(r.Groups, aws.ToString(g.GroupId))
		}
		if len(r.CIDRs)+len(r.Groups) > 0 {
			all = append(all, r)
		}
	}
	return all
}

// protocol converts an EC2 protocol name or number to that of vpcnet.
func protocol(name string) string {
	switch name {
	case "-1":
		return ""
	case "6":
		return "tcp"
	case "17":
		return "udp"
	case "1":
		return "icmp"
	}
	return name
}

// port converts an EC2 port, in which -1 or nil stand for all, to one end of a range.
func port(p *int32, all uint16) uint16 {
	if p == nil || *p < 0 || *p > 65535 {
		return all
	}
	return uint16(*p)
}
