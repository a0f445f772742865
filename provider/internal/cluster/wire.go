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
)

// wire gives each running node what a launch cannot: its Elastic IP, its data
// volume, the routes of the VPN, and what somebody changed since. What is right
// already costs no call.
func (w *work) wire(ctx context.Context) error {
	var steps []base.Step
	for _, n := range w.spec.nodes() {
		i, lives := w.seen.live[n.Name]
		if !lives || w.toBeReplaced(n) {
			continue
		}
		steps = append(steps, w.wireNode(n, i)...)
	}
	if err := base.ParallelAll(ctx, w.releases()...); err != nil {
		return err
	}
	if err := base.ParallelAll(ctx, append(steps, w.ensureRoutes)...); err != nil {
		return err
	}
	w.setTags = false // a rollout wires once more after each node
	return nil
}

// releases frees the addresses and volumes that one node holds and another is
// to have: each would otherwise wait for the other.
func (w *work) releases() []base.Step {
	wanted := map[string]string{} // node by address or volume
	for _, n := range w.spec.nodes() {
		wanted[n.EIPID], wanted[n.VolumeID] = n.Name, n.Name
	}
	var steps []base.Step
	for name, i := range w.seen.live {
		if a := w.seen.addressOf(i); a != nil && elsewhere(wanted, aws.ToString(a.AllocationId), name) {
			steps = append(steps, func(ctx context.Context) error { return w.disassociate(ctx, a) })
		}
		if volume := i.volumeAt(dataDevice); volume != "" && elsewhere(wanted, volume, name) {
			steps = append(steps, func(ctx context.Context) error { return w.detach(ctx, volume, i) })
		}
	}
	return steps
}

// elsewhere says whether a node other than the holder is to have the thing.
func elsewhere(wanted map[string]string, id, holder string) bool {
	node, is := wanted[id]
	return is && node != holder
}

func (w *work) disassociate(ctx context.Context, a *ec2types.Address) error {
	_, err := w.Client.EC2.DisassociateAddress(ctx, &ec2.DisassociateAddressInput{AssociationId: a.AssociationId})
	return awswait.Ignore(err, awswait.IsNotFound)
}

func (w *work) detach(ctx context.Context, volume string, i instance) error {
	_, err := w.Client.EC2.DetachVolume(ctx, &ec2.DetachVolumeInput{VolumeId: &volume, InstanceId: i.InstanceId, Device: aws.String(dataDevice)})
	// IncorrectState: it is detached already, and an answer was lost.
	return awswait.Ignore(err, func(err error) bool { return awswait.IsNotFound(err) || awswait.IsIncorrectState(err) })
}

// wireNode returns what has to be done for one node.
func (w *work) wireNode(n nodeSpec, i instance) []base.Step {
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
	group := aws.ToString(w.seen.groups[n.Role].GroupId)
	add("start", i.state() == ec2types.InstanceStateNameStopped, func(ctx context.Context) error {
		_, err := w.Client.EC2.StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: []string{i.id()}})
		return err
	})
	add("set tags", w.tagsDiffer(n, i), func(ctx context.Context) error {
		return base.SetEC2Tags(ctx, w.Client.EC2, i.id(), i.Tags, w.wantedNodeTags(n, i))
	})
	add("set the tags of its root volume", w.setTags, func(ctx context.Context) error { return w.tagRootVolume(ctx, n, i) })
	add("turn off the source/destination check", n.Role == model.RoleWireGuard && aws.ToBool(i.SourceDestCheck), func(ctx context.Context) error {
		_, err := w.Client.EC2.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: i.InstanceId,
			SourceDestCheck: &ec2types.AttributeBooleanValue{Value: aws.Bool(false)}})
		return err
	})
	add("set its security group", !i.inGroup(group), func(ctx context.Context) error {
		_, err := w.Client.EC2.ModifyNetworkInterfaceAttribute(ctx, &ec2.ModifyNetworkInterfaceAttributeInput{
			NetworkInterfaceId: aws.String(i.interfaceID()), Groups: []string{group}})
		return err
	})
	add("set its instance profile", !w.hasProfile(n, i), func(ctx context.Context) error { return w.exchangeProfile(ctx, n, i) })
	add("require metadata tokens", !i.requiresTokens(), func(ctx context.Context) error {
		_, err := w.Client.EC2.ModifyInstanceMetadataOptions(ctx, &ec2.ModifyInstanceMetadataOptionsInput{InstanceId: i.InstanceId,
			HttpTokens: ec2types.HttpTokensStateRequired, HttpPutResponseHopLimit: aws.Int32(1), HttpEndpoint: ec2types.InstanceMetadataEndpointStateEnabled})
		return err
	})
	add("set its termination protection", w.setProtection || w.seen.exposed[i.id()], func(ctx context.Context) error { return w.protect(ctx, i, w.spec.TerminationProtection) })
	add("associate "+n.EIPID, n.EIPID != "" && !w.hasAddress(n, i), func(ctx context.Context) error { return w.associate(ctx, n, i) })
	add("give up its Elastic IP", n.EIPID == "" && w.seen.addressOf(i) != nil, func(ctx context.Context) error { return w.disassociate(ctx, w.seen.addressOf(i)) })
	attached := i.volumeAt(dataDevice)
	add("attach "+n.VolumeID, n.VolumeID != attached, func(ctx context.Context) error { return w.exchangeVolume(ctx, n, i, attached) })
	return steps
}

