// Package cluster is the cluster model that the provider, the node agent, the
// CLI and the lab share: roles, topology, the layout of S3, boot reports and
// the table of services. It holds shapes and names only, and reads and writes
// nothing itself.
package cluster

import (
	"fmt"
	"slices"
)

// Role says what a node does; an image is built per role.
type Role string

// The five roles of a cluster.
const (
	RoleLoadBalancer Role = "openresty-lb"
	RoleWireGuard    Role = "wireguard"
	RoleApp          Role = "app"
	RoleManagement   Role = "management"
	RoleDB           Role = "db"
)

// Roles lists every role in the order in which a change is rolled out: those
// that others depend on come last.
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
