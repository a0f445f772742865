package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

// The values of tenancy.
const (
	tenancyDefault   = "default"
	tenancyDedicated = "dedicated"
)

// maxSpreadPerZone is how many running instances of a spread placement group a zone
// has (EC2 user guide, "Placement strategies").
const maxSpreadPerZone = 7

// hardware is what an instance has to be stopped for to change it, and what AWS may lack
// capacity for.
type hardware struct{ instanceType, tenancy, group string }

func (h hardware) String() string {
	text := h.instanceType
	if h.tenancy != tenancyDefault {
		text += " of tenancy " + h.tenancy
	}
	if h.group != "" {
		text += " in placement group " + h.group
	}
	return text
}

func (i instance) hardware() hardware {
	return hardware{string(i.InstanceType), i.tenancy(), i.placementGroup()}
}

// wantedHardware returns the hardware that the configuration has for a node.
func (op *operation) wantedHardware(n clusterspec.Node) hardware {
	return hardware{n.InstanceType, cmp.Or(n.Tenancy, op.vpcTenancy()), n.PlacementGroup}
}

func (i instance) tenancy() string {
	if i.Placement == nil {
		return tenancyDefault
	}
	return cmp.Or(string(i.Placement.Tenancy), tenancyDefault)
}

func (i instance) placementGroup() string {
	if i.Placement == nil {
		return ""
	}
	return aws.ToString(i.Placement.GroupName)
}

// vpcTenancy returns the tenancy of instances that are launched without any.
func (op *operation) vpcTenancy() string { return cmp.Or(op.actual.vpcTenancy, tenancyDefault) }

// observeTenancy reads the VPC's tenancy if the instances and what was observed do not
// show it. For instances on shared hardware, which a VPC of dedicated tenancy does not
// have, it makes no call.
func (op *operation) observeTenancy(ctx context.Context) error {
	for _, i := range op.actual.live {
		if i.tenancy() != tenancyDefault && op.actual.vpcTenancy == "" {
			return op.observeVPC(ctx)
		}
	}
	return nil
}

// tenancyFromAWS returns the tenancy of an instance, and null if none was set and it is
// that of the VPC.
func (op *operation) tenancyFromAWS(i instance, before types.String) types.String {
	if i.tenancy() == cmp.Or(before.ValueString(), op.vpcTenancy()) {
		return before
	}
	return types.StringValue(i.tenancy())
}

func setPlacementOptions(in *ec2.RunInstancesInput, n clusterspec.Node) {
	if n.Tenancy != "" || n.PlacementGroup != "" {
		in.Placement = &ec2types.Placement{Tenancy: ec2types.Tenancy(n.Tenancy), GroupName: base.Optional(n.PlacementGroup)}
	}
}

// setHardware changes the type and the placement of a stopped instance.
func (op *operation) setHardware(ctx context.Context, i instance, from, to hardware) error {
	var steps []ec2.ModifyInstancePlacementInput
	if from.tenancy != to.tenancy {
		// A spread placement group takes the default tenancy only.
		if from.group != "" {
			steps = append(steps, ec2.ModifyInstancePlacementInput{GroupName: aws.String("")})
			from.group = ""
		}
		steps = append(steps, ec2.ModifyInstancePlacementInput{Tenancy: ec2types.HostTenancy(to.tenancy)})
	}
	if from.group != to.group {
		steps = append(steps, ec2.ModifyInstancePlacementInput{GroupName: &to.group})
	}
	for _, step := range steps {
		step.InstanceId = i.InstanceId
		if _, err := op.Client.EC2.ModifyInstancePlacement(ctx, &step); err != nil {
			return fmt.Errorf("set the placement of %s to %s: %w", i.id(), to, err)
		}
	}
	if from.instanceType == to.instanceType {
		return nil
	}
	return op.setType(ctx, i, to.instanceType)
}

