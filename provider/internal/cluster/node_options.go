package cluster

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

// The values of cpu_credits.
const (
	creditsStandard  = "standard"
	creditsUnlimited = "unlimited"
)

// isBurstable matches the types that have CPU credits.
var isBurstable = regexp.MustCompile(`^t\d`)

func (i instance) isSpot() bool { return i.InstanceLifecycle == ec2types.InstanceLifecycleTypeSpot }

func (i instance) isMonitored() bool {
	return i.Monitoring != nil && (i.Monitoring.State == ec2types.MonitoringStateEnabled || i.Monitoring.State == ec2types.MonitoringStatePending)
}

// validateOptions refuses options that the node's role or type does not have.
func validateOptions(nodes map[string]nodeModel, diags *diag.Diagnostics) {
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		n, at := nodes[name], path.Root("nodes").AtMapKey(name)
		if n.Spot.ValueBool() && !n.Role.IsUnknown() && n.Role.ValueString() != string(model.RoleApp) {
			diags.AddAttributeError(at.AtName("spot"), "Spot Instance of this role",
				fmt.Sprintf("AWS may end a Spot Instance at any time, and the cluster does without nodes of role app only; remove spot from node %s.", name))
		}
		if n.Spot.ValueBool() && !n.VolumeID.IsNull() {
			diags.AddAttributeError(at.AtName("volume_id"), "Spot Instance with a data volume",
				fmt.Sprintf("A Spot Instance cannot be stopped to exchange its data volume; remove volume_id or spot from node %s.", name))
		}
		if t := n.InstanceType; !n.CPUCredits.IsNull() && !t.IsUnknown() && !isBurstable.MatchString(t.ValueString()) {
			diags.AddAttributeError(at.AtName("cpu_credits"), "Instance type without CPU credits",
				fmt.Sprintf("Only T types, such as t3.small, have CPU credits, and the type of node %s is %s; remove cpu_credits, or choose a T type.", name, t.ValueString()))
		}
	}
}

// setOptions sets the options of a launch.
func setOptions(in *ec2.RunInstancesInput, n clusterspec.Node) {
	if n.Monitoring {
		in.Monitoring = &ec2types.RunInstancesMonitoringEnabled{Enabled: aws.Bool(true)}
	}
	if n.CPUCredits != "" {
		in.CreditSpecification = &ec2types.CreditSpecificationRequest{CpuCredits: aws.String(n.CPUCredits)}
	}
	if n.Spot {
		in.InstanceMarketOptions = &ec2types.InstanceMarketOptionsRequest{MarketType: ec2types.MarketTypeSpot,
			SpotOptions: &ec2types.SpotMarketOptions{SpotInstanceType: ec2types.SpotInstanceTypeOneTime,
				InstanceInterruptionBehavior: ec2types.InstanceInterruptionBehaviorTerminate}}
		in.DisableApiTermination = nil // AWS refuses it
	}
}

// observeCredits reads the CPU credits of the instances for which the configuration
// has them. Without such nodes it makes no call.
func (op *operation) observeCredits(ctx context.Context) error {
	in := &ec2.DescribeInstanceCreditSpecificationsInput{}
	for _, n := range op.spec.SortedNodes() {
		// AWS refuses the whole call for an instance of another type.
		if i, lives := op.actual.live[n.Name]; lives && n.CPUCredits != "" && isBurstable.MatchString(string(i.InstanceType)) {
			in.InstanceIds = append(in.InstanceIds, i.id())
		}
	}
	op.actual.credits = map[string]string{}
	if len(in.InstanceIds) == 0 {
		return nil
	}
	out, err := op.Client.EC2.DescribeInstanceCreditSpecifications(ctx, in)
	if err != nil {
		return err
	}
	for _, c := range out.InstanceCreditSpecifications {
		op.actual.credits[aws.ToString(c.InstanceId)] = aws.ToString(c.CpuCredits)
	}
	return nil
}

// creditsDiffer reports whether the CPU credits of an instance have to be set: they are
// others, or unknown since the instance gets a T type in this run.
func (op *operation) creditsDiffer(n clusterspec.Node, i instance) bool {
	if n.CPUCredits == "" || op.toBeRestarted(n) || op.launchedNow[i.id()] {
		return false
	}
	op.actual.mu.Lock()
	defer op.actual.mu.Unlock()
	return op.actual.credits[i.id()] != n.CPUCredits
}

func (op *operation) setCredits(ctx context.Context, n clusterspec.Node, i instance) error {
	out, err := op.Client.EC2.ModifyInstanceCreditSpecification(ctx, &ec2.ModifyInstanceCreditSpecificationInput{
		InstanceCreditSpecifications: []ec2types.InstanceCreditSpecificationRequest{{InstanceId: i.InstanceId, CpuCredits: &n.CPUCredits}}})
	if err != nil {
		return err
	}
	for _, u := range out.UnsuccessfulInstanceCreditSpecifications {
		if u.Error != nil {
			return fmt.Errorf("%s: %s", u.Error.Code, aws.ToString(u.Error.Message))
		}
	}
	op.actual.mu.Lock()
	defer op.actual.mu.Unlock()
	op.actual.credits[i.id()] = n.CPUCredits
	return nil
}

// setMonitoring turns detailed monitoring of an instance on or off.
func (op *operation) setMonitoring(ctx context.Context, n clusterspec.Node, i instance) (err error) {
	if n.Monitoring {
		_, err = op.Client.EC2.MonitorInstances(ctx, &ec2.MonitorInstancesInput{InstanceIds: []string{i.id()}})
	} else {
		_, err = op.Client.EC2.UnmonitorInstances(ctx, &ec2.UnmonitorInstancesInput{InstanceIds: []string{i.id()}})
	}
	return err
}
