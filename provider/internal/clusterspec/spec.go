// Package clusterspec holds the specification of a cluster: what the customer
// configured, in Go's own types. The components of a cluster (security groups,
// IAM roles, objects in S3, VPN routes) depend on it and not on the Terraform
// resource.
//
// An attribute of xeroops_cluster stands in four places: the schema and the
// model in package cluster, a field of [Spec], and the component that applies
// it. The same holds for an attribute of a node and [Node].
package clusterspec

import (
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/types"

	model "github.com/xeroops/xeroops/internal/cluster"
)

// Spec is the configuration of one cluster. After an import, fields that AWS
// does not know, such as Buckets and VPNCIDR, are empty until the next apply.
type Spec struct {
	Name                  string
	VPCID                 string
	VPNCIDR               string
	Buckets               Buckets
	Nodes                 map[string]Node
	Settings              map[string]string
	InstanceProfiles      map[model.Role]string // the customer's own
	IAM                   IAM
	Access                Access
	KeyName               string
	RootVolumeGiB         int32
	KMSKeyID              string // of root volumes; "" is the account's default key
	TerminationProtection bool
	ReadyTimeout          time.Duration
	OnReadyTimeout        string
	TagsAll               types.Map
}

// Buckets are the names of the cluster's buckets.
type Buckets struct{ Uploads, PGDump, WALG, Logs string }

// IAM is what the customer's organization requires of the IAM roles.
type IAM struct {
	Path                string // begins the path of roles and profiles; "" is "/"
	PermissionsBoundary string // ARN of a policy, or ""
	AdditionalPolicies  map[model.Role][]string
	ExclusivePolicies   bool // policies that others add are drift
}

// Access has the sources that may connect to nodes, besides those of service-ports.json.
type Access struct {
	// Internet limits, by role, what the table opens to the internet. A role that is
	// missing is open to all addresses.
	Internet map[model.Role]Sources
	// AdditionalGroups are the ids of further security groups, by role.
	AdditionalGroups map[model.Role][]string
	// ConnectEndpoint is set if there is an EC2 Instance Connect Endpoint.
	ConnectEndpoint bool
}

// Sources are the sources of a security group's rules: IPv4 and IPv6 ranges in
// canonical form, and ids of prefix lists.
type Sources struct{ CIDRs, PrefixLists []string }

// Node is the configuration of one node. EIPID and VolumeID are optional.
type Node struct {
	Name                            string
	Role                            model.Role
	InstanceType, SubnetID, Address string
	IPv6Address                     string // "" is none
	ImageID, EIPID, VolumeID        string
	Tags                            map[string]string // override those of the cluster
	Monitoring                      bool              // detailed
	CPUCredits                      string            // "standard", "unlimited" or "", AWS's default
	Spot                            bool
	Tenancy                         string // "default", "dedicated" or "", that of the VPC
	PlacementGroup                  string // name; "" is none
	RootVolumeIOPS                  int32  // 0 is the baseline of gp3
	RootVolumeThroughput            int32  // MiB/s; 0 is the baseline of gp3
}

// Layout returns the names of the cluster's objects in the uploads bucket.
func (s *Spec) Layout() model.Layout { return model.Layout{Cluster: s.Name} }

// SortedNodes returns the nodes, sorted by name.
func (s *Spec) SortedNodes() []Node {
	var nodes []Node
	for _, name := range slices.Sorted(maps.Keys(s.Nodes)) {
		nodes = append(nodes, s.Nodes[name])
	}
	return nodes
}

// Roles returns the roles that have a node, in the order of [model.Roles].
func (s *Spec) Roles() []model.Role {
	var roles []model.Role
	for _, role := range model.Roles() {
		if s.HasRole(role) {
			roles = append(roles, role)
		}
	}
	return roles
}

// HasRole reports whether some node has the role.
func (s *Spec) HasRole(role model.Role) bool { return len(s.NodesOf(role)) > 0 }

// HasIPv6 reports whether some node of the role has an IPv6 address.
func (s *Spec) HasIPv6(role model.Role) bool {
	return slices.ContainsFunc(s.NodesOf(role), func(n Node) bool { return n.IPv6Address != "" })
}

// NodesOf returns the nodes of a role, sorted by name.
func (s *Spec) NodesOf(role model.Role) []Node {
	var nodes []Node
	for _, n := range s.SortedNodes() {
		if n.Role == role {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// ManagedRoles returns the roles that have a node and for which the provider
// manages an IAM role: all but those with an instance profile of the
// customer's own.
func (s *Spec) ManagedRoles() []model.Role {
	return slices.DeleteFunc(s.Roles(), func(role model.Role) bool { return s.InstanceProfiles[role] != "" })
}
