package securitygroup

import (
	"maps"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	model "github.com/xeroops/xeroops/internal/cluster"
)

// rule allows one source to connect to a range of ports.
type rule struct {
	protocol   string // "-1" is all protocols, and then the ports are 0
	from, to   int32
	cidr       string
	otherGroup string // group id
	other      string // an IPv6 range or a prefix list; the provider configures only anyIPv6
}

// allTraffic is the egress rule that EC2 gives each new group.
// anyIPv6 is the source of clients over IPv6.
const anyIPv6 = "ipv6:::/0"

var allTraffic = rule{protocol: "-1", cidr: "0.0.0.0/0"}

// wantedRules returns the ingress rules of a role's group: those of
// service-ports.json and no others. A source that is a role without a node has
// no group, and so no rule.
func (g *Groups) wantedRules(role model.Role) map[rule]bool {
	wanted := map[rule]bool{}
	for _, s := range model.ServicesOf(role) {
		for _, p := range s.Ports {
			for _, from := range p.From {
				r := rule{protocol: p.Protocol, from: p.Port, to: p.Last()}
				switch from {
				case model.FromInternet:
					if g.spec.HasIPv6(role) {
						wanted[rule{protocol: r.protocol, from: r.from, to: r.to, other: anyIPv6}] = true
					}
					r.cidr = "0.0.0.0/0"
				case model.FromVPN:
					r.cidr = g.spec.VPNCIDR
				default:
					if r.otherGroup = g.ID(model.Role(from)); r.otherGroup == "" || !g.spec.HasRole(model.Role(from)) {
						continue
					}
				}
				wanted[r] = true
			}
		}
	}
	return wanted
}

// flattenRules returns the rules of a group's permissions, each with one source.
func flattenRules(permissions []ec2types.IpPermission) map[rule]bool {
	rules := map[rule]bool{}
	for _, p := range permissions {
		r := rule{protocol: aws.ToString(p.IpProtocol), from: aws.ToInt32(p.FromPort), to: aws.ToInt32(p.ToPort)}
		for _, source := range p.IpRanges {
			r := r
			r.cidr = aws.ToString(source.CidrIp)
			rules[r] = true
		}
		for _, source := range p.UserIdGroupPairs {
			r := r
			r.otherGroup = aws.ToString(source.GroupId)
			rules[r] = true
		}
		for _, source := range p.Ipv6Ranges {
			r := r
			r.other = "ipv6:" + aws.ToString(source.CidrIpv6)
			rules[r] = true
		}
		for _, source := range p.PrefixListIds {
			r := r
			r.other = "pl:" + aws.ToString(source.PrefixListId)
			rules[r] = true
		}
	}
	return rules
}

func (r rule) permission() ec2types.IpPermission {
	p := ec2types.IpPermission{IpProtocol: aws.String(r.protocol)}
	if r.protocol != "-1" {
		p.FromPort, p.ToPort = aws.Int32(r.from), aws.Int32(r.to)
	}
	switch kind, value, _ := strings.Cut(r.other, ":"); {
	case r.cidr != "":
		p.IpRanges = []ec2types.IpRange{{CidrIp: aws.String(r.cidr)}}
	case r.otherGroup != "":
		p.UserIdGroupPairs = []ec2types.UserIdGroupPair{{GroupId: aws.String(r.otherGroup)}}
	case kind == "ipv6":
		p.Ipv6Ranges = []ec2types.Ipv6Range{{CidrIpv6: aws.String(value)}}
	default:
		p.PrefixListIds = []ec2types.PrefixListId{{PrefixListId: aws.String(value)}}
	}
	return p
}

func permissions(rules map[rule]bool) []ec2types.IpPermission {
	var all []ec2types.IpPermission
	for r := range rules {
		all = append(all, r.permission())
	}
	return all
}

// without returns the rules of a that are not in b.
func without(a, b map[rule]bool) map[rule]bool {
	rest := maps.Clone(a)
	maps.DeleteFunc(rest, func(r rule, _ bool) bool { return b[r] })
	return rest
}

// FormerVPNRanges returns the ranges that vpn_cidr may have had before this
// run: those from which the groups, as observed, allow all that they allow from
// the VPN. Any other range was configured by an operator.
func (g *Groups) FormerVPNRanges() map[string]bool {
	count := map[string]int{} // groups by range
	groups := 0
	for _, role := range g.spec.Roles() {
		actual := flattenRules(g.actual[role].IpPermissions)
		if len(actual) == 0 {
			continue // created in this run
		}
		groups++
		ranges := map[string]bool{}
		for r := range actual {
			ranges[r.cidr] = true
		}
		for cidr := range ranges {
			if g.allowsVPN(role, actual, cidr) {
				count[cidr]++
			}
		}
	}
	former := map[string]bool{}
	for cidr, n := range count {
		if cidr != "" && cidr != g.spec.VPNCIDR && n >= groups {
			former[cidr] = true
		}
	}
	return former
}

// allowsVPN reports whether the rules allow from cidr all that the role allows
// from the VPN.
func (g *Groups) allowsVPN(role model.Role, actual map[rule]bool, cidr string) bool {
	for r := range g.wantedRules(role) {
		if r.cidr == g.spec.VPNCIDR {
			if r.cidr = cidr; !actual[r] {
				return false
			}
		}
	}
	return true
}
