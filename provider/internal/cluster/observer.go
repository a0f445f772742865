package cluster

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/diag"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// observer reads a cluster's instances, addresses and boot reports. It needs
// only the cluster's name and bucket, so the data source uses it, too.
type observer struct {
	*base.ProviderData
	name    string
	uploads string // bucket
	actual  *actualState
	reports *reportCache
	// configured is the location of each node in the configuration, and former that in
	// the state of the run before; nil if there is none.
	configured, former map[string]string
}

func newObserver(p *base.ProviderData, name, uploads string) observer {
	return observer{ProviderData: p, name: name, uploads: uploads, reports: newReportCache(), actual: newActual("")}
}

func (o *observer) layout() model.Layout { return model.Layout{Cluster: o.name} }

func (o *observer) observeInstances(ctx context.Context) error {
	found, _, err := o.Describe.Instances.Get(ctx, o.name)
	if err != nil {
		return err // the earlier observation stays
	}
	o.actual.live, o.actual.surplus, o.actual.copies, o.actual.ended = map[string]instance{}, nil, nil, nil
	for _, i := range found {
		if err := o.add(i); err != nil {
			return err
		}
	}
	return nil
}

// add adds an instance to the observed ones of its node.
func (o *observer) add(i ec2types.Instance) error {
	tags := base.FlattenEC2Tags(i.Tags)
	found := instance{Instance: i, node: tags[base.TagNode], role: model.Role(tags[base.TagRole])}
	if found.node == "" {
		return nil // tagged by somebody else
	}
	if s := i.State.Name; s == ec2types.InstanceStateNameTerminated || s == ec2types.InstanceStateNameShuttingDown {
		o.actual.ended = append(o.actual.ended, found)
		return nil
	}
	if !o.isNode(found, tags) {
		o.actual.copies = append(o.actual.copies, found)
		return nil
	}
	if o.actual.vpcID == "" { // after an import
		o.actual.vpcID = aws.ToString(i.VpcId)
	}
	if aws.ToString(i.VpcId) != o.actual.vpcID {
		return fmt.Errorf("cluster name %q is taken: instance %s of a cluster with that name is in VPC %s; choose another name",
			o.name, found.id(), aws.ToString(i.VpcId))
	}
	other, twice := o.actual.live[found.node]
	switch {
	case !twice:
		o.actual.live[found.node] = found
	case o.isPreferred(other, found):
		o.actual.surplus = append(o.actual.surplus, found)
	default:
		o.actual.surplus = append(o.actual.surplus, other)
		o.actual.live[found.node] = found
	}
	return nil
}

// isNode reports whether an instance is the node that its tags name: it is where
// it was launched for. One without that tag, which older versions launched, is
// the node if it is where the configuration or the state has it; the next apply sets
// its tag. Without both, as at an import, it is taken for the node.
func (o *observer) isNode(i instance, tags map[string]string) bool {
	if launchedFor, tagged := tags[tagAddress]; tagged {
		return i.location() == launchedFor
	}
	here := i.location()
	return here == o.configured[i.node] || here == o.former[i.node] || len(o.configured)+len(o.former) == 0
}

// isPreferred reports whether i, and not other, counts as the node: the one where
// the configuration has it, or else the older one.
func (o *observer) isPreferred(i, other instance) bool {
	configured := o.configured[i.node]
	if here, there := i.location() == configured, other.location() == configured; here != there {
		return here
	}
	return aws.ToTime(i.LaunchTime).Before(aws.ToTime(other.LaunchTime))
}

// warnCopies adds a warning for each instance that carries a node's tags and is
// not the node.
func (o *observer) warnCopies(diags *diag.Diagnostics) {
	for _, i := range o.actual.copies {
		diags.AddWarning(fmt.Sprintf("%s %s: instance %s carries the tags of node %s", clusterTypeName, o.name, i.id(), i.node),
			fmt.Sprintf("It is in subnet %s with address %s, where the node was not launched, so it is taken for a copy, such as one restored from a backup. "+
				"It is not part of the cluster and stays unchanged. Remove its tag %s, or terminate it if it is not needed.",
				aws.ToString(i.SubnetId), aws.ToString(i.PrivateIpAddress), base.TagNode))
	}
}

// observeAddresses describes all Elastic IPs: which of them are associated with the
// cluster's instances is not known before those are observed.
func (o *observer) observeAddresses(ctx context.Context) error {
	addresses, err := o.Describe.Addresses(ctx)
	if err != nil {
		return err
	}
	o.actual.addresses = addresses
	return nil
}
