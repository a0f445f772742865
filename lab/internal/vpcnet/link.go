//go:build linux

package vpcnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// MAC returns the hardware address of a machine's interface, derived from its address.
func MAC(a netip.Addr) net.HardwareAddr {
	b := a.As4()
	return net.HardwareAddr{0x02, 0, b[0], b[1], b[2], b[3]}
}

// linkName returns the name of the router's end of a machine's link. Interface names
// are limited to 15 characters, too few for an instance id.
func linkName(a netip.Addr) string {
	b := a.As4()
	return fmt.Sprintf("v-%02x%02x%02x%02x", b[0], b[1], b[2], b[3])
}

func handleAt(path string) (*netlink.Handle, error) {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("open namespace %s: %w", path, err)
	}
	defer ns.Close()
	return netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
}

// addMachine creates a machine's namespace and its link to the router.
func (n *Network) addMachine(m Machine, s Subnet) error {
	path := n.NamespacePath(m.ID)
	if err := makeNamespace(path); err != nil {
		return err
	}
	name := linkName(m.Address)
	addr := netip.PrefixFrom(m.Address, s.CIDR.Bits())
	err := n.addLink(name, path, MAC(m.Address), addr, gateway(s.CIDR))
	if err == nil {
		err = n.routeToMachine(name, m.Address)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("add interface of machine %s: %w", m.ID, err), n.removeMachine(m))
	}
	return nil
}

// removeMachine undoes addMachine, even one that failed halfway.
func (n *Network) removeMachine(m Machine) error {
	var errs []error
	if l, err := n.router.LinkByName(linkName(m.Address)); err == nil {
		errs = append(errs, n.router.LinkDel(l))
	}
	errs = append(errs, removeNamespace(n.NamespacePath(m.ID)))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove interface of machine %s: %w", m.ID, err)
	}
	return nil
}

// routeToMachine adds the router's route to the machine and enables proxy ARP: the
// machines of a subnet have separate links, so the router answers ARP requests among
// them.
func (n *Network) routeToMachine(name string, a netip.Addr) error {
	err := inNamespace(n.path(Router), func() error {
		for _, kv := range [][2]string{{"conf/%s/proxy_arp", "1"}, {"neigh/%s/proxy_delay", "0"}} {
			p := "/proc/sys/net/ipv4/" + fmt.Sprintf(kv[0], name)
			if err := os.WriteFile(p, []byte(kv[1]), 0o644); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	l, err := n.router.LinkByName(name)
	if err != nil {
		return err
	}
	return n.router.RouteAdd(&netlink.Route{
		LinkIndex: l.Attrs().Index, Dst: ipNet(netip.PrefixFrom(a, 32)), Scope: netlink.SCOPE_LINK,
	})
}

// addLink creates a veth pair from the router's interface name to eth0 of the
// namespace at path, and gives eth0 an address and a default gateway. Both ends are
// created in place, so that the host's namespace never sees them.
func (n *Network) addLink(name, path string, mac net.HardwareAddr, addr netip.Prefix, gw netip.Addr) error {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	veth := netlink.NewVeth(netlink.NewLinkAttrs())
	veth.Name, veth.PeerName = name, "eth0"
	veth.PeerHardwareAddr, veth.PeerNamespace = mac, netlink.NsFd(int(ns))
	if err := n.router.LinkAdd(veth); err != nil {
		return fmt.Errorf("add link %s: %w", name, err)
	}
	near, err := n.router.LinkByName(name)
	if err != nil {
		return err
	}
	if err := n.router.LinkSetUp(near); err != nil {
		return err
	}
	far, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer far.Close()
	return setUpEth0(far, addr, gw)
}

func setUpEth0(h *netlink.Handle, addr netip.Prefix, gw netip.Addr) error {
	lo, err := h.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := h.LinkSetUp(lo); err != nil {
		return err
	}
	eth0, err := h.LinkByName("eth0")
	if err != nil {
		return err
	}
	if err := h.AddrAdd(eth0, &netlink.Addr{IPNet: ipNet(addr)}); err != nil {
		return err
	}
	if err := h.LinkSetUp(eth0); err != nil {
		return err
	}
	return h.RouteAdd(&netlink.Route{LinkIndex: eth0.Attrs().Index, Gw: gw.AsSlice()})
}

// setLinkRate limits both directions of a machine's link to LinkBitsPerSecond with a
// token bucket, or lifts the limit. The queue holds 200 ms of traffic, so that packets
// are delayed before they are dropped.
func (n *Network) setLinkRate(m Machine) error {
	far, err := handleAt(n.NamespacePath(m.ID))
	if err != nil {
		return err
	}
	defer far.Close()
	for _, end := range []struct {
		h    *netlink.Handle
		name string
	}{{n.router, linkName(m.Address)}, {far, "eth0"}} {
		l, err := end.h.LinkByName(end.name)
		if err == nil {
			err = setRate(end.h, l, m.LinkBitsPerSecond)
		}
		if err != nil {
			return fmt.Errorf("limit link of machine %s: %w", m.ID, err)
		}
	}
	return nil
}

func setRate(h *netlink.Handle, l netlink.Link, bitsPerSecond uint64) error {
	attrs := netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT}
	if bitsPerSecond == 0 {
		err := h.QdiscDel(&netlink.Tbf{QdiscAttrs: attrs})
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
			return nil // there was no limit
		}
		return err
	}
	rate := max(bitsPerSecond/8, 1)
	// A veth pair passes segments of up to 64 KiB; a smaller bucket would drop them.
	const bucketBytes = 64 << 10
	return h.QdiscReplace(&netlink.Tbf{
		QdiscAttrs: attrs, Rate: rate,
		Limit:  uint32(max(rate/5, 2*bucketBytes)),
		Buffer: netlink.Xmittime(rate, bucketBytes),
	})
}
