package cluster

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/path"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

// dependencies are the customer's resources, configured by id, that instances
// are launched with.
type dependencies struct {
	subnets map[string]ec2types.Subnet
	images  map[string]ec2types.Image
	volumes map[string]ec2types.Volume
	types   map[string]instanceTypeInfo        // by name; those that were described
	groups  map[string]ec2types.PlacementGroup // by name; those that exist
}

// check checks, before anything is changed, that the nodes to launch match
// their dependencies.
func (op *operation) check(ctx context.Context) error {
	var nodes []clusterspec.Node
	for _, n := range op.spec.SortedNodes() {
		if _, lives := op.actual.live[n.Name]; !lives || op.toBeReplaced(n) || op.toBeRestarted(n) {
			nodes = append(nodes, n)
			if err := op.checkIPv6(n); err != nil {
				return err
			}
		}
	}
	if err := op.checkRootVolumes(); err != nil {
		return err
	}
	if err := op.checkLaunch(ctx, nodes); err != nil {
		return err
	}
	return op.checkPlacementGroupsExist(nodes)
}

// found returns what exists of the cluster that is to be created, or nil. Its claim
// is that of the security groups, which are created before the instances.
func (op *operation) found() *base.Found {
	if len(op.actual.live) == 0 && !op.groups.Exist() {
		return nil
	}
	found := &base.Found{ID: op.spec.Name, Claim: op.groups.ActualClaim()}
	for _, name := range slices.Sorted(maps.Keys(op.actual.live)) {
		if _, wanted := op.spec.Nodes[name]; !wanted {
			found.Conflict = fmt.Sprintf("its node %s (%s) is not in this configuration", name, op.actual.live[name].id())
		}
	}
	return found
}

// adopt checks that what exists of a cluster that is to be created was left by an
// interrupted create, and takes it over.
func (op *operation) adopt(ctx context.Context) error {
	if !op.creating {
		return nil
	}
	id, err := op.Claims.Adoptable(clusterTypeName, op.spec.Name, op.found())
	if err != nil || id == "" {
		return err
	}
	return op.groups.WriteClaim(ctx, op.groups.Claim.String())
}

// checkVPN checks that the VPN range does not overlap the VPC's.
func (op *operation) checkVPN() error {
	vpn, err := netip.ParsePrefix(op.spec.VPNCIDR)
	if err != nil {
		return err
	}
	if vpc, err := netip.ParsePrefix(op.actual.vpcCIDR); err == nil && vpc.Overlaps(vpn) {
		return fmt.Errorf("vpn_cidr %s overlaps the VPC's %s; choose a range outside it", vpn, vpc)
	}
	return nil
}

func (op *operation) checkLaunch(ctx context.Context, nodes []clusterspec.Node) error {
	if err := op.checkVPN(); err != nil {
		return base.AtAttribute(path.Root("vpn_cidr"), err)
	}
	if err := base.Parallel(ctx, func(ctx context.Context) error { return op.observeTypes(ctx, nodes) },
		func(ctx context.Context) error { return op.observePlacementGroups(ctx, nodes) }); err != nil {
		return err
	}
	for _, n := range nodes {
		checks := []func(clusterspec.Node) (attribute string, err error){op.checkSubnet, op.checkType, op.checkTenancy, op.checkPlacementGroup, op.checkVolume, op.checkEIP}
		if !op.toBeRestarted(n) { // which needs no image
			checks = append(checks, op.checkImage)
		}
		for _, check := range checks {
			if attribute, err := check(n); err != nil {
				return base.AtAttribute(path.Root("nodes").AtMapKey(n.Name).AtName(attribute), fmt.Errorf("node %s: %w", n.Name, err))
			}
		}
	}
	return nil
}

// observeDependencies describes the dependencies of all nodes, and the instance types
// of those that are going to be launched or restarted according to the plan.
func (op *operation) observeDependencies(ctx context.Context) error {
	op.dependencies = dependencies{types: map[string]instanceTypeInfo{}, groups: map[string]ec2types.PlacementGroup{}}
	return base.Parallel(ctx, op.observeResources, func(ctx context.Context) error { return op.observeTypes(ctx, op.toLaunch) })
}

// observeResources describes the subnets, images and volumes of all nodes.
func (op *operation) observeResources(ctx context.Context) error {
	var nodes []clusterspec.Node
	for _, n := range op.spec.SortedNodes() {
		if n.SubnetID != "" && n.ImageID != "" { // may be unknown in a plan
			nodes = append(nodes, n)
		}
	}
	s := dependencies{subnets: map[string]ec2types.Subnet{}, images: map[string]ec2types.Image{}, volumes: map[string]ec2types.Volume{}}
	var images []string
	for _, n := range nodes {
		images = append(images, n.ImageID)
	}
	steps := []base.Step{func(ctx context.Context) error {
		pages := ec2.NewDescribeImagesPaginator(op.Client.EC2, &ec2.DescribeImagesInput{Filters: []ec2types.Filter{base.Filter("image-id", images...)}})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return err
			}
			for _, image := range page.Images {
				s.images[aws.ToString(image.ImageId)] = image
			}
		}
		return nil
	}}
	found := make([]ec2types.Subnet, len(nodes))
	volumes := make([]ec2types.Volume, len(nodes))
	for i, n := range nodes {
		steps = append(steps, func(ctx context.Context) (err error) {
			found[i], _, err = op.Describe.Subnets.Get(ctx, n.SubnetID)
			return err
		})
		if n.VolumeID != "" {
			steps = append(steps, func(ctx context.Context) (err error) {
				volumes[i], _, err = op.Describe.Volumes.Get(ctx, n.VolumeID)
				return err
			})
		}
	}
	err := base.ParallelUnbounded(ctx, steps...) // Describe gathers the calls into one: a limit would split it
	for i, n := range nodes {
		s.subnets[n.SubnetID], s.volumes[n.VolumeID] = found[i], volumes[i]
	}
	op.dependencies.subnets, op.dependencies.images, op.dependencies.volumes = s.subnets, s.images, s.volumes
	return err
}

