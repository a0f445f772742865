//go:build linux

package labtest

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
)

// vpc is a VPC with one public subnet and a security group without ingress rules.
type vpc struct {
	*lab
	id, subnet, group, table, gateway string
	keyName, key                      string // key pair, and the path of its private key
}

// newVPC creates a VPC. Its instances are terminated after the test.
func (l *lab) newVPC() *vpc {
	l.t.Helper()
	ctx, v := l.t.Context(), &vpc{lab: l}
	made, err := l.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.20.0.0/16")})
	must(l.t, err)
	v.id = *made.Vpc.VpcId
	l.t.Cleanup(v.terminateAll)
	subnet, err := l.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: &v.id, CidrBlock: aws.String("10.20.1.0/24"), AvailabilityZone: aws.String("eu-west-1a")})
	must(l.t, err)
	v.subnet = *subnet.Subnet.SubnetId
	gateway, err := l.ec2.CreateInternetGateway(ctx, &ec2.CreateInternetGatewayInput{})
	must(l.t, err)
	v.gateway = *gateway.InternetGateway.InternetGatewayId
	_, err = l.ec2.AttachInternetGateway(ctx, &ec2.AttachInternetGatewayInput{InternetGatewayId: &v.gateway, VpcId: &v.id})
	must(l.t, err)
	table, err := l.ec2.CreateRouteTable(ctx, &ec2.CreateRouteTableInput{VpcId: &v.id})
	must(l.t, err)
	v.table = *table.RouteTable.RouteTableId
	_, err = l.ec2.AssociateRouteTable(ctx, &ec2.AssociateRouteTableInput{RouteTableId: &v.table, SubnetId: &v.subnet})
	must(l.t, err)
	_, err = l.ec2.CreateRoute(ctx, &ec2.CreateRouteInput{RouteTableId: &v.table, DestinationCidrBlock: aws.String("0.0.0.0/0"), GatewayId: &v.gateway})
	must(l.t, err)
	group, err := l.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{VpcId: &v.id, GroupName: aws.String("test"), Description: aws.String("test")})
	must(l.t, err)
	v.group = *group.GroupId
	v.importKey()
	return v
}

// terminateAll terminates all instances of the VPC, if the lab is still running.
func (v *vpc) terminateAll() {
	ctx := context.Background() // the test's own has ended
	out, err := v.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: []types.Filter{
		{Name: aws.String("vpc-id"), Values: []string{v.id}},
		{Name: aws.String("instance-state-name"), Values: []string{"pending", "running", "stopping", "stopped"}},
	}})
	if err != nil {
		return
	}
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			if _, err := v.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{*i.InstanceId}}); err != nil {
				v.t.Errorf("terminate %s: %v", *i.InstanceId, err)
			}
		}
	}
}

func (v *vpc) importKey() {
	v.t.Helper()
	v.keyName = "lab-" + v.id
	v.key = filepath.Join(v.t.TempDir(), "id")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", v.key).CombinedOutput(); err != nil {
		v.t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	public, err := os.ReadFile(v.key + ".pub")
	must(v.t, err)
	_, err = v.ec2.ImportKeyPair(v.t.Context(), &ec2.ImportKeyPairInput{KeyName: &v.keyName, PublicKeyMaterial: public})
	must(v.t, err)
}

// launch launches an instance with a Name tag and waits until it has booted.
func (v *vpc) launch(name, image string, change ...func(*ec2.RunInstancesInput)) string {
	v.t.Helper()
	userData := "#cloud-config\nhostname: " + name + "\nwrite_files: [{path: /etc/from-user-data, content: hello}]\n"
	in := &ec2.RunInstancesInput{
		ImageId: &image, MinCount: aws.Int32(1), MaxCount: aws.Int32(1), InstanceType: types.InstanceTypeT3Small, KeyName: &v.keyName,
		UserData:          aws.String(base64.StdEncoding.EncodeToString([]byte(userData))),
		NetworkInterfaces: []types.InstanceNetworkInterfaceSpecification{{DeviceIndex: aws.Int32(0), SubnetId: &v.subnet, Groups: []string{v.group}, DeleteOnTermination: aws.Bool(true)}},
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{{Key: aws.String("Name"), Value: &name}}}},
	}
	for _, c := range change {
		c(in)
	}
	out, err := v.ec2.RunInstances(v.t.Context(), in)
	must(v.t, err)
	v.untilState(name, "running")
	return *out.Instances[0].InstanceId
}