// observePlacementGroups describes the placement groups of nodes to launch or restart.
// Those that it has described already cost no call.
func (op *operation) observePlacementGroups(ctx context.Context, nodes []clusterspec.Node) error {
	var names []string
	for _, n := range nodes {
		if _, known := op.dependencies.groups[n.PlacementGroup]; n.PlacementGroup != "" && !known {
			names = append(names, n.PlacementGroup)
		}
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) == 0 {
		return nil
	}
	// By a filter: with a list of names, AWS fails for all if one does not exist.
	out, err := op.Client.EC2.DescribePlacementGroups(ctx, &ec2.DescribePlacementGroupsInput{Filters: []ec2types.Filter{base.Filter("group-name", names...)}})
	if err != nil {
		return err
	}
	for _, g := range out.PlacementGroups {
		op.dependencies.groups[aws.ToString(g.GroupName)] = g
	}
	return nil
}

func (op *operation) checkTenancy(n clusterspec.Node) (string, error) {
	if n.Tenancy == tenancyDefault && op.vpcTenancy() == tenancyDedicated {
		return "tenancy", fmt.Errorf("VPC %s has tenancy dedicated, in which AWS launches no instance of tenancy default; remove tenancy, or change the VPC's with aws ec2 modify-vpc-tenancy. "+
			"Set tenancy = \"dedicated\" before on nodes that are to stay: the next apply moves those without a tenancy, which restarts them", op.spec.VPCID)
	}
	return "", nil
}

// checkPlacementGroup checks that the node's placement group, if it exists, takes the
// node. The plan may be one that creates the group.
func (op *operation) checkPlacementGroup(n clusterspec.Node) (string, error) {
	group, exists := op.dependencies.groups[n.PlacementGroup]
	if !exists {
		return "", nil
	}
	const at = "placement_group"
	if group.State != ec2types.PlacementGroupStateAvailable {
		return at, fmt.Errorf("placement group %s is %s; wait until it is available, or choose another group", n.PlacementGroup, group.State)
	}
	info := op.dependencies.types[n.InstanceType].PlacementGroupInfo
	if info != nil && !slices.Contains(info.SupportedStrategies, ec2types.PlacementGroupStrategy(group.Strategy)) {
		return at, fmt.Errorf("placement group %s has the strategy %s, and instance type %s allows %v; choose another type or group", n.PlacementGroup, group.Strategy, n.InstanceType, info.SupportedStrategies)
	}
	zones := map[string]int{}
	for _, other := range op.spec.SortedNodes() {
		if other.PlacementGroup == n.PlacementGroup && op.zone(other) != "" { // "" is not known yet
			zones[op.zone(other)]++
		}
	}
	switch group.Strategy {
	case ec2types.PlacementStrategyCluster:
		if len(zones) > 1 {
			return at, fmt.Errorf("placement group %s has the strategy cluster, whose instances are in one zone, and its nodes are in %d zones; choose a group per zone, or one of strategy spread", n.PlacementGroup, len(zones))
		}
	case ec2types.PlacementStrategySpread:
		if op.wantedHardware(n).tenancy != tenancyDefault {
			return at, fmt.Errorf("placement group %s has the strategy spread, which takes no instance of tenancy %s; choose another group, or tenancy default", n.PlacementGroup, op.wantedHardware(n).tenancy)
		}
		if count := zones[op.zone(n)]; count > maxSpreadPerZone {
			return at, fmt.Errorf("placement group %s has the strategy spread, with at most %d running instances in a zone, and %d nodes in %s have it; choose further groups for some of them", n.PlacementGroup, maxSpreadPerZone, count, op.zone(n))
		}
	}
	return "", nil
}

// checkPlacementGroupsExist checks it before anything is changed.
func (op *operation) checkPlacementGroupsExist(nodes []clusterspec.Node) error {
	for _, n := range nodes {
		if _, exists := op.dependencies.groups[n.PlacementGroup]; n.PlacementGroup != "" && !exists {
			return base.AtAttribute(path.Root("nodes").AtMapKey(n.Name).AtName("placement_group"),
				fmt.Errorf("node %s: placement group %s does not exist in %s; create it, or choose another group", n.Name, n.PlacementGroup, op.Client.Region))
		}
	}
	return nil
}

// placementAdvice returns what else to change if AWS has no capacity for the node.
func placementAdvice(n clusterspec.Node) string {
	switch {
	case n.PlacementGroup != "":
		return ", remove placement_group"
	case n.Tenancy == tenancyDedicated:
		return ", remove tenancy"
	}
	return ""
}
