//go:build linux

package labtest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/xeroops/xeroops/internal/testkit/debiantree"
)

// checkVPN connects a WireGuard client on the internet side with the configuration from
// Terraform's output.
func (c *livingCluster) checkVPN() {
	c.t.Helper()
	keys := strings.Fields(c.client(`k=$(wg genkey); echo "$k" "$(echo "$k" | wg pubkey)"`))
	if len(keys) != 2 {
		c.t.Fatalf("keys are %q", keys)
	}
	peers := fmt.Sprintf(`-var=vpn_peers={laptop=%q}`, keys[1])
	c.apply(peers)
	var configs map[string]string
	must(c.t, json.Unmarshal([]byte(c.terraform.run("output", "-json", "vpn_client_configs")), &configs))
	config := filepath.Join(c.t.TempDir(), "client.conf")
	must(c.t, os.WriteFile(config, []byte(strings.Replace(configs["laptop"], "<private key>", keys[0], 1)), 0o600))

	// Only ports that the table opens to the VPN are reachable.
	const script = `wg-quick up %s 2>/dev/null
for _ in $(seq 60); do
	if curl -s -o /dev/null --max-time 1 http://10.0.2.20:5001/; then echo reached; break; fi
	sleep 0.5
done
! curl -sk -o /dev/null --max-time 2 https://10.0.2.30:8008/ || echo "Patroni's port is open to the VPN"
! curl -s -o /dev/null --max-time 2 http://169.254.169.254/ || echo "the gateway's metadata service answers"
ip -o -4 address show dev client | awk '{print $4}'
wg-quick down %s 2>/dev/null`
	began := time.Now()
	out := c.client(fmt.Sprintf(script, config, config))
	if !strings.HasPrefix(out, "reached\n10.100.") || !strings.HasSuffix(out, "/32") {
		c.t.Errorf("output of the VPN client: %q", out)
	}
	c.t.Logf("a VPN client connected and disconnected within %.1f s", time.Since(began).Seconds())
	if seen := c.shell("gateway", "wg show wg0 allowed-ips"); !strings.Contains(seen, keys[1]) {
		c.t.Errorf("the gateway's peers are %q", seen)
	}
	c.apply() // without the peer
	gone := c.until("the gateway has removed the peer", time.Minute, func() (bool, string) {
		seen := c.shell("gateway", "wg show wg0 peers")
		return !strings.Contains(seen, keys[1]), seen
	})
	c.t.Logf("the gateway removed the peer %.1f s after the apply", gone.Seconds())
}

// client runs a script on the internet side in a Debian 13 tree.
func (c *livingCluster) client(script string) string {
	c.t.Helper()
	cmd := debiantree.Command(c.t, "sh", "-c", script)
	return strings.TrimSpace(c.run(append([]string{"exec", "--", "unshare", "--mount"}, cmd.Args...)...))
}
