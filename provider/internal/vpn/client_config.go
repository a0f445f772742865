package vpn

import (
	"fmt"
	"strings"

	"github.com/xeroops/xeroops/internal/cluster"
)

// keepaliveSeconds keeps a NAT's entry for the client alive; 25 is what
// WireGuard's own quick start advises.
const keepaliveSeconds = 25

// PrivateKeyPlaceholder stands in a client's configuration where the peer puts
// its own private key, which never leaves it.
const PrivateKeyPlaceholder = "<private key>"

// clientConfig returns a peer's configuration in wg-quick's syntax.
func clientConfig(vpn cluster.VPN, address string) string {
	return fmt.Sprintf(`[Interface]
PrivateKey = %s
Address = %s/32

[Peer]
PublicKey = %s
Endpoint = %s
AllowedIPs = %s
PersistentKeepalive = %d
`, PrivateKeyPlaceholder, address, vpn.PublicKey, vpn.Endpoint,
		strings.Join(append([]string{vpn.CIDR}, vpn.Routes...), ", "), keepaliveSeconds)
}

// checkGateway says why a cluster's topology is not enough to connect with.
func checkGateway(t *cluster.Topology) error {
	switch {
	case t.VPN.PublicKey == "":
		return fmt.Errorf("cluster %q has no VPN gateway yet; give it a node of role %s, and apply it first", t.Cluster, cluster.RoleWireGuard)
	case t.VPN.Endpoint == "":
		return fmt.Errorf("the VPN gateway of cluster %q has no public address; set eip_id on its node of role %s", t.Cluster, cluster.RoleWireGuard)
	}
	return nil
}
