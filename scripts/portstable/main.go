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

The ports that each role listens on, and who may connect to them. Security groups allow nothing else. *internet* is any IPv4
address, *vpn* the addresses of VPN clients; other names are roles of the same cluster.

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
	case "http":
		return fmt.Sprintf("HTTP :%d%s", h.Port, h.Path)
	case "tcp":
		return fmt.Sprintf("TCP %d", h.Port)
	default:
		return "systemd"
	}
}
