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
)

// surroundings is what nodes are launched into: not the cluster's, but given to
// it by id.
type surroundings struct {
	subnets map[string]ec2types.Subnet
	images  map[string]ec2types.Image
	volumes map[string]ec2types.Volume
}

// check checks, before anything is changed, that the nodes to launch fit what
// they are launched into.
func (w *work) check() error {
	if err := w.checkFirst(); err != nil {
		return err
	}
	var nodes []nodeSpec
	for _, n := range w.spec.nodes() {
		if _, lives := w.seen.live[n.Name]; !lives || w.toBeReplaced(n) {
			nodes = append(nodes, n)
		}
	}
	return w.checkLaunch(nodes)
}

// checkFirst checks that a cluster which no state knows is what an interrupted
// create of this one left, and not somebody's: that has nodes which are not
// wanted here (docs/decisions/0005).
func (w *work) checkFirst() error {
	if !w.first {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(w.seen.live)) {
		if _, wanted := w.spec.Nodes[name]; !wanted {
			return base.AtAttribute(path.Root("name"), fmt.Errorf(
				"cluster %q exists already, with a node %s (%s) that this configuration does not have; choose another name, or import it with: terraform import <address> %s",
				w.spec.Name, name, w.seen.live[name].id(), w.spec.Name))
		}
	}
	return nil
}

// checkVPN checks that VPN clients' addresses cannot be mistaken for nodes'.
func (w *work) checkVPN() error {
	vpn, err := netip.ParsePrefix(w.spec.VPNCIDR)
	if err != nil {
		return err
	}
	if vpc, err := netip.ParsePrefix(w.seen.vpcCIDR); err == nil && vpc.Overlaps(vpn) {
		return fmt.Errorf("vpn_cidr %s overlaps the VPC's %s; choose a range outside it", vpn, vpc)
	}
	return nil
}

func (w *work) checkLaunch(nodes []nodeSpec) error {
	if err := w.checkVPN(); err != nil {
		return base.AtAttribute(path.Root("vpn_cidr"), err)
	}
	for _, n := range nodes {
		for _, check := range []func(nodeSpec) (attribute string, err error){w.checkSubnet, w.checkImage, w.checkVolume, w.checkEIP} {
			if attribute, err := check(n); err != nil {
				return base.AtAttribute(path.Root("nodes").AtMapKey(n.Name).AtName(attribute), fmt.Errorf("node %s: %w", n.Name, err))
			}
		}
	}
	return nil
}

// observeSurroundings describes what the cluster's nodes are launched into.
func (w *work) observeSurroundings(ctx context.Context) error {
	var nodes []nodeSpec
	for _, n := range w.spec.nodes() {
		if n.SubnetID != "" && n.ImageID != "" { // known already, in a plan
			nodes = append(nodes, n)
		}
	}
	s := surroundings{map[string]ec2types.Subnet{}, map[string]ec2types.Image{}, map[string]ec2types.Volume{}}
	var images []string
	for _, n := range nodes {
		images = append(images, n.ImageID)
	}
	steps := []base.Step{func(ctx context.Context) error {
		pages := ec2.NewDescribeImagesPaginator(w.Client.EC2, &ec2.DescribeImagesInput{Filters: []ec2types.Filter{base.Filter("image-id", images...)}})
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
			found[i], _, err = w.Describe.Subnets.Get(ctx, n.SubnetID)
			return err
		})
		if n.VolumeID != "" {
			steps = append(steps, func(ctx context.Context) (err error) {
				volumes[i], _, err = w.Describe.Volumes.Get(ctx, n.VolumeID)
				return err
			})
		}
	}
	err := base.ParallelUnbounded(ctx, steps...) // the look-ups are batched: a bound would split the batch
	for i, n := range nodes {
		s.subnets[n.SubnetID], s.volumes[n.VolumeID] = found[i], volumes[i]
	}
	w.around = s
	return err
}

// reservedAtStart is how many addresses at the start of a subnet AWS keeps for
// itself, besides the last one (VPC user guide, "Subnet CIDR blocks").
const reservedAtStart = 4

func (w *work) checkSubnet(n nodeSpec) (string, error) {
	subnet := w.around.subnets[n.SubnetID]
	if subnet.SubnetId == nil {
		return "subnet_id", fmt.Errorf("there is no subnet %s", n.SubnetID)
	}
	if id := aws.ToString(subnet.VpcId); w.spec.VPCID != "" && id != w.spec.VPCID {
		return "subnet_id", fmt.Errorf("subnet %s is in %s, not in the cluster's %s", n.SubnetID, id, w.spec.VPCID)
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
		return "address", fmt.Errorf("AWS keeps the first %d addresses and the last one of %s for itself, and %s is one of them; choose another", reservedAtStart, cidr, n.Address)
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

func (w *work) checkImage(n nodeSpec) (string, error) {
	image := w.around.images[n.ImageID]
	if image.ImageId == nil {
		return "image_id", fmt.Errorf("there is no image %s that this account may use in %s", n.ImageID, w.Client.Region)
	}
	role := base.FlattenEC2Tags(image.Tags)[base.TagRole]
	if role != "" && model.Role(role) != n.Role {
		return "image_id", fmt.Errorf("image %s is of role %s, and the node's role is %s; take its image", n.ImageID, role, n.Role)
	}
	return "", nil
}

func (w *work) checkVolume(n nodeSpec) (string, error) {
	if n.VolumeID == "" {
		return "", nil
	}
	volume := w.around.volumes[n.VolumeID]
	if volume.VolumeId == nil {
		return "volume_id", fmt.Errorf("there is no volume %s", n.VolumeID)
	}
	zone := aws.ToString(w.around.subnets[n.SubnetID].AvailabilityZone)
	if got := aws.ToString(volume.AvailabilityZone); got != zone {
		return "volume_id", fmt.Errorf("volume %s is in zone %s, and subnet %s in %s; a volume can be attached in its own zone alone", n.VolumeID, got, n.SubnetID, zone)
	}
	for _, a := range volume.Attachments {
		holder := aws.ToString(a.InstanceId)
		if !w.seen.isOurs(holder) && a.State != ec2types.VolumeAttachmentStateDetached {
			return "volume_id", fmt.Errorf("volume %s is attached to %s, which is not of this cluster; detach it first", n.VolumeID, holder)
		}
	}
	return "", nil
}

func (w *work) checkEIP(n nodeSpec) (string, error) {
	if n.EIPID == "" {
		return "", nil
	}
	for _, a := range w.seen.addresses {
		if aws.ToString(a.AllocationId) != n.EIPID {
			continue
		}
		if holder := aws.ToString(a.InstanceId); holder != "" && !w.seen.isOurs(holder) {
			return "eip_id", fmt.Errorf("address %s is associated with %s, which is not of this cluster; disassociate it first", n.EIPID, holder)
		}
		return "", nil
	}
	return "eip_id", fmt.Errorf("there is no Elastic IP address %s", n.EIPID)
}

func (o *observed) isOurs(id string) bool {
	for _, i := range o.all() {
		if i.id() == id {
			return true
		}
	}
	return false
}

// rootDevice is the name of an image's root device.
func (w *work) rootDevice(image string) string {
	if name := aws.ToString(w.around.images[image].RootDeviceName); name != "" {
		return name
	}
	return "/dev/xvda" // Debian's
}
