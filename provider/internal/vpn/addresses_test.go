package vpn

import (
	"net/netip"
	"strings"
	"testing"
)

func TestAssignReturnsTheLowestFreeAddress(t *testing.T) {
	vpn := netip.MustParsePrefix("10.100.0.0/29") // .1 is the gateway's, .7 is not used
	held := map[string]string{"b": "10.100.0.3"}
	for _, want := range []struct{ name, address string }{{"a", "10.100.0.2"}, {"c", "10.100.0.4"}, {"d", "10.100.0.5"}, {"e", "10.100.0.6"}} {
		got, changed, err := assign(held, vpn, want.name, netip.Addr{})
		if err != nil || !changed || got.String() != want.address {
			t.Errorf("peer %s: %v (changed %v, error %v), want %s", want.name, got, changed, err, want.address)
		}
	}
	_, _, err := assign(held, vpn, "f", netip.Addr{})
	if err == nil || !strings.Contains(err.Error(), "all addresses of the VPN range 10.100.0.0/29 are taken") {
		t.Errorf("a full range: error %v", err)
	}
}

func TestAssignKeepsAnAddressThatThePeerHolds(t *testing.T) {
	vpn := netip.MustParsePrefix("10.100.0.0/24")
	held := map[string]string{"a": "10.100.0.9"}
	got, changed, err := assign(held, vpn, "a", netip.Addr{})
	if err != nil || changed || got.String() != "10.100.0.9" {
		t.Errorf("got %v (changed %v, error %v), want its own address unchanged", got, changed, err)
	}
}

func TestAssignMovesAPeerWhoseAddressIsOutsideTheRange(t *testing.T) {
	held := map[string]string{"a": "10.99.0.9"}
	got, changed, err := assign(held, netip.MustParsePrefix("10.100.0.0/24"), "a", netip.Addr{})
	if err != nil || !changed || got.String() != "10.100.0.2" || held["a"] != "10.100.0.2" {
		t.Errorf("got %v (changed %v, error %v), want 10.100.0.2", got, changed, err)
	}
}

func TestAssignRejectsReservedAddresses(t *testing.T) {
	vpn := netip.MustParsePrefix("10.100.0.0/16")
	for address, says := range map[string]string{
		"10.101.0.5":     "outside the cluster's VPN range 10.100.0.0/16",
		"10.100.0.0":     "first or last address",
		"10.100.0.1":     "gateway's own address",
		"10.100.255.255": "first or last address",
		"10.100.0.2":     `the address of VPN peer "other"`,
	} {
		held := map[string]string{"other": "10.100.0.2"}
		_, _, err := assign(held, vpn, "mine", netip.MustParseAddr(address))
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error %v, want %q", address, err, says)
		}
		if len(held) != 1 {
			t.Errorf("%s: the table was changed to %v", address, held)
		}
	}
}
