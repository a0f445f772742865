// Package vpnpeers configures the peers of the VPN gateway's interface from the objects in
// S3 (docs/design.md#s3-layout, vpn/peers/). Invalid objects are ignored and logged, and do
// not affect the others.
package vpnpeers

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/xeroops/xeroops/internal/cluster"
)

// usable returns the addresses of the valid peers by their public keys, and an error for
// each invalid object. If two peers have the same address or key, the first by name is
// valid.
func usable(objects map[string]cluster.VPNPeer, vpn netip.Prefix, layout cluster.Layout) (peers map[string]netip.Addr, invalid []error) {
	peers = map[string]netip.Addr{}
	owners := map[netip.Addr]string{vpn.Masked().Addr().Next(): "the gateway"}
	for _, object := range slices.Sorted(maps.Keys(objects)) {
		p := objects[object]
		address, err := check(p, vpn)
		_, known := peers[p.PublicKey]
		switch {
		case err != nil:
		case layout.VPNPeer(p.Name) != object:
			err = fmt.Errorf("name %q belongs to another object", p.Name)
		case owners[address] != "":
			err = fmt.Errorf("address %s is used by %s", address, owners[address])
		case known:
			err = errors.New("public key is used by another peer")
		default:
			peers[p.PublicKey], owners[address] = address, p.Name
		}
		if err != nil {
			invalid = append(invalid, fmt.Errorf("object %s: %w", object, err))
		}
	}
	return peers, invalid
}

func check(p cluster.VPNPeer, vpn netip.Prefix) (netip.Addr, error) {
	if p.Schema != cluster.VPNPeerSchema {
		return netip.Addr{}, fmt.Errorf("schema is %d, want %d", p.Schema, cluster.VPNPeerSchema)
	}
	// Strict like wg(8), so that each key has one encoding.
	if key, err := base64.StdEncoding.Strict().DecodeString(p.PublicKey); err != nil || len(key) != 32 {
		return netip.Addr{}, errors.New("public key is not 32 bytes in base64")
	}
	address, err := netip.ParseAddr(p.Address)
	if err != nil || !vpn.Contains(address) || address == vpn.Masked().Addr() {
		return netip.Addr{}, fmt.Errorf("address %q is not in %s", p.Address, vpn)
	}
	return address, nil
}

// changes returns the arguments of `wg set INTERFACE` that change the current peers of the
// interface, given by key, to the desired ones.
func changes(current map[string]string, desired map[string]netip.Addr) []string {
	var args []string
	for _, key := range slices.Sorted(maps.Keys(current)) {
		if _, stays := desired[key]; !stays {
			args = append(args, "peer", key, "remove")
		}
	}
	for _, key := range slices.Sorted(maps.Keys(desired)) {
		allowed := netip.PrefixFrom(desired[key], desired[key].BitLen()).String()
		if current[key] != allowed {
			args = append(args, "peer", key, "allowed-ips", allowed)
		}
	}
	return args
}
