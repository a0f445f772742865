// Package connectendpoint manages the EC2 Instance Connect Endpoint of a cluster, a way
// to its nodes' sshd that needs no VPN: AWS tunnels connections of IAM principals that
// may open them.
//
// There is at most one endpoint in a VPC. It is found by the tag xeroops:cluster. Its
// security group is the securitygroup package's: it exists before the endpoint and is
// deleted after it.
package connectendpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/xeroops/xeroops/internal/awsclient"
	"github.com/xeroops/xeroops/internal/awswait"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

// Endpoint is the endpoint of one cluster.
type Endpoint struct {
	client  *awsclient.EC2
	spec    *clusterspec.Spec
	groupID func() string // the endpoint's security group, or ""

	// ManagedTags tells tags that the provider set on an existing endpoint from those of
	// others.
	ManagedTags base.ManagedTags

	actual  *ec2types.Ec2InstanceConnectEndpoint // the cluster's
	foreign string                               // id of another endpoint in the VPC
	failed  error                                // of Ensure; see there
}

// New returns the endpoint that spec describes, not observed yet. groupID returns the
// id of its security group, or "".
func New(client *awsclient.EC2, spec *clusterspec.Spec, groupID func() string) *Endpoint {
	return &Endpoint{client: client, spec: spec, groupID: groupID}
}

// Observe describes the endpoint, if there should be one. Clusters without one make no
// call.
func (e *Endpoint) Observe(ctx context.Context) error {
	if !e.spec.Access.ConnectEndpoint || e.spec.VPCID == "" {
		return nil
	}
	return e.describe(ctx)
}

func (e *Endpoint) describe(ctx context.Context) error {
	out, err := e.client.DescribeInstanceConnectEndpoints(ctx, &ec2.DescribeInstanceConnectEndpointsInput{Filters: []ec2types.Filter{base.Filter("vpc-id", e.spec.VPCID)}})
	if err != nil {
		return err
	}
	e.actual, e.foreign = nil, ""
	for _, found := range out.InstanceConnectEndpoints {
		switch {
		case found.State == ec2types.Ec2InstanceConnectEndpointStateDeleteComplete:
		case base.FlattenEC2Tags(found.Tags)[base.TagCluster] == e.spec.Name:
			e.actual = &found
		default:
			e.foreign = aws.ToString(found.InstanceConnectEndpointId)
		}
	}
	return nil
}

// Check returns an error if the VPC has an endpoint that is not the cluster's.
func (e *Endpoint) Check() error {
	if !e.spec.Access.ConnectEndpoint || e.foreign == "" || e.actual != nil {
		return nil
	}
	return base.AtAttribute(path.Root("debug_access"), fmt.Errorf("%s already has the EC2 Instance Connect Endpoint %s, and AWS allows one per VPC; "+
		`set debug_access to "none", and let that endpoint's security group connect to port 22 in a group of your own in additional_security_group_ids`, e.spec.VPCID, e.foreign))
}

// Ensure begins to create the endpoint if it is missing. Await waits for it and returns
// the error: creating one takes minutes, in which nodes boot, and nodes do not need it.
func (e *Endpoint) Ensure(ctx context.Context) error {
	if e.spec.Access.ConnectEndpoint {
		e.failed = e.ensure(ctx)
	}
	return nil
}

func (e *Endpoint) ensure(ctx context.Context) error {
	if err := e.Check(); err != nil {
		return err
	}
	if e.actual != nil && len(e.differences()) > 0 {
		if err := e.remove(ctx); err != nil {
			return err
		}
	}
	if e.actual != nil {
		return base.SetEC2Tags(ctx, e.client, aws.ToString(e.actual.InstanceConnectEndpointId), e.actual.Tags, e.tags(), e.ManagedTags)
	}
	subnet := e.subnet()
	out, err := e.client.CreateInstanceConnectEndpoint(ctx, &ec2.CreateInstanceConnectEndpointInput{
		SubnetId: &subnet, SecurityGroupIds: []string{e.groupID()},
		// The nodes' rules name the endpoint's group, which only applies to its own address.
		PreserveClientIp:  aws.Bool(false),
		TagSpecifications: base.TagOnCreate(ec2types.ResourceTypeInstanceConnectEndpoint, e.tags()),
	})
	if err != nil {
		return base.AtAttribute(path.Root("debug_access"), fmt.Errorf("create EC2 Instance Connect Endpoint in %s (AWS allows one per VPC and by default five per region): %w", subnet, err))
	}
	e.actual = out.InstanceConnectEndpoint
	return nil
}

func (e *Endpoint) tags() []ec2types.Tag {
	return base.EC2Tags(e.spec.Name, e.spec.TagsAll, map[string]string{base.TagCluster: e.spec.Name})
}

// subnet returns the subnet for a new endpoint: that of management or, without one, of
// the first node. The endpoint reaches all subnets of the VPC.
func (e *Endpoint) subnet() string {
	nodes := append(e.spec.NodesOf(model.RoleManagement), e.spec.SortedNodes()...)
	return nodes[0].SubnetID // a cluster has a node
}