// hasProfile says whether the instance runs with its role's instance profile.
func (w *work) hasProfile(n nodeSpec, i instance) bool {
	return i.IamInstanceProfile != nil && strings.HasSuffix(aws.ToString(i.IamInstanceProfile.Arn), "/"+w.profileName(n.Role))
}

// exchangeProfile gives the instance its role's profile in place of the one
// that somebody gave it, or of none.
func (w *work) exchangeProfile(ctx context.Context, n nodeSpec, i instance) error {
	out, err := w.Client.EC2.DescribeIamInstanceProfileAssociations(ctx, &ec2.DescribeIamInstanceProfileAssociationsInput{
		Filters: []ec2types.Filter{base.Filter("instance-id", i.id()), base.Filter("state", "associating", "associated")}})
	if err != nil {
		return err
	}
	profile := &ec2types.IamInstanceProfileSpecification{Name: aws.String(w.profileName(n.Role))}
	_, err = awswait.Retry(ctx, awswait.ProfilePropagation, awswait.IsProfilePropagating, func(ctx context.Context) (any, error) {
		if len(out.IamInstanceProfileAssociations) == 0 {
			return w.Client.EC2.AssociateIamInstanceProfile(ctx, &ec2.AssociateIamInstanceProfileInput{InstanceId: i.InstanceId, IamInstanceProfile: profile})
		}
		return w.Client.EC2.ReplaceIamInstanceProfileAssociation(ctx, &ec2.ReplaceIamInstanceProfileAssociationInput{
			AssociationId: out.IamInstanceProfileAssociations[0].AssociationId, IamInstanceProfile: profile})
	})
	return err
}

// inGroup says whether the group, and no other, guards the instance.
func (i instance) inGroup(id string) bool {
	var groups []ec2types.GroupIdentifier
	if len(i.NetworkInterfaces) > 0 {
		groups = i.NetworkInterfaces[0].Groups
	}
	return len(groups) == 1 && aws.ToString(groups[0].GroupId) == id
}

func (i instance) requiresTokens() bool {
	m := i.MetadataOptions
	return m != nil && m.HttpTokens == ec2types.HttpTokensStateRequired && aws.ToInt32(m.HttpPutResponseHopLimit) == 1
}

func (w *work) wantedNodeTags(n nodeSpec, i instance) []ec2types.Tag {
	tags := w.nodeTags(n, 0)
	for _, t := range i.Tags { // its generation is the instance's own
		if aws.ToString(t.Key) == tagGeneration {
			tags = slices.DeleteFunc(tags, func(t ec2types.Tag) bool { return aws.ToString(t.Key) == tagGeneration })
			tags = append(tags, t)
		}
	}
	return tags
}

func (w *work) tagsDiffer(n nodeSpec, i instance) bool {
	set, remove := base.TagChanges(base.FlattenEC2Tags(i.Tags), base.FlattenEC2Tags(w.wantedNodeTags(n, i)))
	return len(set)+len(remove) > 0
}

// tagRootVolume makes the tags of a node's root volume those of its instance.
func (w *work) tagRootVolume(ctx context.Context, n nodeSpec, i instance) error {
	volume, exists, err := w.Describe.Volumes.Get(ctx, i.volumeAt(aws.ToString(i.RootDeviceName)))
	if err != nil || !exists {
		return err
	}
	return base.SetEC2Tags(ctx, w.Client.EC2, aws.ToString(volume.VolumeId), volume.Tags, w.wantedNodeTags(n, i))
}

