//go:build linux

package vpcnet

import (
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
)

// loadRules replaces the router's nftables rules by the model's in one transaction.
func (n *Network) loadRules(m Model) error {
	text := m.ruleset()
	if text == n.rules {
		return nil
	}
	err := inNamespace(n.path(Router), func() error {
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("load nftables rules: %w: %s", err, out)
		}
		return nil
	})
	if err == nil {
		n.rules = text
	}
	return err
}

// ruleset returns the model as an nftables ruleset. A packet between two machines
// traverses these chains, in order: source (anti-spoofing), partition, egress (the
// sender's groups), forward (destination check and the receiver's groups).
func (m Model) ruleset() string {
	w := &ruleWriter{}
	w.line("table inet vpc")
	w.line("delete table inet vpc")
	w.line("table inet vpc {")
	m.writeSets(w)
	m.writeSource(w)
	m.writePartitions(w)
	m.writeGroups(w)
	m.writeEgress(w)
	m.writeForward(w)
	m.writeInput(w)
	m.writeNAT(w)
	w.line("}")
	return w.String()
}

type ruleWriter struct{ strings.Builder }

func (w *ruleWriter) line(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

// chain writes a chain of rules.
func (w *ruleWriter) chain(name string, rules ...string) {
	w.line("chain %s {\n%s\n}", name, strings.Join(rules, "\n"))
}

// set writes a set or map, which may be empty.
func (w *ruleWriter) set(kind, name, typ string, elements []string) {
	w.line("%s %s { type %s;", kind, name, typ)
	if len(elements) > 0 {
		w.line("elements = { %s }", strings.Join(elements, ", "))
	}
	w.line("}")
}

func (m Model) writeSets(w *ruleWriter) {
	subnets := m.subnets()
	members := map[string][]string{}
	var own, unchecked, s3, public, dnat, snat, in, out []string
	for _, x := range m.Machines {
		link, addr := linkName(x.Address), x.Address.String()
		own = append(own, link+" . "+addr)
		if !x.SourceDestCheck {
			unchecked = append(unchecked, link)
		}
		s := subnets[x.Subnet]
		hasInternet := s.Internet && x.PublicAddress.IsValid()
		if hasInternet {
			public = append(public, link)
			dnat = append(dnat, x.PublicAddress.String()+" : "+addr)
			snat = append(snat, addr+" : "+x.PublicAddress.String())
		}
		if hasInternet || s.S3Endpoint {
			s3 = append(s3, link)
		}
		in = append(in, link+" : jump in-"+link)
		out = append(out, link+" : jump out-"+link)
		for _, g := range x.Groups {
			members[g] = append(members[g], addr)
		}
	}
	w.set("set", "own-addresses", "ifname . ipv4_addr", own)
	w.set("set", "unchecked-links", "ifname", unchecked)
	w.set("set", "s3-links", "ifname", s3)
	w.set("set", "public-links", "ifname", public)
	w.set("map", "to-private", "ipv4_addr : ipv4_addr", dnat)
	w.set("map", "to-public", "ipv4_addr : ipv4_addr", snat)
	for _, g := range m.Groups {
		members[g.ID] = append([]string{}, members[g.ID]...)
		for _, r := range slices.Concat(g.Ingress, g.Egress) {
			for _, peer := range r.Groups { // a deleted group has an empty set
				members[peer] = append([]string{}, members[peer]...)
			}
		}
	}
	for _, g := range slices.Sorted(maps.Keys(members)) {
		w.set("set", "members-"+g, "ipv4_addr", members[g])
	}
	// A verdict map may only refer to chains declared above it. Declare them empty here;
	// writeGroups adds their rules.
	for _, x := range m.Machines {
		w.line("chain in-%s { }\nchain out-%s { }", linkName(x.Address), linkName(x.Address))
	}
	w.set("map", "deliver-to", "ifname : verdict", in)
	w.set("map", "sent-by", "ifname : verdict", out)
}

// writeSource drops packets with a spoofed source address, and IPv6, which the lab's
// VPCs don't support.
func (m Model) writeSource(w *ruleWriter) {
	w.chain("source", "type filter hook prerouting priority -300; policy accept;",
		"meta nfproto ipv6 drop",
		`iifname "v-*" iifname @unchecked-links accept`,
		"iifname . ip saddr @own-addresses accept",
		`iifname "v-*" counter drop`,
	)
}

// writePartitions drops packets of partitioned machines and links that are down, ahead
// of the rules that accept established connections.
func (m Model) writePartitions(w *ruleWriter) {
	links := map[string]string{}
	between := []string{"type filter hook forward priority -20; policy accept;"}
	from := []string{"type filter hook prerouting priority -290; policy accept;"}
	to := []string{"type filter hook postrouting priority -290; policy accept;"}
	isolate := func(link string) {
		from = append(from, fmt.Sprintf("iifname %q counter drop", link))
		to = append(to, fmt.Sprintf("oifname %q counter drop", link))
	}
	for _, x := range m.Machines {
		links[x.ID] = linkName(x.Address)
		if x.LinkDown {
			isolate(links[x.ID])
		}
	}
	for _, p := range m.Partitions {
		a, b := links[p.A], links[p.B]
		switch {
		case b != "":
			between = append(between, fmt.Sprintf("iifname %q oifname %q counter drop", a, b),
				fmt.Sprintf("iifname %q oifname %q counter drop", b, a))
		case p.CIDR.IsValid():
			between = append(between, fmt.Sprintf("iifname %q ip daddr %s counter drop", a, p.CIDR.Masked()),
				fmt.Sprintf("oifname %q ip saddr %s counter drop", a, p.CIDR.Masked()))
		default:
			isolate(a)
		}
	}
	w.chain("partition", between...)
	w.chain("partition-from", from...)
	w.chain("partition-to", to...)
}

// writeGroups writes a chain per group and direction with the group's rules, and one
// per machine and direction that jumps to those of its groups.
func (m Model) writeGroups(w *ruleWriter) {
	for _, g := range m.Groups {
		w.chain("ingress-"+g.ID, expand(g.Ingress, "saddr")...)
		w.chain("egress-"+g.ID, expand(g.Egress, "daddr")...)
	}
	for _, x := range m.Machines {
		var in, out []string
		for _, g := range x.Groups {
			in, out = append(in, "jump ingress-"+g), append(out, "jump egress-"+g)
		}
		w.chain("in-"+linkName(x.Address), in...)
		w.chain("out-"+linkName(x.Address), out...)
	}
}

// expand returns one rule per peer. A set would be shorter, but nftables rejects sets
// with overlapping ranges, which AWS accepts.
func expand(rules []Rule, side string) []string {
	var out []string
	for _, r := range rules {
		match := r.match()
		for _, c := range r.CIDRs {
			out = append(out, fmt.Sprintf("ip %s %s %s accept", side, c.Masked(), match))
		}
		for _, g := range r.Groups {
			out = append(out, fmt.Sprintf("ip %s @members-%s %s accept", side, g, match))
		}
	}
	return out
}

func (r Rule) match() string {
	switch {
	case r.Protocol == "":
		return ""
	case r.Protocol != "tcp" && r.Protocol != "udp":
		return "meta l4proto " + r.Protocol
	default:
		return fmt.Sprintf("%s dport %d-%d", r.Protocol, r.FromPort, r.ToPort)
	}
}

// writeEgress writes a chain with a lower priority than forward, so that packets it
// accepts must still pass forward.
func (m Model) writeEgress(w *ruleWriter) {
	w.chain("egress", "type filter hook forward priority -10; policy accept;",
		"ct state established,related accept",
		"iifname vmap @sent-by",
		`iifname "v-*" counter drop`,
	)
	// Metadata service and DNS are exempt from security groups, as on AWS.
	w.chain("egress-services", "type filter hook input priority -10; policy accept;",
		"ct state established,related accept",
		fmt.Sprintf("ip daddr != { %s, %s } accept", S3Address, MirrorAddress),
		"iifname vmap @sent-by",
		`iifname "v-*" counter drop`,
	)
}

func (m Model) writeForward(w *ruleWriter) {
	w.chain("forward", "type filter hook forward priority 0; policy drop;",
		"ct state established,related accept",
		"ct state invalid drop",
		fmt.Sprintf("iifname %q ct status & dnat != dnat counter drop", uplinkName),
		"oifname @unchecked-links oifname vmap @deliver-to",
		"oifname . ip daddr @own-addresses oifname vmap @deliver-to",
		fmt.Sprintf("iifname @public-links oifname %q ip daddr %s accept", uplinkName, InternetPrefix),
		"counter drop",
	)
}

func (m Model) writeInput(w *ruleWriter) {
	rules := []string{"type filter hook input priority 0; policy drop;",
		`iifname "lo" accept`,
		"ct state established,related accept",
		fmt.Sprintf(`iifname "v-*" ip daddr %s tcp dport 80 accept`, MetadataAddress),
		fmt.Sprintf("ip daddr %s meta l4proto { tcp, udp } th dport 53 accept", DNSAddress),
		fmt.Sprintf("ip daddr %s tcp dport { 80, 443 } iifname @s3-links accept", S3Address),
		fmt.Sprintf("ip daddr %s tcp dport { 80, 443 } iifname %q accept", S3Address, uplinkName),
		fmt.Sprintf("ip daddr %s tcp dport { 80, 443 } iifname @public-links accept", MirrorAddress),
	}
	for _, s := range m.Subnets {
		rules = append(rules, fmt.Sprintf(`iifname "v-*" ip daddr %s icmp type echo-request accept`, gateway(s.CIDR)))
	}
	w.chain("input", append(rules, "counter drop")...)
}

// writeNAT maps public addresses 1:1, for traffic with the internet side only: machines
// cannot reach one another's public addresses.
func (m Model) writeNAT(w *ruleWriter) {
	w.chain("prerouting-nat", "type nat hook prerouting priority -100; policy accept;",
		fmt.Sprintf("iifname %q dnat ip to ip daddr map @to-private", uplinkName))
	w.chain("postrouting-nat", "type nat hook postrouting priority 100; policy accept;",
		fmt.Sprintf("oifname %q snat ip to ip saddr map @to-public", uplinkName))
}
