// Package cluster is the cluster model that the provider, the node daemons, the CLI
// and the lab share: roles, topology, S3 layout, boot reports and the table of
// services. It defines formats and names, and does no I/O.
package cluster

import (
	"fmt"
	"slices"
)

// Role is the role of a node. There is one image per role.
type Role string

// The five roles of a cluster.
const (
	RoleLoadBalancer Role = "openresty-lb"
	RoleWireGuard    Role = "wireguard"
	RoleApp          Role = "app"
	RoleManagement   Role = "management"
	RoleDB           Role = "db"
)

// Roles returns all roles in the order in which a change is rolled out: roles that
// others depend on are last.
func Roles() []Role {
	return []Role{RoleApp, RoleLoadBalancer, RoleWireGuard, RoleDB, RoleManagement}
}

// ParseRole returns the role named s, or an error that lists the valid names.
func ParseRole(s string) (Role, error) {
	if r := Role(s); slices.Contains(Roles(), r) {
		return r, nil
	}
	return "", fmt.Errorf("unknown role %q; use one of %v", s, Roles())
}