// addressOf returns the Elastic IP that points to the instance, or nil.
func (o *observed) addressOf(i instance) *ec2types.Address {
	for _, a := range o.addresses {
		if aws.ToString(a.InstanceId) == i.id() {
			return &a
		}
	}
	return nil
}

func (w *work) hasAddress(n nodeSpec, i instance) bool {
	a := w.seen.addressOf(i)
	return a != nil && aws.ToString(a.AllocationId) == n.EIPID
}

// associate gives the node its Elastic IP. AWS refuses while the instance is
// not running, and while the address still hangs on the one that it replaces.
func (w *work) associate(ctx context.Context, n nodeSpec, i instance) error {
	_, err := awswait.Retry(ctx, awswait.StateChange, func(err error) bool {
		return awswait.IsIncorrectState(err) || awswait.HasCode(err, "Resource.AlreadyAssociated")
	}, func(ctx context.Context) (any, error) {
		out, err := w.Client.EC2.AssociateAddress(ctx, &ec2.AssociateAddressInput{AllocationId: &n.EIPID, InstanceId: i.InstanceId, AllowReassociation: aws.Bool(false)})
		if awswait.HasCode(err, "Resource.AlreadyAssociated") {
			if is, _, lookErr := w.Describe.Addresses.Get(ctx, n.EIPID); lookErr == nil && aws.ToString(is.InstanceId) == i.id() {
				return out, nil // the answer of the try before was lost
			}
		}
		return out, err
	})
	if err == nil {
		w.seen.noteAssociation(n.EIPID, i)
	}
	return err
}

// noteAssociation notes to whom an address now points, which saves another look.
func (o *observed) noteAssociation(eip string, i instance) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for n := range o.addresses {
		if aws.ToString(o.addresses[n].AllocationId) == eip {
			o.addresses[n].InstanceId = i.InstanceId
		}
	}
}

// exchangeVolume detaches what hangs on the data device and attaches the node's
// volume, once the instance that it replaces has let go of it.
func (w *work) exchangeVolume(ctx context.Context, n nodeSpec, i instance, attached string) error {
	if attached != "" {
		if err := w.detach(ctx, attached, i); err != nil {
			return err
		}
	}
	if n.VolumeID == "" {
		return nil
	}
	_, err := awswait.Retry(ctx, awswait.StateChange, func(err error) bool {
		return awswait.IsIncorrectState(err) || awswait.HasCode(err, "VolumeInUse")
	}, func(ctx context.Context) (any, error) {
		out, err := w.Client.EC2.AttachVolume(ctx, &ec2.AttachVolumeInput{VolumeId: &n.VolumeID, InstanceId: i.InstanceId, Device: aws.String(dataDevice)})
		if awswait.HasCode(err, "VolumeInUse") {
			if is, _, lookErr := w.Describe.Volumes.Get(ctx, n.VolumeID); lookErr == nil && attachedTo(is, i.id()) {
				return out, nil // the answer of the try before was lost
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

// driftOfNodes lists what attributes of nodes cannot show.
func (w *work) driftOfNodes() []string {
	var found []string
	add := func(wrong bool, format string, args ...any) {
		if wrong {
			found = append(found, fmt.Sprintf(format, args...))
		}
	}
	for _, n := range w.spec.nodes() {
		i, lives := w.seen.live[n.Name]
		if !lives {
			continue // the attribute nodes shows it
		}
		s := i.state()
		add(s != ec2types.InstanceStateNameRunning && s != ec2types.InstanceStateNamePending, "node %s is %s", n.Name, s)
		add(!i.inGroup(aws.ToString(w.seen.groups[n.Role].GroupId)), "node %s is not in its security group alone", n.Name)
		add(!w.hasProfile(n, i), "node %s does not run with instance profile %s", n.Name, w.profileName(n.Role))
		add(!i.requiresTokens(), "node %s answers metadata requests without a token", n.Name)
		add(w.seen.exposed[i.id()], "node %s is not protected against termination", n.Name)
		add(n.Role == model.RoleWireGuard && aws.ToBool(i.SourceDestCheck), "node %s checks source and destination, so it routes nothing", n.Name)
	}
	add(len(w.seen.surplus) > 0, "%d instances too many", len(w.seen.surplus))
	return found
}

// drift lists all that was changed outside of Terraform and that attributes
// cannot show.
func (w *work) drift(ctx context.Context) []string {
	return slices.Concat(w.driftOfNodes(), w.driftOfGroups(), w.driftOfRoles(ctx), w.driftOfRoutes(), w.driftOfObjects())
}
