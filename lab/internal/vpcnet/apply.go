//go:build linux

package vpcnet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Apply brings the network in line with the model. Machines that don't change keep
// their connections. The nftables rules are replaced atomically, after new interfaces
// and routes have been added and old ones removed.
func (n *Network) Apply(ctx context.Context, m Model) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := m.validate(); err != nil {
		return fmt.Errorf("apply network: %w", err)
	}
	for _, step := range []func(Model) error{
		n.removeMachines, n.setGateways, n.addMachines, n.setRoutes, n.loadRules, n.cutChangedNAT,
	} {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("apply network: %w", err)
		}
		if err := step(m); err != nil {
			return fmt.Errorf("apply network: %w", err)
		}
	}
	return nil
}

// sameInterface reports whether the interface made for a serves b too.
func sameInterface(a, b Machine) bool {
	return a.ID == b.ID && a.Address == b.Address && a.Subnet == b.Subnet && a.Incarnation == b.Incarnation
}

func (n *Network) removeMachines(m Model) error {
	want := map[string]Machine{}
	for _, w := range m.Machines {
		want[w.ID] = w
	}
	for id, have := range n.machines {
		if w, ok := want[id]; ok && sameInterface(have, w) {
			continue
		}
		if err := n.removeMachine(have); err != nil {
			return err
		}
		delete(n.machines, id)
	}
	return nil
}

func (n *Network) addMachines(m Model) error {
	subnets := m.subnets()
	for _, w := range m.Machines {
		have, ok := n.machines[w.ID]
		if !ok {
			if err := n.addMachine(w, subnets[w.Subnet]); err != nil {
				return err
			}
		}
		if have.LinkBitsPerSecond != w.LinkBitsPerSecond {
			if err := n.setLinkRate(w); err != nil {
				return err
			}
		}
		n.machines[w.ID] = w
	}
	return nil
}

// gateway returns the address of a subnet's router: the first one, as on AWS.
func gateway(cidr netip.Prefix) netip.Addr { return cidr.Masked().Addr().Next() }

