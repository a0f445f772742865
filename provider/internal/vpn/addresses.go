package vpn

import (
	"fmt"

	"net/netip"
)

// checkAddress returns an error if a peer cannot have the address: the first of the
// VPN range is the gateway's, and the network address and the last one stay unused,
// because some systems treat them as broadcast.
func checkAddress(vpn netip.Prefix, address netip.Addr) error {
	switch {
	case !vpn.Contains(address):
		return fmt.Errorf("%s is outside the cluster's VPN range %s; choose an address within it", address, vpn)
	case address == gatewayAddress(vpn):
		return fmt.Errorf("%s is the VPN gateway's own address; choose another in %s", address, vpn)
	case address == vpn.Addr() || address == last(vpn):
		return fmt.Errorf("%s is the first or last address of the VPN range %s; choose one between", address, vpn)
	}
	return nil
}

// assign allocates an address to a peer: the wanted one if it is valid, otherwise the
// one it holds, otherwise the lowest free one. It updates held, and reports whether it
// changed.
func assign(held map[string]string, vpn netip.Prefix, name string, wanted netip.Addr) (address netip.Addr, changed bool, err error) {
	holders := map[string]string{}
	for peer, address := range held {
		holders[address] = peer
	}
	if !wanted.IsValid() {
		wanted = current(held, vpn, name)
	}
	if !wanted.IsValid() {
		wanted = lowestFree(holders, vpn)
	}
	if !wanted.IsValid() {
		return wanted, false, fmt.Errorf("all addresses of the VPN range %s are taken by its %d peers; remove some", vpn, len(held))
	}
	if err := checkAddress(vpn, wanted); err != nil {
		return wanted, false, err
	}
	if holder, ok := holders[wanted.String()]; ok && holder != name {
		return wanted, false, fmt.Errorf("%s is the address of VPN peer %q; choose another", wanted, holder)
	}
	changed = held[name] != wanted.String()
	held[name] = wanted.String()
	return wanted, changed, nil
}

// current returns the address that the peer holds, if it is still in the range.
func current(held map[string]string, vpn netip.Prefix, name string) netip.Addr {
	address, err := netip.ParseAddr(held[name])
	if err != nil || checkAddress(vpn, address) != nil {
		return netip.Addr{}
	}
	return address
}

func lowestFree(holders map[string]string, vpn netip.Prefix) netip.Addr {
	for a := gatewayAddress(vpn).Next(); vpn.Contains(a) && a != last(vpn); a = a.Next() {
		if _, taken := holders[a.String()]; !taken {
			return a
		}
	}
	return netip.Addr{}
}

func gatewayAddress(vpn netip.Prefix) netip.Addr { return vpn.Addr().Next() }

func last(vpn netip.Prefix) netip.Addr {
	a := vpn.Addr().As4()
	for bit := vpn.Bits(); bit < 32; bit++ {
		a[bit/8] |= 1 << (7 - bit%8)
	}
	return netip.AddrFrom4(a)
}
