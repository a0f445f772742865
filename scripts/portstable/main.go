// Portstable prints the guide of service ports, generated from
// templates/service-ports.json.
package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/xeroops/xeroops/internal/cluster"
)

const head = `---
page_title: "Services and ports"
subcategory: ""
description: |-
  The ports that each role listens on, and who may connect to them.
---

# Services and ports

The ports that each role listens on, and who may connect to them. *internet* is any IPv4 address, *vpn* the addresses of VPN clients; other names are
roles of the same cluster. Security groups allow nothing else, unless you configure it in ` + "`xeroops_cluster`" + `:

- **IPv6**: if an edge (` + "`openresty-lb`" + `) has an ` + "`ipv6_address`" + `, its ports for the internet are open to any IPv6 address, too. No other port and no other role is open over IPv6.
- **` + "`ingress`" + `**: for a role that it names, *internet* is only the IPv4 and IPv6 ranges and prefix lists in it.
- **` + "`debug_access`" + `**: with ` + "`instance-connect-endpoint`" + `, port 22 of all nodes is open to that endpoint, besides the VPN. AWS lets those in who may call
  ` + "`ec2-instance-connect:OpenTunnel`" + `; to log in, they need the key of ` + "`key_name`" + `.
- **` + "`additional_security_group_ids`" + `**: nodes of a role also have the rules of these groups.

This page is generated from ` + "`templates/service-ports.json`" + `, which the security groups are created from as well.
`

func main() {
	fmt.Print(head)
	for _, role := range []cluster.Role{cluster.RoleLoadBalancer, cluster.RoleWireGuard, cluster.RoleApp, cluster.RoleManagement, cluster.RoleDB} {
		printRole(os.Stdout, role)
	}
}

func printRole(out io.Writer, role cluster.Role) {
	_, _ = fmt.Fprintf(out, "\n## %s\n\n| service | unit | port | from | health check |\n|---|---|---|---|---|\n", role)
	for _, s := range cluster.ServicesOf(role) {
		name, unit, health := s.Name, "`"+s.Unit+"`", check(s.Health)
		for _, p := range s.Ports {
			_, _ = fmt.Fprintf(out, "| %s | %s | %s | %s | %s |\n", name, unit, p, strings.Join(p.From, ", "), health)
			name, unit, health = "", "", ""
		}
		if len(s.Ports) == 0 {
			_, _ = fmt.Fprintf(out, "| %s | %s | | | %s |\n", name, unit, health)
		}
	}
}

func check(h cluster.Health) string {
	switch h.Type {
	case "http", "etcd":
		return fmt.Sprintf("HTTP :%d%s", h.Port, h.Path)
	case "https":
		return fmt.Sprintf("HTTPS :%d%s", h.Port, h.Path)
	case "tcp":
		return fmt.Sprintf("TCP %d", h.Port)
	default:
		return "systemd"
	}
}
