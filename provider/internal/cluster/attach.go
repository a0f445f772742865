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
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

// attachResources associates Elastic IPs, attaches data volumes, sets the VPN
// routes, and repairs what was changed on running instances. It makes no call
// for what is right already.
func (op *operation) attachResources(ctx context.Context) error {
	var steps []base.Step
	for _, n := range op.spec.SortedNodes() {
		i, lives := op.actual.live[n.Name]
		if !lives || op.toBeReplaced(n) {
			continue
		}
		steps = append(steps, op.attachSteps(n, i)...)
	}
	if err := base.ParallelAll(ctx, op.releaseSteps()...); err != nil {
		return err
	}
	if err := base.ParallelAll(ctx, append(steps, op.routes.Ensure)...); err != nil {
		return err
	}
	op.setTags = false // a rollout calls this again after each node
	return nil
}

// releaseSteps returns the steps that release Elastic IPs which one node has and
// another needs: otherwise each could wait for the other. Volumes are released by the
// rollout.
func (op *operation) releaseSteps() []base.Step {
	wanted := map[string]string{} // node by address
	for _, n := range op.spec.SortedNodes() {
		wanted[n.EIPID] = n.Name
	}
	var steps []base.Step
	for name, i := range op.actual.live {
		if a := op.actual.addressOf(i); a != nil && neededElsewhere(wanted, aws.ToString(a.AllocationId), name) {
			steps = append(steps, func(ctx context.Context) error { return op.disassociate(ctx, a) })
		}
	}
	return steps
}

// neededElsewhere reports whether a node other than the holder needs the address.
func neededElsewhere(wanted map[string]string, id, holder string) bool {
	node, needed := wanted[id]
	return needed && node != holder
}

func (op *operation) disassociate(ctx context.Context, a *ec2types.Address) error {
	_, err := op.Client.EC2.DisassociateAddress(ctx, &ec2.DisassociateAddressInput{AssociationId: a.AssociationId})
	return awswait.Ignore(err, awswait.IsNotFound)
}

func (op *operation) detach(ctx context.Context, volume string, i instance) error {
	_, err := op.Client.EC2.DetachVolume(ctx, &ec2.DetachVolumeInput{VolumeId: &volume, InstanceId: i.InstanceId, Device: aws.String(dataDevice)})
	// IncorrectState: it is detached already, since an answer was lost.
	return awswait.Ignore(err, func(err error) bool { return awswait.IsNotFound(err) || awswait.IsIncorrectState(err) })
}

