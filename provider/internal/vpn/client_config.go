package vpn

import (
	"fmt"
	"strings"

	"github.com/xeroops/xeroops/internal/cluster"
)

// keepaliveSeconds keeps the client's NAT mapping alive; WireGuard's quick start
// recommends 25.
const keepaliveSeconds = 25

// PrivateKeyPlaceholder is the placeholder for the private key in a client's
// configuration. The key never leaves the client.
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

// checkGateway returns an error if a cluster has no gateway to connect to.
func checkGateway(t *cluster.Topology) error {
	switch {
	case t.VPN.PublicKey == "":
		return fmt.Errorf("cluster %q has no VPN gateway yet; give it a node of role %s, and apply it first", t.Cluster, cluster.RoleWireGuard)
	case t.VPN.Endpoint == "":
		return fmt.Errorf("the VPN gateway of cluster %q has no public address; set eip_id on its node of role %s", t.Cluster, cluster.RoleWireGuard)
	}
	return nil
}