// reservedAtStart is the number of addresses at the start of a subnet that AWS
// reserves, besides the last one (VPC user guide, "Subnet CIDR blocks").
const reservedAtStart = 4

func (op *operation) checkSubnet(n clusterspec.Node) (string, error) {
	subnet := op.dependencies.subnets[n.SubnetID]
	if subnet.SubnetId == nil {
		return "subnet_id", fmt.Errorf("subnet %s does not exist", n.SubnetID)
	}
	if id := aws.ToString(subnet.VpcId); op.spec.VPCID != "" && id != op.spec.VPCID {
		return "subnet_id", fmt.Errorf("subnet %s is in %s, not in the cluster's %s", n.SubnetID, id, op.spec.VPCID)
	}
	cidr, err := netip.ParsePrefix(aws.ToString(subnet.CidrBlock))
	if err != nil {
		return "subnet_id", err
	}
	address, err := netip.ParseAddr(n.Address)
	if err != nil {
		return "address", err
	}
	if !cidr.Contains(address) {
		return "address", fmt.Errorf("%s is not in subnet %s (%s); choose an address in it", n.Address, n.SubnetID, cidr)
	}
	if isReserved(cidr, address) {
		return "address", fmt.Errorf("AWS reserves the first %d addresses and the last one of %s, and %s is one of them; choose another address", reservedAtStart, cidr, n.Address)
	}
	return "", nil
}

func isReserved(cidr netip.Prefix, address netip.Addr) bool {
	first := cidr.Masked().Addr()
	for range reservedAtStart {
		if address == first {
			return true
		}
		first = first.Next()
	}
	return !cidr.Contains(address.Next())
}

func (op *operation) checkImage(n clusterspec.Node) (string, error) {
	image := op.dependencies.images[n.ImageID]
	if image.ImageId == nil {
		return "image_id", fmt.Errorf("image %s does not exist in %s, or this account may not use it", n.ImageID, op.Client.Region)
	}
	if image.State != ec2types.ImageStateAvailable {
		return "image_id", fmt.Errorf("image %s is %s; wait until it is available, or choose another image", n.ImageID, image.State)
	}
	if size := rootSnapshotGiB(image); size > op.spec.RootVolumeGiB {
		return "image_id", fmt.Errorf("image %s has a root volume of %d GiB, and root_volume_gib is %d; set root_volume_gib to %[2]d or more", n.ImageID, size, op.spec.RootVolumeGiB)
	}
	role := base.FlattenEC2Tags(image.Tags)[base.TagRole]
	if role != "" && model.Role(role) != n.Role {
		return "image_id", fmt.Errorf("image %s is for role %s, and the node's role is %s; choose an image for that role", n.ImageID, role, n.Role)
	}
	return "", nil
}

func (op *operation) checkVolume(n clusterspec.Node) (string, error) {
	if n.VolumeID == "" {
		return "", nil
	}
	volume := op.dependencies.volumes[n.VolumeID]
	if volume.VolumeId == nil {
		return "volume_id", fmt.Errorf("volume %s does not exist", n.VolumeID)
	}
	zone := aws.ToString(op.dependencies.subnets[n.SubnetID].AvailabilityZone)
	if got := aws.ToString(volume.AvailabilityZone); got != zone {
		return "volume_id", fmt.Errorf("volume %s is in zone %s and subnet %s in %s; choose a volume and a subnet in the same zone", n.VolumeID, got, n.SubnetID, zone)
	}
	for _, a := range volume.Attachments {
		holder := aws.ToString(a.InstanceId)
		if !op.actual.isOwn(holder) && a.State != ec2types.VolumeAttachmentStateDetached {
			return "volume_id", fmt.Errorf("volume %s is attached to %s, which is not part of this cluster; detach it first", n.VolumeID, holder)
		}
	}
	return "", nil
}

func (op *operation) checkEIP(n clusterspec.Node) (string, error) {
	if n.EIPID == "" {
		return "", nil
	}
	for _, a := range op.actual.addresses {
		if aws.ToString(a.AllocationId) != n.EIPID {
			continue
		}
		if holder := aws.ToString(a.InstanceId); holder != "" && !op.actual.isOwn(holder) {
			return "eip_id", fmt.Errorf("address %s is associated with %s, which is not part of this cluster; disassociate it first", n.EIPID, holder)
		}
		return "", nil
	}
	return "eip_id", fmt.Errorf("Elastic IP address %s does not exist", n.EIPID)
}

func (a *actualState) isOwn(id string) bool {
	for _, i := range a.all() {
		if i.id() == id {
			return true
		}
	}
	return false
}

// rootSnapshotGiB returns the size of the snapshot of an image's root volume.
func rootSnapshotGiB(image ec2types.Image) int32 {
	for _, m := range image.BlockDeviceMappings {
		if m.Ebs != nil && aws.ToString(m.DeviceName) == aws.ToString(image.RootDeviceName) {
			return aws.ToInt32(m.Ebs.VolumeSize)
		}
	}
	return 0
}

// rootDevice returns the name of an image's root device.
func (op *operation) rootDevice(image string) string {
	if name := aws.ToString(op.dependencies.images[image].RootDeviceName); name != "" {
		return name
	}
	return "/dev/xvda" // Debian's
}
