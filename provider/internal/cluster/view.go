package cluster

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// view is a look at the instances of a cluster and their boot reports, which
// takes no more than its name and its bucket: it serves the resource and the
// data source.
type view struct {
	*base.ProviderData
	name    string
	uploads string // bucket
	seen    *observed
	objects *objectMemory
}

func newView(p *base.ProviderData, name, uploads string) view {
	return view{ProviderData: p, name: name, uploads: uploads, objects: newObjectMemory(),
		seen: &observed{live: map[string]instance{}}}
}

func (v *view) layout() model.Layout { return model.Layout{Cluster: v.name} }

func (v *view) observeInstances(ctx context.Context) error {
	pages := ec2.NewDescribeInstancesPaginator(v.Client.EC2, &ec2.DescribeInstancesInput{
		Filters: []ec2types.Filter{base.Filter("tag:"+base.TagCluster, v.name)}})
	var found []ec2types.Instance
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err // what was seen before stays
		}
		for _, reservation := range page.Reservations {
			found = append(found, reservation.Instances...)
		}
	}
	v.seen.live, v.seen.surplus, v.seen.ended = map[string]instance{}, nil, nil
	for _, i := range found {
		if err := v.sort(i); err != nil {
			return err
		}
	}
	return nil
}

// sort files an instance under its node, by whether it lives.
func (v *view) sort(i ec2types.Instance) error {
	tags := base.FlattenEC2Tags(i.Tags)
	found := instance{Instance: i, node: tags[base.TagNode], role: model.Role(tags[base.TagRole])}
	if found.node == "" {
		return nil // tagged by somebody else: no node of ours
	}
	if s := i.State.Name; s == ec2types.InstanceStateNameTerminated || s == ec2types.InstanceStateNameShuttingDown {
		v.seen.ended = append(v.seen.ended, found)
		return nil
	}
	if v.seen.vpcID == "" { // after an import
		v.seen.vpcID = aws.ToString(i.VpcId)
	}
	if aws.ToString(i.VpcId) != v.seen.vpcID {
		return fmt.Errorf("cluster name %q is taken: instance %s of a cluster of that name runs in %s; choose another name",
			v.name, found.id(), aws.ToString(i.VpcId))
	}
	other, twice := v.seen.live[found.node]
	switch {
	case !twice:
		v.seen.live[found.node] = found
	case aws.ToTime(other.LaunchTime).Before(aws.ToTime(i.LaunchTime)):
		v.seen.surplus = append(v.seen.surplus, found)
	default:
		v.seen.surplus = append(v.seen.surplus, other)
		v.seen.live[found.node] = found
	}
	return nil
}

// observeAddresses describes all Elastic IPs of the account and region: there
// are few (the quota is five), and which of them point to the cluster's
// instances is not known before those are.
func (v *view) observeAddresses(ctx context.Context) error {
	out, err := v.Client.EC2.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{})
	if err != nil {
		return err
	}
	v.seen.addresses = out.Addresses
	return nil
}