// state returns an instance's state in the API.
func (v *vpc) state(id string) string {
	v.t.Helper()
	out, err := v.ec2.DescribeInstances(v.t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	must(v.t, err)
	return string(out.Reservations[0].Instances[0].State.Name)
}

func (v *vpc) untilAPIState(id, state string) {
	v.t.Helper()
	v.until(id+" is "+state+" in the API", 2*time.Minute, func() (bool, string) {
		now := v.state(id)
		return now == state, now
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestLifecycle changes instances, volumes, images, addresses and groups through the
// API and checks the machines. Its subtests share one instance.
func TestLifecycle(t *testing.T) {
	l := sharedLab(t)
	v := l.newVPC()
	id := v.launch("one", moto.BaseImageID)
	in := func(t *testing.T) *vpc {
		inner := *v
		inner.lab = l.with(t)
		return &inner
	}
	t.Run("SSHWithTheKeyPair", func(t *testing.T) {
		v := in(t)
		if got := v.run("ssh", "one", "--", "-i", v.key, "sudo", "cat", "/etc/from-user-data"); got != "hello" {
			t.Errorf("over ssh: %q", got)
		}
	})
	t.Run("StopStartReboot", func(t *testing.T) { in(t).checkStopStartReboot(id) })
	t.Run("PowerOffFromInside", func(t *testing.T) { in(t).checkPowerOffFromInside(id) })
	t.Run("ElasticAddressAndGroupTakeEffect", func(t *testing.T) { in(t).checkElasticAddress(id) })
	t.Run("VolumeComesAndGoes", func(t *testing.T) { in(t).checkVolume(id) })
	t.Run("ImageOfAMachineBoots", func(t *testing.T) { in(t).checkImage(id) })
	t.Run("LaunchWithoutASubnet", func(t *testing.T) { in(t).checkDefaultSubnet() })
	t.Run("Terminate", func(t *testing.T) { in(t).checkTerminate() })
	t.Run("SourceDestinationCheck", func(t *testing.T) { in(t).checkSourceDestination(id) })
}

// checkDefaultSubnet launches an instance in the default VPC, as Packer does, which
// gets a public address and reaches the Debian mirror.
func (v *vpc) checkDefaultSubnet() {
	id := v.launch("anywhere", moto.BaseImageID, func(in *ec2.RunInstancesInput) { in.NetworkInterfaces = nil })
	if i, _ := v.instance("anywhere"); i.PublicAddress == "" {
		v.t.Errorf("no public address: %+v", i)
	}
	v.shell("anywhere", "apt-get -qq update")
	checks, err := v.ec2.DescribeInstanceStatus(v.t.Context(), &ec2.DescribeInstanceStatusInput{InstanceIds: []string{id}})
	must(v.t, err)
	if got := checks.InstanceStatuses[0].InstanceStatus.Status; got != types.SummaryStatusOk {
		v.t.Errorf("status checks of a machine that is up: %s", got)
	}
	_, err = v.ec2.TerminateInstances(v.t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
	must(v.t, err)
}

func (v *vpc) checkStopStartReboot(id string) {
	ctx := v.t.Context()
	v.shell("one", "echo kept >/var/kept")
	_, err := v.ec2.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: []string{id}})
	must(v.t, err)
	v.untilAPIState(id, "stopped")
	if _, err := v.try("shell", "one", "--", "true"); err == nil {
		v.t.Error("a stopped machine runs a command")
	}
	_, err = v.ec2.StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: []string{id}})
	must(v.t, err)
	v.untilState("one", "running")
	if got := v.shell("one", "cat /var/kept"); got != "kept" {
		v.t.Errorf("what was written before the stop: %q", got)
	}
	before := v.shell("one", "stat -c %Y /run/systemd")
	_, err = v.ec2.RebootInstances(ctx, &ec2.RebootInstancesInput{InstanceIds: []string{id}})
	must(v.t, err)
	v.until("second boot", time.Minute, func() (bool, string) {
		i, _ := v.instance("one")
		return i.Boots == 2, fmt.Sprintf("%+v", i)
	})
	v.until("systemd is a new process", time.Minute, func() (bool, string) {
		now, err := v.try("shell", "one", "--", "stat", "-c", "%Y", "/run/systemd")
		return err == nil && strings.TrimSpace(now) != before, now
	})
	v.until("boot has finished", time.Minute, func() (bool, string) {
		out, _ := v.try("shell", "one", "--", "systemctl", "is-system-running")
		return strings.TrimSpace(out) == "running", out
	})
}

func (v *vpc) checkPowerOffFromInside(id string) {
	v.shell("one", "systemctl poweroff")
	v.untilAPIState(id, "stopped")
	_, err := v.ec2.StartInstances(v.t.Context(), &ec2.StartInstancesInput{InstanceIds: []string{id}})
	must(v.t, err)
	v.untilState("one", "running")
}

// fromInternet reports whether a TCP port of an address accepts connections from the
// internet side.
func (v *vpc) fromInternet(address string, port int) bool {
	_, err := v.outside(fmt.Sprintf("nc -z -w1 %s %d || timeout 1 bash -c '</dev/tcp/%s/%d'", address, port, address, port))
	return err == nil
}

func (v *vpc) checkElasticAddress(id string) {
	ctx := v.t.Context()
	allocated, err := v.ec2.AllocateAddress(ctx, &ec2.AllocateAddressInput{Domain: types.DomainTypeVpc})
	must(v.t, err)
	associated, err := v.ec2.AssociateAddress(ctx, &ec2.AssociateAddressInput{AllocationId: allocated.AllocationId, InstanceId: &id})
	must(v.t, err)
	if v.fromInternet(*allocated.PublicIp, 22) {
		v.t.Error("port 22 is open, and the group has no ingress rule")
	}
	permissions := []types.IpPermission{{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22),
		IpRanges: []types.IpRange{{CidrIp: aws.String("198.18.255.0/24")}}}}
	_, err = v.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &v.group, IpPermissions: permissions})
	must(v.t, err)
	v.takesEffect("port 22 open", func() bool { return v.fromInternet(*allocated.PublicIp, 22) })
	_, err = v.ec2.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: &v.group, IpPermissions: permissions})
	must(v.t, err)
	v.takesEffect("port 22 closed", func() bool { return !v.fromInternet(*allocated.PublicIp, 22) })
	_, err = v.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &v.group, IpPermissions: permissions})
	must(v.t, err)
	v.takesEffect("port 22 open again", func() bool { return v.fromInternet(*allocated.PublicIp, 22) })

	route := aws.String("0.0.0.0/0")
	_, err = v.ec2.DeleteRoute(ctx, &ec2.DeleteRouteInput{RouteTableId: &v.table, DestinationCidrBlock: route})
	must(v.t, err)
	v.takesEffect("no way in without a route", func() bool { return !v.fromInternet(*allocated.PublicIp, 22) })
	_, err = v.ec2.CreateRoute(ctx, &ec2.CreateRouteInput{RouteTableId: &v.table, DestinationCidrBlock: route, GatewayId: &v.gateway})
	must(v.t, err)
	v.takesEffect("a way in with a route", func() bool { return v.fromInternet(*allocated.PublicIp, 22) })

	_, err = v.ec2.DisassociateAddress(ctx, &ec2.DisassociateAddressInput{AssociationId: associated.AssociationId})
	must(v.t, err)
	v.takesEffect("no way in without the address", func() bool { return !v.fromInternet(*allocated.PublicIp, 22) })
}

