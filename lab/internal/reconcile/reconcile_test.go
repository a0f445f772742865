//go:build linux

package reconcile

import (
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/go-hclog"
	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/lab/internal/machine"
	"github.com/xeroops/xeroops/lab/internal/vpcnet"
)

// example returns an account with a gateway instance in a public subnet and a database
// instance in a private one.
func example() *account {
	instance := func(id, subnet, address string) types.Instance {
		return types.Instance{
			InstanceId: &id, SubnetId: &subnet, PrivateIpAddress: &address, VpcId: aws.String("vpc-1"), ImageId: aws.String("ami-base"),
			State: &types.InstanceState{Name: types.InstanceStateNameRunning}, RootDeviceName: aws.String("/dev/xvda"),
			NetworkInterfaces: []types.InstanceNetworkInterface{{NetworkInterfaceId: aws.String("eni-" + id), Groups: []types.GroupIdentifier{{GroupId: aws.String("sg-1"), GroupName: aws.String("one")}}}},
		}
	}
	subnet := func(id, cidr string) types.Subnet {
		return types.Subnet{SubnetId: &id, CidrBlock: &cidr, VpcId: aws.String("vpc-1")}
	}
	return &account{
		instances: []types.Instance{instance("i-1", "subnet-public", "10.0.1.11"), instance("i-2", "subnet-private", "10.0.2.30")},
		vpcs:      map[string]types.Vpc{"vpc-1": {CidrBlock: aws.String("10.0.0.0/16")}},
		subnets: map[string]types.Subnet{
			"subnet-public": subnet("subnet-public", "10.0.1.0/24"), "subnet-private": subnet("subnet-private", "10.0.2.0/24"),
			"subnet-empty": subnet("subnet-empty", "10.0.3.0/24"),
		},
		routeTables: []types.RouteTable{
			{RouteTableId: aws.String("rtb-main"), VpcId: aws.String("vpc-1"), Associations: []types.RouteTableAssociation{{Main: aws.Bool(true)}},
				Routes: []types.Route{
					{DestinationCidrBlock: aws.String("10.0.0.0/16"), GatewayId: aws.String("local")},
					{DestinationCidrBlock: aws.String("10.100.0.0/16"), NetworkInterfaceId: aws.String("eni-i-1")},
				}},
			{RouteTableId: aws.String("rtb-public"), VpcId: aws.String("vpc-1"), Associations: []types.RouteTableAssociation{{SubnetId: aws.String("subnet-public")}},
				Routes: []types.Route{{DestinationCidrBlock: aws.String("0.0.0.0/0"), GatewayId: aws.String("igw-1")}}},
		},
		groups: []types.SecurityGroup{{GroupId: aws.String("sg-1"), IpPermissions: []types.IpPermission{
			{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(5432), ToPort: aws.Int32(5433), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: aws.String("sg-1")}}},
			{IpProtocol: aws.String("-1"), IpRanges: []types.IpRange{{CidrIp: aws.String("10.100.0.0/16")}}},
			{IpProtocol: aws.String("udp"), FromPort: aws.Int32(1), ToPort: aws.Int32(1), Ipv6Ranges: []types.Ipv6Range{{CidrIpv6: aws.String("::/0")}}},
		}}},
		addresses: []types.Address{{PublicIp: aws.String("198.51.100.1"), InstanceId: aws.String("i-1")}},
		endpoints: []types.VpcEndpoint{{VpcEndpointType: types.VpcEndpointTypeGateway, ServiceName: aws.String("com.amazonaws.eu-west-1.s3"), RouteTableIds: []string{"rtb-main"}}},
	}
}

