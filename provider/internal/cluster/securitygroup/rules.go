package securitygroup

import (
	"maps"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

// rule allows one source to connect to a range of ports.
type rule struct {
	protocol   string // "-1" is all protocols, and then the ports are 0
	from, to   int32
	cidr       string
	otherGroup string // group id
	other      string // "ipv6:" and an IPv6 range, or "pl:" and the id of a prefix list
}

// anyIPv6 is the source of clients over IPv6.
const anyIPv6 = "ipv6:::/0"

// allTraffic is the egress rule that EC2 gives each new group.
var allTraffic = rule{protocol: "-1", cidr: "0.0.0.0/0"}

// sshService is the service that the EC2 Instance Connect Endpoint connects to.
const sshService = "sshd"

// wantedRules returns the ingress rules of a role's group: those of
// service-ports.json and, with an endpoint, those for SSH from it. A source that is a
// role without a node has no group, and so no rule.
func (g *Groups) wantedRules(role model.Role) map[rule]bool {
	wanted := map[rule]bool{}
	for _, s := range model.ServicesOf(role) {
		for _, p := range s.Ports {
			r := rule{protocol: p.Protocol, from: p.Port, to: p.Last()}
			for _, from := range p.From {
				for _, source := range g.sources(role, from) {
					wanted[r.with(source)] = true
				}
			}
			if id := g.ID(EndpointRole); s.Name == sshService && g.spec.Access.ConnectEndpoint && id != "" {
				wanted[r.with(rule{otherGroup: id})] = true
			}
		}
	}
	return wanted
}

// sources returns rules that have only the source that from, a source in
// service-ports.json, means for a role.
func (g *Groups) sources(role model.Role, from string) []rule {
	switch from {
	case model.FromInternet:
		if limited, exists := g.spec.Access.Internet[role]; exists {
			return limitedSources(limited)
		}
		if g.spec.HasIPv6(role) {
			return []rule{{cidr: allTraffic.cidr}, {other: anyIPv6}}
		}
		return []rule{{cidr: allTraffic.cidr}}
	case model.FromVPN:
		return []rule{{cidr: g.spec.VPNCIDR}}
	}
	if id := g.ID(model.Role(from)); id != "" && g.spec.HasRole(model.Role(from)) {
		return []rule{{otherGroup: id}}
	}
	return nil
}

func limitedSources(s clusterspec.Sources) []rule {
	var rules []rule
	for _, cidr := range s.CIDRs {
		if strings.Contains(cidr, ":") {
			rules = append(rules, rule{other: "ipv6:" + cidr})
		} else {
			rules = append(rules, rule{cidr: cidr})
		}
	}
	for _, list := range s.PrefixLists {
		rules = append(rules, rule{other: "pl:" + list})
	}
	return rules
}

// with returns the rule with the source of another.
func (r rule) with(source rule) rule {
	r.cidr, r.otherGroup, r.other = source.cidr, source.otherGroup, source.other
	return r
}

// wantedEgress returns the egress rules of a group. The endpoint's group allows SSH to
// the nodes and nothing else; nodes may connect to everything.
func (g *Groups) wantedEgress(role model.Role) map[rule]bool {
	if role != EndpointRole {
		return map[rule]bool{allTraffic: true}
	}
	wanted := map[rule]bool{}
	for _, to := range g.spec.Roles() {
		for _, s := range model.ServicesOf(to) {
			if s.Name != sshService || g.ID(to) == "" {
				continue
			}
			for _, p := range s.Ports {
				wanted[rule{protocol: p.Protocol, from: p.Port, to: p.Last(), otherGroup: g.ID(to)}] = true
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