// Await waits until the endpoint is complete.
func (e *Endpoint) Await(ctx context.Context) error {
	if !e.spec.Access.ConnectEndpoint {
		return nil
	}
	if e.failed != nil {
		return e.failed
	}
	err := awswait.Until(ctx, awswait.ConnectEndpointChange, func(ctx context.Context) (bool, string, error) {
		if e.actual != nil && isComplete(*e.actual) {
			return true, "", nil
		}
		if err := e.describe(ctx); err != nil || e.actual == nil {
			return false, "unknown to EC2", err
		}
		if e.actual.State == ec2types.Ec2InstanceConnectEndpointStateCreateFailed {
			return false, "", errors.New(aws.ToString(e.actual.StateMessage) + "; the next apply creates it again")
		}
		return isComplete(*e.actual), string(e.actual.State), nil
	})
	if err != nil {
		return fmt.Errorf("create EC2 Instance Connect Endpoint: %w", err)
	}
	return nil
}

func isComplete(e ec2types.Ec2InstanceConnectEndpoint) bool {
	return slices.Contains([]ec2types.Ec2InstanceConnectEndpointState{ec2types.Ec2InstanceConnectEndpointStateCreateComplete,
		ec2types.Ec2InstanceConnectEndpointStateUpdateComplete, ec2types.Ec2InstanceConnectEndpointStateUpdateFailed}, e.State)
}

// differences describes why the existing endpoint has to be replaced.
func (e *Endpoint) differences() []string {
	id := aws.ToString(e.actual.InstanceConnectEndpointId)
	var found []string
	switch state := e.actual.State; state {
	case ec2types.Ec2InstanceConnectEndpointStateCreateFailed, ec2types.Ec2InstanceConnectEndpointStateDeleteInProgress, ec2types.Ec2InstanceConnectEndpointStateDeleteFailed:
		found = append(found, fmt.Sprintf("EC2 Instance Connect Endpoint %s is in state %s", id, state))
	}
	if !slices.Equal(e.actual.SecurityGroupIds, []string{e.groupID()}) {
		found = append(found, fmt.Sprintf("EC2 Instance Connect Endpoint %s is not in exactly its own security group", id))
	}
	inSubnet := func(n clusterspec.Node) bool { return n.SubnetID == aws.ToString(e.actual.SubnetId) }
	if !slices.ContainsFunc(e.spec.SortedNodes(), inSubnet) {
		found = append(found, fmt.Sprintf("EC2 Instance Connect Endpoint %s is in %s, where the cluster has no node", id, aws.ToString(e.actual.SubnetId)))
	}
	return found
}

// Drift describes how the endpoint differs from the specification.
func (e *Endpoint) Drift(context.Context) []string {
	switch {
	case !e.spec.Access.ConnectEndpoint:
		return nil
	case e.actual == nil:
		return []string{"EC2 Instance Connect Endpoint does not exist"}
	}
	return e.differences()
}

// DeleteUnused deletes an endpoint that is no longer configured.
func (e *Endpoint) DeleteUnused(ctx context.Context) error {
	if e.spec.Access.ConnectEndpoint {
		return nil
	}
	return e.Delete(ctx)
}

// Delete deletes the endpoint and waits until it is deleted. Without its security group
// there is none.
func (e *Endpoint) Delete(ctx context.Context) error {
	if e.groupID() == "" && !e.spec.Access.ConnectEndpoint || e.spec.VPCID == "" {
		return nil
	}
	if err := e.describe(ctx); err != nil || e.actual == nil {
		return err
	}
	return e.remove(ctx)
}

func (e *Endpoint) remove(ctx context.Context) error {
	id := aws.ToString(e.actual.InstanceConnectEndpointId)
	if e.actual.State != ec2types.Ec2InstanceConnectEndpointStateDeleteInProgress {
		_, err := e.client.DeleteInstanceConnectEndpoint(ctx, &ec2.DeleteInstanceConnectEndpointInput{InstanceConnectEndpointId: &id})
		if err = awswait.Ignore(err, awswait.IsNotFound); err != nil {
			return fmt.Errorf("delete EC2 Instance Connect Endpoint %s: %w", id, err)
		}
	}
	err := awswait.Until(ctx, awswait.ConnectEndpointChange, func(ctx context.Context) (bool, string, error) {
		if err := e.describe(ctx); err != nil {
			return false, "", err
		}
		if e.actual != nil && e.actual.State == ec2types.Ec2InstanceConnectEndpointStateDeleteFailed {
			return false, "", errors.New(aws.ToString(e.actual.StateMessage))
		}
		return e.actual == nil, "being deleted", nil
	})
	if err != nil {
		return fmt.Errorf("delete EC2 Instance Connect Endpoint %s: %w", id, err)
	}
	return nil
}
