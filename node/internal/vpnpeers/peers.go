// Package vpnpeers keeps the peers of the VPN gateway's interface those of the
// objects in S3 (docs/design.md#s3-layout, vpn/peers/). An object that makes no sense is
// left out and logged; it never keeps the others out.
package vpnpeers

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/xeroops/xeroops/internal/cluster"
)

// usable returns the addresses of the peers by their public keys, and why which
// objects are left out, by key. Where two claim one address or have one key, the
// first by name has it.
func usable(objects map[string]cluster.VPNPeer, vpn netip.Prefix, layout cluster.Layout) (peers map[string]netip.Addr, bad map[string]error) {
	peers, bad = map[string]netip.Addr{}, map[string]error{}
	owners := map[netip.Addr]string{vpn.Masked().Addr().Next(): "the gateway"}
	for _, object := range slices.Sorted(maps.Keys(objects)) {
		p := objects[object]
		address, err := check(p, vpn)
		_, known := peers[p.PublicKey]
		switch {
		case err != nil:
			bad[object] = err
		case layout.VPNPeer(p.Name) != object:
			bad[object] = fmt.Errorf("its name is %q, which is another object's", p.Name)
		case owners[address] != "":
			bad[object] = fmt.Errorf("its address %s is that of %s", address, owners[address])
		case known:
			bad[object] = fmt.Errorf("its public key is another peer's")
		default:
			peers[p.PublicKey], owners[address] = address, p.Name
		}
	}
	return peers, bad
}

func check(p cluster.VPNPeer, vpn netip.Prefix) (netip.Addr, error) {
	if p.Schema != cluster.VPNPeerSchema {
		return netip.Addr{}, fmt.Errorf("its schema is %d, not %d", p.Schema, cluster.VPNPeerSchema)
	}
	// Strict, as wg is: one key has one form.
	if key, err := base64.StdEncoding.Strict().DecodeString(p.PublicKey); err != nil || len(key) != 32 {
		return netip.Addr{}, fmt.Errorf("its public key is not 32 bytes in base64")
	}
	address, err := netip.ParseAddr(p.Address)
	if err != nil || !vpn.Contains(address) || address == vpn.Masked().Addr() {
		return netip.Addr{}, fmt.Errorf("its address %q is not one of %s", p.Address, vpn)
	}
	return address, nil
}

// changes are the arguments of `wg set INTERFACE` that lead from the peers that
// the interface has to those that it is to have; none if they are the same.
func changes(has map[string]string, wanted map[string]netip.Addr) []string {
	var args []string
	for _, key := range slices.Sorted(maps.Keys(has)) {
		if _, stays := wanted[key]; !stays {
			args = append(args, "peer", key, "remove")
		}
	}
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		allowed := netip.PrefixFrom(wanted[key], wanted[key].BitLen()).String()
		if has[key] != allowed {
			args = append(args, "peer", key, "allowed-ips", allowed)
		}
	}
	return args
}