// setGateways gives the router the subnets' gateway addresses.
func (n *Network) setGateways(m Model) error {
	want := map[netip.Addr]bool{MetadataAddress: true, DNSAddress: true, S3Address: true, MirrorAddress: true}
	for _, s := range m.Subnets {
		want[gateway(s.CIDR)] = true
	}
	lo, err := n.router.LinkByName("lo")
	if err != nil {
		return err
	}
	have, err := n.router.AddrList(lo, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for _, h := range have {
		a, _ := netip.AddrFromSlice(h.IP.To4())
		if !want[a] && !a.IsLoopback() {
			if err := n.router.AddrDel(lo, &h); err != nil {
				return fmt.Errorf("remove gateway %s: %w", a, err)
			}
		}
		delete(want, a)
	}
	for a := range want {
		if err := n.router.AddrAdd(lo, hostAddr(a)); err != nil {
			return fmt.Errorf("add gateway %s: %w", a, err)
		}
	}
	return nil
}

const (
	// firstTable is the route table of the first subnet; the others follow.
	firstTable = 1000
	// rulePriority is that of the rules that select a subnet's table. They come after
	// the main table: as on AWS, local routes take precedence.
	rulePriority  = 40000
	mainTable     = unix.RT_TABLE_MAIN
	routeProtocol = 88 // distinguishes routes of the lab from the kernel's
)

// setRoutes creates each subnet's route table and routes each machine's packets by the
// table of its subnet.
func (n *Network) setRoutes(m Model) error {
	routes, rules, err := n.wantedRoutes(m)
	if err != nil {
		return err
	}
	have, err := n.router.RouteListFiltered(netlink.FAMILY_V4,
		&netlink.Route{Protocol: routeProtocol, Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	for _, r := range have {
		if _, ok := routes[routeKey(r)]; ok {
			delete(routes, routeKey(r))
		} else if err := n.router.RouteDel(&r); err != nil {
			return fmt.Errorf("remove route %s: %w", r, err)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(routes)) {
		r := routes[k]
		if err := n.router.RouteAdd(&r); err != nil {
			return fmt.Errorf("add route %s: %w", r, err)
		}
	}
	return n.setRules(rules)
}

// wantedRoutes returns the desired routes by routeKey, and the table of each interface.
func (n *Network) wantedRoutes(m Model) (map[string]netlink.Route, map[string]int, error) {
	routes, rules := map[string]netlink.Route{}, map[string]int{}
	add := func(r netlink.Route) {
		r.Protocol, r.Family = routeProtocol, netlink.FAMILY_V4
		routes[routeKey(r)] = r
	}
	links := map[string]netlink.Link{}
	addresses := map[string]netip.Addr{}
	for _, w := range m.Machines {
		l, err := n.router.LinkByName(linkName(w.Address))
		if err != nil {
			return nil, nil, fmt.Errorf("find interface of machine %s: %w", w.ID, err)
		}
		links[w.ID], addresses[w.ID] = l, w.Address
	}
	for i, s := range m.Subnets {
		table := firstTable + i
		for _, w := range m.Machines {
			if w.Subnet == s.ID {
				rules[linkName(w.Address)] = table
			}
		}
		// Packets to an unused address of the subnet must not follow the default route.
		add(netlink.Route{Table: mainTable, Dst: ipNet(s.CIDR.Masked()), Type: unix.RTN_UNREACHABLE})
		if s.Internet {
			add(netlink.Route{Table: table, Dst: ipNet(netip.MustParsePrefix("0.0.0.0/0")),
				LinkIndex: n.uplink, Gw: InternetAddress.AsSlice()})
		}
		for _, r := range s.Routes {
			if l, ok := links[r.Machine]; ok {
				add(netlink.Route{Table: table, Dst: ipNet(r.CIDR.Masked()), LinkIndex: l.Attrs().Index,
					Gw: addresses[r.Machine].AsSlice(), Flags: int(netlink.FLAG_ONLINK)})
			} else {
				add(netlink.Route{Table: table, Dst: ipNet(r.CIDR.Masked()), Type: unix.RTN_BLACKHOLE})
			}
		}
	}
	return routes, rules, nil
}

// routeKey identifies a route by what this package sets of it.
func routeKey(r netlink.Route) string {
	dst := "0.0.0.0/0"
	if r.Dst != nil {
		dst = r.Dst.String()
	}
	link := r.LinkIndex
	kind := r.Type
	if kind == 0 {
		kind = unix.RTN_UNICAST
	}
	if kind != unix.RTN_UNICAST {
		link = 0 // the kernel reports lo here
	}
	return fmt.Sprintf("table %d %s type %d via %s dev %d", r.Table, dst, kind, r.Gw, link)
}

// setRules selects the route table for packets by the interface that they come in on.
func (n *Network) setRules(want map[string]int) error {
	have, err := n.router.RuleList(netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("list routing rules: %w", err)
	}
	for _, r := range have {
		if r.Priority != rulePriority {
			continue
		}
		if want[r.IifName] == r.Table {
			delete(want, r.IifName)
		} else if err := n.router.RuleDel(&r); err != nil {
			return fmt.Errorf("remove routing rule: %w", err)
		}
	}
	for iif, table := range want {
		r := netlink.NewRule()
		r.Family, r.Priority, r.IifName, r.Table = netlink.FAMILY_V4, rulePriority, iif, table
		if err := n.router.RuleAdd(r); err != nil {
			return fmt.Errorf("add routing rule for %s: %w", iif, err)
		}
	}
	return nil
}

// cutChangedNAT deletes the connection tracking entries of public addresses that were
// moved or removed: their connections would be translated for as long as they last.
func (n *Network) cutChangedNAT(m Model) error {
	want := map[netip.Addr]netip.Addr{}
	for _, w := range m.Machines {
		if w.PublicAddress.IsValid() {
			want[w.PublicAddress] = w.Address
		}
	}
	var filters []netlink.CustomConntrackFilter
	for public, private := range n.nat {
		if want[public] == private {
			continue
		}
		for _, kind := range []netlink.ConntrackFilterType{netlink.ConntrackOrigDstIP, netlink.ConntrackReplyDstIP} {
			f := &netlink.ConntrackFilter{}
			if err := f.AddIP(kind, public.AsSlice()); err != nil {
				return err
			}
			filters = append(filters, f)
		}
	}
	n.nat = want
	if len(filters) == 0 {
		return nil
	}
	return inNamespace(n.path(Router), func() error {
		_, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, filters...)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("cut connections of moved public addresses: %w", err)
		}
		return nil
	})
}