func TestNetworkModelFollowsRouteTablesAndGroups(t *testing.T) {
	m := example().networkModel()
	public := vpcnet.Subnet{ID: "subnet-public", CIDR: netip.MustParsePrefix("10.0.1.0/24"), Internet: true}
	private := vpcnet.Subnet{ID: "subnet-private", CIDR: netip.MustParsePrefix("10.0.2.0/24"), S3Endpoint: true,
		Routes: []vpcnet.Route{{CIDR: netip.MustParsePrefix("10.100.0.0/16"), Machine: "i-1"}}}
	if want := []vpcnet.Subnet{public, private}; !reflect.DeepEqual(m.Subnets, want) {
		t.Errorf("subnets: %+v\nwant: %+v", m.Subnets, want)
	}
	gateway := vpcnet.Machine{ID: "i-1", Subnet: "subnet-public", Address: netip.MustParseAddr("10.0.1.11"),
		PublicAddress: netip.MustParseAddr("198.51.100.1"), Groups: []string{"sg-1"}, SourceDestCheck: true}
	if !reflect.DeepEqual(m.Machines[0], gateway) {
		t.Errorf("machine: %+v\nwant: %+v", m.Machines[0], gateway)
	}
	want := []vpcnet.Rule{
		{Protocol: "tcp", FromPort: 5432, ToPort: 5433, Groups: []string{"sg-1"}},
		{CIDRs: []netip.Prefix{netip.MustParsePrefix("10.100.0.0/16")}},
	}
	if !reflect.DeepEqual(m.Groups[0].Ingress, want) {
		t.Errorf("rules: %+v\nwant: %+v", m.Groups[0].Ingress, want)
	}
}

func TestInstanceOutsideItsSubnetIsLeftOut(t *testing.T) {
	a := example()
	a.instances[0].PrivateIpAddress = aws.String("10.169.1.2")
	if m := a.networkModel(); len(m.Machines) != 1 || m.Machines[0].ID != "i-2" {
		t.Errorf("machines: %+v", m.Machines)
	}
}

// on is a running machine.
type on struct{ machine.Machine }

func (on) Ready() <-chan struct{} { return make(chan struct{}) }

func withInstances(a *account, machines map[string]machine.Machine) *Reconciler {
	r := New(Options{Log: hclog.NewNullLogger(), BaseImages: []string{"ami-base"}, BaseLayers: []string{"/base"}})
	r.account = a
	for _, i := range a.instances {
		r.instances[*i.InstanceId] = newInstance(r, *i.InstanceId)
		r.instances[*i.InstanceId].wanted = i
		r.instances[*i.InstanceId].machine = machines[*i.InstanceId]
	}
	return r
}

func TestInstanceStatesReflectTheMachines(t *testing.T) {
	r := withInstances(example(), map[string]machine.Machine{"i-1": on{}})
	item := func(id, state string) string {
		return "<instanceId>" + id + "</instanceId><imageId>ami-1</imageId><instanceState><code>99</code><name>" + state + "</name></instanceState>"
	}
	for _, c := range []struct{ id, moto, want string }{
		{"i-1", "running", "<code>16</code><name>running</name>"},
		{"i-1", "stopped", "<code>64</code><name>stopping</name>"},
		{"i-1", "terminated", "<code>32</code><name>shutting-down</name>"},
		{"i-2", "running", "<code>0</code><name>pending</name>"},
		{"i-2", "stopped", "<code>80</code><name>stopped</name>"},
		{"i-3", "terminated", "<code>99</code><name>terminated</name>"},
	} {
		if got := r.withInstanceStates(item(c.id, c.moto)); !strings.Contains(got, c.want) {
			t.Errorf("%s, which moto calls %s: %s, want %s", c.id, c.moto, got, c.want)
		}
	}
}