// attachSteps returns the steps that are needed for one node.
func (op *operation) attachSteps(n clusterspec.Node, i instance) []base.Step {
	var steps []base.Step
	add := func(what string, needed bool, do base.Step) {
		if needed {
			steps = append(steps, func(ctx context.Context) error {
				if err := do(ctx); err != nil {
					return fmt.Errorf("node %s (%s): %s: %w", n.Name, i.id(), what, err)
				}
				return nil
			})
		}
	}
	add("start", i.state() == ec2types.InstanceStateNameStopped && !op.toBeRestarted(n), func(ctx context.Context) error {
		if err := op.forgetBoot(ctx, n); err != nil {
			return err
		}
		_, err := op.Client.EC2.StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: []string{i.id()}})
		return err
	})
	add("set tags", op.tagsDiffer(n, i), func(ctx context.Context) error {
		return base.SetEC2Tags(ctx, op.Client.EC2, i.id(), i.Tags, op.wantedNodeTags(n, i), op.managedTags(n.Name))
	})
	add("set the tags of its root volume", op.setTags, func(ctx context.Context) error { return op.tagRootVolume(ctx, n, i) })
	add("set the tags of its network interface", op.setTags, func(ctx context.Context) error { return op.tagInterface(ctx, n, i) })
	add("turn off the source/destination check", n.Role == model.RoleWireGuard && aws.ToBool(i.SourceDestCheck), func(ctx context.Context) error {
		_, err := op.Client.EC2.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: i.InstanceId,
			SourceDestCheck: &ec2types.AttributeBooleanValue{Value: aws.Bool(false)}})
		return err
	})
	add("set its security groups", !i.inGroups(op.groupsOf(n)), func(ctx context.Context) error {
		_, err := op.Client.EC2.ModifyNetworkInterfaceAttribute(ctx, &ec2.ModifyNetworkInterfaceAttributeInput{
			NetworkInterfaceId: aws.String(i.interfaceID()), Groups: op.groupsOf(n)})
		return err
	})
	add("set its instance profile", !op.hasProfile(n, i), func(ctx context.Context) error { return op.replaceProfile(ctx, n, i) })
	add("require metadata tokens", !i.requiresTokens(), func(ctx context.Context) error {
		_, err := op.Client.EC2.ModifyInstanceMetadataOptions(ctx, &ec2.ModifyInstanceMetadataOptionsInput{InstanceId: i.InstanceId,
			HttpTokens: ec2types.HttpTokensStateRequired, HttpPutResponseHopLimit: aws.Int32(1), HttpEndpoint: ec2types.InstanceMetadataEndpointStateEnabled})
		return err
	})
	add("set its termination protection", op.setProtection || op.actual.unprotected[i.id()], func(ctx context.Context) error { return op.protect(ctx, i, op.spec.TerminationProtection) })
	add("set its detailed monitoring", i.isMonitored() != n.Monitoring, func(ctx context.Context) error { return op.setMonitoring(ctx, n, i) })
	add("set its CPU credits", op.creditsDiffer(n, i), func(ctx context.Context) error { return op.setCredits(ctx, n, i) })
	add("associate "+n.EIPID, n.EIPID != "" && !op.hasAddress(n, i), func(ctx context.Context) error { return op.associate(ctx, n, i) })
	address := op.actual.addressOf(i) // now: another step may give it to another node
	add("disassociate its Elastic IP", n.EIPID == "" && address != nil, func(ctx context.Context) error { return op.disassociate(ctx, address) })
	attached := i.volumeAt(dataDevice)
	add("attach "+n.VolumeID, attached == "" && n.VolumeID != "" && op.volumeHolder(n) == "", func(ctx context.Context) error { return op.attachVolume(ctx, n, i) })
	return steps
}

// hasProfile reports whether the instance has its role's instance profile.
func (op *operation) hasProfile(n clusterspec.Node, i instance) bool {
	return i.IamInstanceProfile != nil && strings.HasSuffix(aws.ToString(i.IamInstanceProfile.Arn), "/"+op.roles.ProfileName(n.Role))
}

// replaceProfile associates its role's instance profile with the instance,
// which has another one or none.
func (op *operation) replaceProfile(ctx context.Context, n clusterspec.Node, i instance) error {
	out, err := op.Client.EC2.DescribeIamInstanceProfileAssociations(ctx, &ec2.DescribeIamInstanceProfileAssociationsInput{
		Filters: []ec2types.Filter{base.Filter("instance-id", i.id()), base.Filter("state", "associating", "associated")}})
	if err != nil {
		return err
	}
	profile := &ec2types.IamInstanceProfileSpecification{Name: aws.String(op.roles.ProfileName(n.Role))}
	_, err = awswait.Retry(ctx, awswait.ProfilePropagation, awswait.IsProfilePropagating, func(ctx context.Context) (any, error) {
		if len(out.IamInstanceProfileAssociations) == 0 {
			return op.Client.EC2.AssociateIamInstanceProfile(ctx, &ec2.AssociateIamInstanceProfileInput{InstanceId: i.InstanceId, IamInstanceProfile: profile})
		}
		return op.Client.EC2.ReplaceIamInstanceProfileAssociation(ctx, &ec2.ReplaceIamInstanceProfileAssociationInput{
			AssociationId: out.IamInstanceProfileAssociations[0].AssociationId, IamInstanceProfile: profile})
	})
	return err
}

func (i instance) requiresTokens() bool {
	m := i.MetadataOptions
	return m != nil && m.HttpTokens == ec2types.HttpTokensStateRequired && aws.ToInt32(m.HttpPutResponseHopLimit) == 1
}

// addressOf returns the Elastic IP associated with the instance, or nil.
func (a *actualState) addressOf(i instance) *ec2types.Address {
	for _, address := range a.addresses {
		if aws.ToString(address.InstanceId) == i.id() {
			return &address
		}
	}
	return nil
}

func (op *operation) hasAddress(n clusterspec.Node, i instance) bool {
	a := op.actual.addressOf(i)
	return a != nil && aws.ToString(a.AllocationId) == n.EIPID
}

