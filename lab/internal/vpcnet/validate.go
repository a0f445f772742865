//go:build linux

package vpcnet

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
)

// identifier matches ids that are safe in file names and in names of nftables sets
// and chains.
var identifier = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,62}$`)

// isProtocol reports whether p is a protocol name or number of EC2, or empty for all.
func isProtocol(p string) bool {
	_, err := strconv.ParseUint(p, 10, 8)
	return err == nil || slices.Contains([]string{"", "tcp", "udp", "icmp", "icmpv6"}, p)
}

func (m Model) subnets() map[string]Subnet {
	out := map[string]Subnet{}
	for _, s := range m.Subnets {
		out[s.ID] = s
	}
	return out
}

// validate returns an error if the model cannot be applied.
func (m Model) validate() error {
	subnets := m.subnets()
	for _, s := range m.Subnets {
		if !identifier.MatchString(s.ID) || !s.CIDR.IsValid() || !s.CIDR.Addr().Is4() {
			return fmt.Errorf("subnet %q: bad id or IPv4 range %s", s.ID, s.CIDR)
		}
		for _, other := range m.Subnets {
			if other.ID != s.ID && other.CIDR.Overlaps(s.CIDR) {
				return fmt.Errorf("subnet %s: CIDR block %s overlaps that of %s; all VPCs of the lab share one address space", s.ID, s.CIDR, other.ID)
			}
		}
		for _, r := range s.Routes {
			if !r.CIDR.IsValid() || !r.CIDR.Addr().Is4() {
				return fmt.Errorf("subnet %s: bad route %s", s.ID, r.CIDR)
			}
		}
	}
	groups := map[string]bool{}
	for _, g := range m.Groups {
		if err := g.validate(); err != nil {
			return fmt.Errorf("group %q: %w", g.ID, err)
		}
		groups[g.ID] = true
	}
	taken := map[netip.Addr]string{}
	ids := map[string]bool{}
	for _, w := range m.Machines {
		if err := w.validate(subnets, groups); err != nil {
			return fmt.Errorf("machine %q: %w", w.ID, err)
		}
		if ids[w.ID] {
			return fmt.Errorf("machine %s: duplicate id", w.ID)
		}
		ids[w.ID] = true
		for _, a := range []netip.Addr{w.Address, w.PublicAddress} {
			if other, ok := taken[a]; ok && a.IsValid() {
				return fmt.Errorf("machine %s: address %s is taken by %s", w.ID, a, other)
			}
			taken[a] = w.ID
		}
	}
	for _, p := range m.Partitions {
		if !ids[p.A] || p.B != "" && !ids[p.B] {
			return fmt.Errorf("partition of %q and %q: no such machine", p.A, p.B)
		}
	}
	return nil
}

// Valid returns the valid part of the model, and by id why each of the other subnets,
// groups and machines is invalid. Of two that conflict, the first one is valid.
func (m Model) Valid() (Model, map[string]error) {
	if m.validate() == nil { // the usual case; the code below validates once per part
		return m, nil
	}
	var valid Model
	invalid := map[string]error{}
	try := func(id string, add func(*Model)) {
		with := Model{Subnets: slices.Clone(valid.Subnets), Groups: slices.Clone(valid.Groups), Machines: slices.Clone(valid.Machines)}
		add(&with)
		if err := with.validate(); err != nil {
			invalid[id] = err
			return
		}
		valid = with
	}
	for _, s := range m.Subnets {
		try(s.ID, func(with *Model) { with.Subnets = append(with.Subnets, s) })
	}
	for _, g := range m.Groups {
		try(g.ID, func(with *Model) { with.Groups = append(with.Groups, g) })
	}
	for _, w := range m.Machines {
		if err := invalid[w.Subnet]; err != nil {
			invalid[w.ID] = err
			continue
		}
		try(w.ID, func(with *Model) { with.Machines = append(with.Machines, w) })
	}
	has := func(id string) bool {
		return slices.ContainsFunc(valid.Machines, func(w Machine) bool { return w.ID == id })
	}
	for _, p := range m.Partitions {
		if has(p.A) && (p.B == "" || has(p.B)) {
			valid.Partitions = append(valid.Partitions, p)
		}
	}
	return valid, invalid
}

func (w Machine) validate(subnets map[string]Subnet, groups map[string]bool) error {
	s, ok := subnets[w.Subnet]
	switch {
	case !identifier.MatchString(w.ID):
		return fmt.Errorf("bad id")
	case !ok:
		return fmt.Errorf("no subnet %q", w.Subnet)
	case !s.CIDR.Contains(w.Address) || w.Address == gateway(s.CIDR) || w.Address == s.CIDR.Masked().Addr():
		return fmt.Errorf("address %s is reserved or not in %s", w.Address, s.CIDR)
	case w.PublicAddress.IsValid() && !w.PublicAddress.Is4():
		return fmt.Errorf("public address %s is not IPv4", w.PublicAddress)
	}
	for _, g := range w.Groups {
		if !groups[g] {
			return fmt.Errorf("no group %q", g)
		}
	}
	return nil
}

func (g Group) validate() error {
	if !identifier.MatchString(g.ID) {
		return fmt.Errorf("bad id")
	}
	for _, r := range slices.Concat(g.Ingress, g.Egress) {
		if !isProtocol(r.Protocol) {
			return fmt.Errorf("bad protocol %q; use tcp, udp, icmp, icmpv6, a number, or an empty string for all", r.Protocol)
		}
		if r.FromPort > r.ToPort {
			return fmt.Errorf("bad port range %d-%d: it ends before it starts", r.FromPort, r.ToPort)
		}
		for _, peer := range r.Groups {
			if !identifier.MatchString(peer) {
				return fmt.Errorf("bad peer group id %q", peer)
			}
		}
		for _, c := range r.CIDRs {
			if !c.IsValid() || !c.Addr().Is4() {
				return fmt.Errorf("range %s is not IPv4", c)
			}
		}
	}
	return nil
}
