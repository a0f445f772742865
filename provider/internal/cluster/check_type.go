package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

// instanceTypeInfo is the description of an instance type by EC2.
type instanceTypeInfo struct {
	ec2types.InstanceTypeInfo
	zones []string // in which it is offered
}

// observeTypes describes the instance types of nodes to launch, and where they are
// offered. Types that it has described already cost no call.
func (op *operation) observeTypes(ctx context.Context, nodes []clusterspec.Node) error {
	var names []string
	for _, n := range nodes {
		if _, known := op.dependencies.types[n.InstanceType]; !known {
			names = append(names, n.InstanceType)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 {
		return nil
	}
	zones := map[string][]string{}
	var described []ec2types.InstanceTypeInfo
	err := base.Parallel(ctx,
		func(ctx context.Context) error { return op.listOfferings(ctx, names, zones) },
		func(ctx context.Context) (err error) {
			described, err = op.describeTypes(ctx, names)
			return err
		})
	for _, name := range names {
		op.dependencies.types[name] = instanceTypeInfo{zones: zones[name]}
	}
	for _, found := range described {
		op.dependencies.types[string(found.InstanceType)] = instanceTypeInfo{InstanceTypeInfo: found, zones: zones[string(found.InstanceType)]}
	}
	return err
}

// listOfferings adds the zones in which each type is offered.
func (op *operation) listOfferings(ctx context.Context, names []string, zones map[string][]string) error {
	pages := ec2.NewDescribeInstanceTypeOfferingsPaginator(op.Client.EC2, &ec2.DescribeInstanceTypeOfferingsInput{
		LocationType: ec2types.LocationTypeAvailabilityZone, Filters: []ec2types.Filter{base.Filter("instance-type", names...)}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, o := range page.InstanceTypeOfferings {
			zones[string(o.InstanceType)] = append(zones[string(o.InstanceType)], aws.ToString(o.Location))
		}
	}
	return nil
}

// describeTypes describes the types that exist. By a filter: with a list of names, AWS
// fails for all if one does not exist.
func (op *operation) describeTypes(ctx context.Context, names []string) (found []ec2types.InstanceTypeInfo, err error) {
	in := &ec2.DescribeInstanceTypesInput{Filters: []ec2types.Filter{base.Filter("instance-type", names...)}}
	for {
		page, err := op.Client.EC2.DescribeInstanceTypes(ctx, in)
		if err != nil {
			return nil, err
		}
		found = append(found, page.InstanceTypes...)
		if in.NextToken = page.NextToken; aws.ToString(in.NextToken) == "" {
			return found, nil
		}
	}
}

// zone returns the zone of the node's subnet.
func (op *operation) zone(n clusterspec.Node) string {
	return aws.ToString(op.dependencies.subnets[n.SubnetID].AvailabilityZone)
}

// checkType checks that the instance type is offered in the node's zone, runs the
// image's architecture, and shows a data volume by its id.
func (op *operation) checkType(n clusterspec.Node) (string, error) {
	info := op.dependencies.types[n.InstanceType]
	if len(info.zones) == 0 {
		return "instance_type", fmt.Errorf("AWS does not offer instance type %s in %s; choose another type", n.InstanceType, op.Client.Region)
	}
	if zone := op.zone(n); !slices.Contains(info.zones, zone) {
		slices.Sort(info.zones)
		return "instance_type", fmt.Errorf("AWS does not offer instance type %s in zone %s of subnet %s, only in %s; choose another type, or a subnet in one of those zones",
			n.InstanceType, zone, n.SubnetID, strings.Join(info.zones, ", "))
	}
	architecture := string(op.dependencies.images[n.ImageID].Architecture)
	if p := info.ProcessorInfo; p != nil && architecture != "" && !slices.Contains(p.SupportedArchitectures, ec2types.ArchitectureType(architecture)) {
		return "instance_type", fmt.Errorf("instance type %s runs %v, and image %s is built for %s; choose another type or image",
			n.InstanceType, p.SupportedArchitectures, n.ImageID, architecture)
	}
	// The node finds its volume by the NVMe serial number, which Xen does not show.
	if nitro := info.Hypervisor == ec2types.InstanceTypeHypervisorNitro || aws.ToBool(info.BareMetal); n.VolumeID != "" && !nitro {
		return "instance_type", fmt.Errorf("instance type %s is not built on the Nitro System, which a node with a data volume needs; choose a current type, such as t3 or m7i", n.InstanceType)
	}
	return "", nil
}

// dryRun has EC2 check permissions and parameters of the calls that launch or restart
// the nodes, without executing them. It runs before any of their instances is
// terminated or stopped.
func (op *operation) dryRun(ctx context.Context, nodes []clusterspec.Node) error {
	return base.ParallelAll(ctx, base.StepsFor(nodes, func(ctx context.Context, _ int, n clusterspec.Node) error {
		if op.toBeRestarted(n) {
			return op.dryRunRestart(ctx, n)
		}
		in, err := op.runInput(n, op.lastGeneration(n.Name)+1)
		if err != nil {
			return err
		}
		in.DryRun, in.ClientToken = aws.Bool(true), nil
		_, err = awswait.Retry(ctx, awswait.ProfilePropagation, awswait.IsProfilePropagating, func(ctx context.Context) (*ec2.RunInstancesOutput, error) {
			return op.Client.EC2.RunInstances(ctx, in, failSoonWithoutCapacity)
		})
		// The instance to be replaced still has the address.
		if err = awswait.Ignore(err, func(err error) bool { return awswait.HasCode(err, "DryRunOperation", "InvalidIPAddress.InUse") }); err != nil {
			return fmt.Errorf("no node was changed: %w", op.launchError(n, err))
		}
		return nil
	})...)
}

// dryRunRestart checks that the node's instance may be stopped, changed and
// started.
func (op *operation) dryRunRestart(ctx context.Context, n clusterspec.Node) error {
	dry, ids := aws.Bool(true), []string{op.actual.live[n.Name].id()}
	_, stop := op.Client.EC2.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: ids, DryRun: dry})
	_, modify := op.Client.EC2.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: &ids[0], DryRun: dry,
		InstanceType: &ec2types.AttributeValue{Value: &n.InstanceType}})
	_, start := op.Client.EC2.StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: ids, DryRun: dry})
	for _, err := range []error{stop, modify, start} {
		if err != nil && !awswait.HasCode(err, "DryRunOperation", "IncorrectInstanceState") {
			return fmt.Errorf("no node was changed: restart node %s: %w", n.Name, err)
		}
	}
	return nil
}
