package cluster

import (
	"net/netip"
	"slices"
	"testing"
)

func TestReferencePlan(t *testing.T) {
	plan := ReferencePlan()
	if plan.Public.String() != "10.0.1.0/24" || plan.Private.String() != "10.0.2.0/24" {
		t.Errorf("subnets %s and %s", plan.Public, plan.Private)
	}
	want := []PlannedNode{
		{TopologyNode{"app1", RoleApp, "10.0.2.10"}, false},
		{TopologyNode{"app2", RoleApp, "10.0.2.11"}, false},
		{TopologyNode{"db1", RoleDB, "10.0.2.30"}, false},
		{TopologyNode{"db2", RoleDB, "10.0.2.31"}, false},
		{TopologyNode{"edge", RoleLoadBalancer, "10.0.1.10"}, true},
		{TopologyNode{"gateway", RoleWireGuard, "10.0.1.11"}, true},
		{TopologyNode{"management", RoleManagement, "10.0.2.20"}, false},
	}
	if !slices.Equal(plan.Nodes, want) {
		t.Errorf("nodes\n%v, want\n%v", plan.Nodes, want)
	}
}

func TestAddressesDoNotDependOnTheNumberOfNodes(t *testing.T) {
	vpc := netip.MustParsePrefix("10.250.252.0/22")
	most := PlanAddresses(vpc, MaxPlannedApps, MaxPlannedDBs)
	for _, node := range PlanAddresses(vpc, 1, 1).Nodes {
		if !slices.Contains(most.Nodes, node) {
			t.Errorf("%v has a different address in a larger cluster", node)
		}
	}
	taken := map[string]string{}
	for _, node := range most.Nodes {
		if other, ok := taken[node.Address]; ok {
			t.Errorf("%s and %s share %s", node.Name, other, node.Address)
		}
		taken[node.Address] = node.Name
		subnet := most.Private
		if node.Public {
			subnet = most.Public
		}
		if !subnet.Contains(netip.MustParseAddr(node.Address)) || !vpc.Overlaps(subnet) {
			t.Errorf("%v is outside subnet %s of VPC %s", node, subnet, vpc)
		}
	}
}
