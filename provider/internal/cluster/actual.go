package cluster

import (
	"cmp"
	"context"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// dataDevice is the device name of a node's data volume. The node itself finds
// the volume by its id.
const dataDevice = "/dev/sdf"

// actualState is what was observed of a cluster's instances and what they use.
type actualState struct {
	vpcID       string
	vpcCIDR     string
	vpcTenancy  string                // "" if it was not observed
	live        map[string]instance   // by node; pending to stopped
	surplus     []instance            // further live instances of a node
	copies      []instance            // instances elsewhere that carry a node's tags; never changed
	ended       []instance            // terminated ones, while AWS shows them
	terminated  map[string]bool       // ids of the network interfaces of those that this run terminated
	unprotected map[string]bool       // ids of instances that lack termination protection
	credits     map[string]string     // CPU credits by instance id; those of the nodes that configure them
	roots       map[string]rootVolume // root volumes by instance id; those of the nodes that configure their performance
	mu          sync.Mutex            // guards addresses, credits, roots, and operation.stopped, while resources are attached in parallel
	addresses   []ec2types.Address
}

func newActual(vpcID string) *actualState {
	return &actualState{vpcID: vpcID, live: map[string]instance{}, terminated: map[string]bool{}, credits: map[string]string{}, roots: map[string]rootVolume{}}
}

type instance struct {
	ec2types.Instance
	node string
	role model.Role
}

func (i instance) id() string { return aws.ToString(i.InstanceId) }

func (i instance) state() ec2types.InstanceStateName { return i.State.Name }

// location returns what identifies a node's instance besides its tags: no two
// instances have the same address in a subnet at the same time.
func location(subnet, address string) string { return subnet + "/" + address }

func (i instance) location() string {
	return location(aws.ToString(i.SubnetId), aws.ToString(i.PrivateIpAddress))
}

// volumeAt returns the id of the volume attached as device, or "".
func (i instance) volumeAt(device string) string {
	for _, m := range i.BlockDeviceMappings {
		if aws.ToString(m.DeviceName) == device && m.Ebs != nil {
			return aws.ToString(m.Ebs.VolumeId)
		}
	}
	return ""
}

func (i instance) interfaceID() string {
	if len(i.NetworkInterfaces) == 0 {
		return ""
	}
	return aws.ToString(i.NetworkInterfaces[0].NetworkInterfaceId)
}

// observeVPC reads the VPC's range of addresses and tenancy.
func (op *operation) observeVPC(ctx context.Context) error {
	id := cmp.Or(op.spec.VPCID, op.actual.vpcID) // an import has only that of the instances
	vpc, exists, err := op.Describe.VPCs.Get(ctx, id)
	if err != nil {
		return err
	}
	if !exists {
		return base.AtAttribute(path.Root("vpc_id"), fmt.Errorf("VPC %s does not exist in %s", id, op.Client.Region))
	}
	op.actual.vpcCIDR, op.actual.vpcTenancy = aws.ToString(vpc.CidrBlock), string(vpc.InstanceTenancy)
	return nil
}

// instancesValue returns the attribute instances.
func (a *actualState) instancesValue() types.Map {
	values := map[string]attr.Value{}
	for node, i := range a.live {
		zone := types.StringNull()
		if i.Placement != nil {
			zone = types.StringPointerValue(i.Placement.AvailabilityZone)
		}
		values[node] = types.ObjectValueMust(instanceAttrTypes, map[string]attr.Value{
			"instance_id":       types.StringValue(i.id()),
			"availability_zone": zone,
			"public_ip":         types.StringPointerValue(a.publicIP(i)),
		})
	}
	return types.MapValueMust(instanceType, values)
}

func (a *actualState) publicIP(i instance) *string {
	for _, address := range a.addresses {
		if aws.ToString(address.InstanceId) == i.id() {
			return address.PublicIp
		}
	}
	return nil
}