// associate associates the node's Elastic IP. AWS refuses while the instance is
// not running, and while the address is associated with a former instance.
func (op *operation) associate(ctx context.Context, n clusterspec.Node, i instance) error {
	_, err := awswait.Retry(ctx, awswait.StateChange, func(err error) bool {
		return awswait.IsIncorrectState(err) || awswait.HasCode(err, "Resource.AlreadyAssociated")
	}, func(ctx context.Context) (any, error) {
		out, err := op.Client.EC2.AssociateAddress(ctx, &ec2.AssociateAddressInput{AllocationId: &n.EIPID, InstanceId: i.InstanceId, AllowReassociation: aws.Bool(false)})
		if awswait.HasCode(err, "Resource.AlreadyAssociated") {
			if address, _, err := op.Describe.Address(ctx, n.EIPID); err == nil && aws.ToString(address.InstanceId) == i.id() {
				return out, nil // the answer to an earlier try was lost
			}
		}
		return out, err
	})
	if err == nil {
		op.actual.setAssociation(n.EIPID, i)
	}
	return err
}

// setAssociation records an association, which saves describing the address
// again.
func (a *actualState) setAssociation(eip string, i instance) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for n := range a.addresses {
		if aws.ToString(a.addresses[n].AllocationId) == eip {
			a.addresses[n].InstanceId = i.InstanceId
		}
	}
}

// attachVolume attaches the node's volume as the data device, waiting until it is
// detached from a former instance and the device is free.
func (op *operation) attachVolume(ctx context.Context, n clusterspec.Node, i instance) error {
	_, err := awswait.Retry(ctx, awswait.StateChange, func(err error) bool {
		return awswait.IsIncorrectState(err) || awswait.IsDeviceInUse(err) || awswait.HasCode(err, "VolumeInUse")
	}, func(ctx context.Context) (any, error) {
		out, err := op.Client.EC2.AttachVolume(ctx, &ec2.AttachVolumeInput{VolumeId: &n.VolumeID, InstanceId: i.InstanceId, Device: aws.String(dataDevice)})
		if awswait.HasCode(err, "VolumeInUse") || awswait.IsDeviceInUse(err) {
			if volume, _, err := op.Describe.Volumes.Get(ctx, n.VolumeID); err == nil && attachedTo(volume, i.id()) {
				return out, nil // the answer to an earlier try was lost
			}
		}
		return out, err
	})
	return err
}

func attachedTo(v ec2types.Volume, instance string) bool {
	return slices.ContainsFunc(v.Attachments, func(a ec2types.VolumeAttachment) bool {
		return aws.ToString(a.InstanceId) == instance && a.State != ec2types.VolumeAttachmentStateDetached
	})
}

// driftOfNodes describes the differences of instances that no attribute shows.
func (op *operation) driftOfNodes() []string {
	var found []string
	add := func(differs bool, format string, args ...any) {
		if differs {
			found = append(found, fmt.Sprintf(format, args...))
		}
	}
	for _, n := range op.spec.SortedNodes() {
		i, lives := op.actual.live[n.Name]
		if !lives {
			continue // the attribute nodes shows it
		}
		s := i.state()
		add(s != ec2types.InstanceStateNameRunning && s != ec2types.InstanceStateNamePending, "node %s is %s", n.Name, s)
		add(!i.inGroups(op.groupsOf(n)), "node %s is not in exactly its own security groups", n.Name)
		add(base.FlattenEC2Tags(i.Tags)[tagAddress] == "", "node %s lacks the tag %s, which tells it from copies", n.Name, tagAddress)
		add(!op.hasProfile(n, i), "node %s does not have instance profile %s", n.Name, op.roles.ProfileName(n.Role))
		add(!i.requiresTokens(), "node %s does not require IMDSv2 with a hop limit of 1", n.Name)
		add(op.actual.unprotected[i.id()], "node %s is not protected against termination", n.Name)
		add(n.Role == model.RoleWireGuard && aws.ToBool(i.SourceDestCheck), "node %s has its source/destination check enabled, so it cannot route", n.Name)
	}
	add(len(op.actual.surplus) > 0, "%d surplus instances", len(op.actual.surplus))
	return found
}
