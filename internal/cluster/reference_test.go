package cluster

import (
	"net/netip"
	"slices"
	"testing"
)

func TestReferencePlan(t *testing.T) {
	plan := ReferencePlan()
	wantSubnets := []PlannedSubnet{
		{"public", true, 0, netip.MustParsePrefix("10.0.1.0/24")},
		{"private", false, 0, netip.MustParsePrefix("10.0.2.0/24")},
		{"public-2", true, 1, netip.MustParsePrefix("10.0.3.0/24")},
		{"private-2", false, 1, netip.MustParsePrefix("10.0.4.0/24")},
	}
	if !slices.Equal(plan.Subnets, wantSubnets) {
		t.Errorf("subnets\n%v, want\n%v", plan.Subnets, wantSubnets)
	}
	want := []PlannedNode{
		{TopologyNode{"app1", RoleApp, "10.0.2.10"}, "private"},
		{TopologyNode{"app2", RoleApp, "10.0.4.11"}, "private-2"},
		{TopologyNode{"db1", RoleDB, "10.0.2.30"}, "private"},
		{TopologyNode{"db2", RoleDB, "10.0.4.31"}, "private-2"},
		{TopologyNode{"edge", RoleLoadBalancer, "10.0.1.10"}, "public"},
		{TopologyNode{"gateway", RoleWireGuard, "10.0.1.11"}, "public"},
		{TopologyNode{"management", RoleManagement, "10.0.2.20"}, "private"},
	}
	if !slices.Equal(plan.Nodes, want) {
		t.Errorf("nodes\n%v, want\n%v", plan.Nodes, want)
	}
}

// TestOneZoneKeepsItsPlan has the addresses that clusters of one zone have had since
// before there were several.
func TestOneZoneKeepsItsPlan(t *testing.T) {
	plan := PlanAddresses(netip.MustParsePrefix(ReferenceVPC), 12, 2, 1)
	if len(plan.Subnets) != 2 || plan.Subnets[0].CIDR.String() != "10.0.1.0/24" || plan.Subnets[1].CIDR.String() != "10.0.2.0/24" {
		t.Errorf("subnets %v", plan.Subnets)
	}
	for name, want := range map[string]PlannedNode{
		"app2":  {TopologyNode{"app2", RoleApp, "10.0.2.11"}, "private"},
		"app12": {TopologyNode{"app12", RoleApp, "10.0.2.101"}, "private"},
		"db2":   {TopologyNode{"db2", RoleDB, "10.0.2.31"}, "private"},
		"edge":  {TopologyNode{"edge", RoleLoadBalancer, "10.0.1.10"}, "public"},
	} {
		if !slices.Contains(plan.Nodes, want) {
			t.Errorf("%s is not at %v: %v", name, want, plan.Nodes)
		}
	}
}

// TestVotersOfEtcdAreSpread checks the spread of etcd's first members: management and
// the first two db nodes (decision 0007).
func TestVotersOfEtcdAreSpread(t *testing.T) {
	zoneOf := func(plan AddressPlan, node string) int {
		n := plan.Nodes[slices.IndexFunc(plan.Nodes, func(n PlannedNode) bool { return n.Name == node })]
		return plan.Subnets[slices.IndexFunc(plan.Subnets, func(s PlannedSubnet) bool { return s.Name == n.Subnet })].Zone
	}
	vpc := netip.MustParsePrefix(ReferenceVPC)
	for zones := 1; zones <= MaxPlannedZones; zones++ {
		plan := PlanAddresses(vpc, 2, 2, zones)
		voters := map[int]int{}
		for _, node := range []string{"management", "db1", "db2"} {
			voters[zoneOf(plan, node)]++
		}
		if want := min(zones, 3); len(voters) != want {
			t.Errorf("%d zones: voters by zone %v, want them in %d zones", zones, voters, want)
		}
		if zones > 1 && voters[0] != 3-(min(zones, 3)-1) {
			t.Errorf("%d zones: voters by zone %v, want the second vote, if any, in the zone of management", zones, voters)
		}
	}
	if two, three := PlanAddresses(vpc, 2, 2, 2), PlanAddresses(vpc, 2, 2, 3); zoneOf(two, "db2") != zoneOf(three, "db2") {
		t.Error("a third zone moves both database nodes, want one")
	}
}

func TestAddressesDoNotDependOnTheNumberOfNodes(t *testing.T) {
	for text, zones := range map[string]int{"10.250.252.0/22": 1, "10.250.248.0/21": 3, "10.250.240.0/20": 6} {
		vpc := netip.MustParsePrefix(text)
		if got := MaxZonesOf(vpc); got != zones {
			t.Errorf("%s holds %d zones, want %d", vpc, got, zones)
		}
		most := PlanAddresses(vpc, MaxPlannedApps, MaxPlannedDBs, zones)
		for _, node := range PlanAddresses(vpc, 1, 1, zones).Nodes {
			if !slices.Contains(most.Nodes, node) {
				t.Errorf("%v has a different address in a larger cluster", node)
			}
		}
		checkAddresses(t, vpc, most)
	}
}

func checkAddresses(t *testing.T, vpc netip.Prefix, plan AddressPlan) {
	t.Helper()
	taken := map[string]string{}
	for _, node := range plan.Nodes {
		if other, ok := taken[node.Address]; ok {
			t.Errorf("%s and %s share %s", node.Name, other, node.Address)
		}
		taken[node.Address] = node.Name
		at := slices.IndexFunc(plan.Subnets, func(s PlannedSubnet) bool { return s.Name == node.Subnet })
		if at < 0 || !plan.Subnets[at].CIDR.Contains(netip.MustParseAddr(node.Address)) || !vpc.Contains(netip.MustParseAddr(node.Address)) {
			t.Errorf("%v is outside its subnet or VPC %s: %v", node, vpc, plan.Subnets)
		}
	}
}