// takesEffect waits until a change through the API has taken effect, and logs how long
// that took: less than a second on an idle host, and a second more if the condition
// waits for a connection to time out.
func (v *vpc) takesEffect(what string, condition func() bool) {
	v.t.Helper()
	took := v.until(what, 30*time.Second, func() (bool, string) { return condition(), "not yet" })
	v.t.Logf("%s after %s", what, took.Round(10*time.Millisecond))
}

func TestInstanceInAnOverlappingSubnetIsReported(t *testing.T) {
	l := sharedLab(t)
	v := l.newVPC()
	v.launch("one", moto.BaseImageID)
	ctx := t.Context()
	made, err := l.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.20.0.0/16")})
	must(t, err)
	subnet, err := l.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: made.Vpc.VpcId, CidrBlock: aws.String("10.20.1.0/24")})
	must(t, err)
	ran, err := l.ec2.RunInstances(ctx, &ec2.RunInstancesInput{ImageId: aws.String(moto.BaseImageID), InstanceType: types.InstanceTypeT3Small,
		SubnetId: subnet.Subnet.SubnetId, MinCount: aws.Int32(1), MaxCount: aws.Int32(1)})
	must(t, err)
	t.Cleanup(func() {
		_, err := l.ec2.TerminateInstances(context.Background(), &ec2.TerminateInstancesInput{InstanceIds: []string{*ran.Instances[0].InstanceId}})
		must(t, err)
	})
	l.until("the status shows the error", 30*time.Second, func() (bool, string) {
		i, _ := l.instance(*ran.Instances[0].InstanceId)
		return strings.Contains(i.Error, "overlaps"), fmt.Sprintf("%+v", i)
	})
	v.launch("two", moto.BaseImageID)
}