func TestAttachmentsReflectTheMachines(t *testing.T) {
	r := withInstances(example(), map[string]machine.Machine{"i-1": on{}, "i-2": on{}})
	r.instances["i-1"].attached["vol-1"] = true
	r.instances["i-1"].attached["vol-3"] = true
	attached := func(id, instance string) string {
		return "<item><volumeId>" + id + "</volumeId><status>in-use</status><attachmentSet><item><volumeId>" + id + "</volumeId><instanceId>" + instance +
			"</instanceId><device>/dev/xvdf</device><status>attached</status></item></attachmentSet></item>"
	}
	free := "<item><volumeId>vol-3</volumeId><size>1</size><status>available</status><attachmentSet/></item>"
	got := r.withAttachments(attached("vol-1", "i-1") + attached("vol-2", "i-2") + free)
	for _, want := range []string{
		"<volumeId>vol-1</volumeId><instanceId>i-1</instanceId><device>/dev/xvdf</device><status>attached</status>",
		"<volumeId>vol-2</volumeId><instanceId>i-2</instanceId><device>/dev/xvdf</device><status>attaching</status>",
		"<status>in-use</status><attachmentSet><item><volumeId>vol-3</volumeId><instanceId>i-1</instanceId><status>detaching</status></item></attachmentSet>",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
}

func TestFindPrefersInstancesOfTheAccount(t *testing.T) {
	a := example()
	a.instances[0].Tags = []types.Tag{{Key: aws.String(cluster.TagNode), Value: aws.String("app1")}}
	r := withInstances(a, nil)
	r.instances["i-old"] = newInstance(r, "i-old")
	r.instances["i-old"].wanted = a.instances[0]
	if i, err := r.find("app1"); err != nil || i.id != "i-1" {
		t.Errorf("find app1: %v %v", i, err)
	}
	if _, err := r.find("app9"); err == nil || !strings.Contains(err.Error(), "app1") {
		t.Errorf("find app9: %v, want an error with the known names", err)
	}
}

func TestImageIsKeptWhileItIsUsed(t *testing.T) {
	r := withInstances(example(), nil)
	r.copied("ami-copy", "ami-base")
	if layers, err := r.layers("ami-copy"); err != nil || !slices.Equal(layers, []string{"/base"}) {
		t.Errorf("layers of a copy: %v %v", layers, err)
	}
	if _, err := r.layers("ami-unknown"); err == nil {
		t.Error("an unknown image has layers")
	}
	r.drop("ami-copy")
	r.instances["i-1"].wanted.ImageId = aws.String("ami-copy")
	if err := r.dropImages(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, kept := r.images["ami-copy"]; !kept {
		t.Error("an image was removed while an instance uses it")
	}
	r.instances["i-1"].wanted.ImageId = aws.String("ami-base")
	if err := r.dropImages(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, kept := r.images["ami-copy"]; kept {
		t.Error("a dropped image that no instance uses was kept")
	}
}

func TestRootSnapshotHasTheContentOfItsImage(t *testing.T) {
	r := withInstances(example(), nil)
	r.recordImage(types.Image{ImageId: aws.String("ami-made"), BlockDeviceMappings: []types.BlockDeviceMapping{
		{DeviceName: aws.String("/dev/sda1"), Ebs: &types.EbsBlockDevice{SnapshotId: aws.String("snap-root")}},
		{DeviceName: aws.String("/dev/sdf"), Ebs: &types.EbsBlockDevice{SnapshotId: aws.String("snap-data")}}}},
		[]imageVolume{{device: "/dev/sdf", snapshot: "snap-data"}})
	r.copied("ami-registered", "snap-root")
	if got := r.images["ami-registered"].content; got != "snap-root" || r.images["snap-root"].content != "ami-made" {
		t.Errorf("the image registered from the snapshot has content %q, the snapshot %q", got, r.images["snap-root"].content)
	}
	if _, known := r.images["snap-data"]; known {
		t.Error("a data volume's snapshot counts as an image")
	}
	if volumes := r.volumesOf("ami-registered"); len(volumes) > 0 {
		t.Errorf("an image registered from the root volume's snapshot has the volumes %v", volumes)
	}
}

func TestMappingsOfTheCallOverrideTheImages(t *testing.T) {
	volumes := []imageVolume{{device: "/dev/xvdf", snapshot: "snap-1", gib: 2}, {device: "/dev/xvdg", snapshot: "snap-2", gib: 3}}
	p := url.Values{"BlockDeviceMapping.1.DeviceName": {"/dev/xvdf"}, "BlockDeviceMapping.1.Ebs.VolumeSize": {"9"}}
	got := withMappings(p, volumes)
	want := url.Values{
		"BlockDeviceMapping.1.DeviceName": {"/dev/xvdf"}, "BlockDeviceMapping.1.Ebs.VolumeSize": {"9"},
		"BlockDeviceMapping.2.DeviceName": {"/dev/xvda"}, "BlockDeviceMapping.2.Ebs.VolumeSize": {"8"},
		"BlockDeviceMapping.3.DeviceName": {"/dev/xvdg"}, "BlockDeviceMapping.3.Ebs.VolumeSize": {"3"}, "BlockDeviceMapping.3.Ebs.SnapshotId": {"snap-2"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("mappings: %v\nwant: %v", got, want)
	}
}

func TestLinkOfAMachineThatIsOffIsDown(t *testing.T) {
	a := example()
	r := withInstances(a, map[string]machine.Machine{"i-1": on{}})
	down := func(read int) bool {
		for _, m := range r.model(a, read).Machines {
			if m.ID == "i-2" {
				return m.LinkDown
			}
		}
		t.Fatal("no machine i-2 in the model")
		return false
	}
	i := r.instances["i-2"]
	if down(1) {
		t.Error("the link of a machine that is about to start is down")
	}
	i.wanted.State = &types.InstanceState{Name: types.InstanceStateNameStopped}
	i.validFrom = 3
	if !down(2) {
		t.Error("an outdated read of the account brings up the link of a machine that lost power")
	}
	if down(3) {
		t.Error("the link is down although the account has started the instance again")
	}
	a.instances[1].State = &types.InstanceState{Name: types.InstanceStateNameStopped}
	if !down(3) {
		t.Error("the link of a stopped instance is up")
	}
}

func TestLinkStaysDownUntilTheMachineIsOff(t *testing.T) {
	f := newFaults()
	f.linksDown["i-1"] = 4
	m := example().networkModel()
	for incarnation, want := range map[int]bool{4: true, 5: false} {
		m.Machines[0].Incarnation, m.Machines[0].LinkDown = incarnation, false
		if f.apply(&m); m.Machines[0].LinkDown != want {
			t.Errorf("incarnation %d: link down %v, want %v", incarnation, m.Machines[0].LinkDown, want)
		}
	}
}

func TestFaultsOfMachinesThatAreGoneAreLeftOut(t *testing.T) {
	f := faults{partitions: []vpcnet.Partition{{A: "i-1", B: "i-9"}, {A: "i-1"}}, linkRates: map[string]uint64{"i-1": 1000}}
	m := example().networkModel()
	f.apply(&m)
	if want := []vpcnet.Partition{{A: "i-1"}}; !reflect.DeepEqual(m.Partitions, want) {
		t.Errorf("partitions: %v, want %v", m.Partitions, want)
	}
	if m.Machines[0].LinkBitsPerSecond != 1000 || m.Machines[1].LinkBitsPerSecond != 0 {
		t.Errorf("link rates: %+v", m.Machines)
	}
}

func TestMetadataOptions(t *testing.T) {
	o := options(&types.InstanceMetadataOptionsResponse{HttpTokens: types.HttpTokensStateRequired, HttpPutResponseHopLimit: aws.Int32(2)}, 1)
	if !o.TokenRequired || o.TokenHopLimit != 2 || o.Disabled {
		t.Errorf("options: %+v", o)
	}
	if o := options(nil, 1); o.TokenHopLimit != 1 || o.TokenRequired {
		t.Errorf("default options: %+v", o)
	}
}
