package role

import (
	"slices"
	"testing"

	"github.com/xeroops/xeroops/internal/cluster"
)

// The image's firewall admits IPv6, all of whose addresses are public, to these alone.
func TestPortsThatAreOpenToTheInternet(t *testing.T) {
	for _, role := range cluster.Roles() {
		got := internetPorts(cluster.ServicesOf(role))
		slices.Sort(got)
		want := map[cluster.Role][]string{
			cluster.RoleLoadBalancer: {"tcp 443-443", "tcp 80-80"},
			cluster.RoleWireGuard:    {"udp 51820-51820"},
		}[role]
		if !slices.Equal(got, want) {
			t.Errorf("role %s opens %q, want %q", role, got, want)
		}
	}
}
