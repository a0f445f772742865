//go:build linux

package labtest

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
)

func device(volumeID string) string {
	return "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_" + strings.ReplaceAll(volumeID, "-", "")
}

// volumeState returns a volume's state and that of its attachment in the API.
func (v *vpc) volumeState(id string) string {
	v.t.Helper()
	out, err := v.ec2.DescribeVolumes(v.t.Context(), &ec2.DescribeVolumesInput{VolumeIds: []string{id}})
	must(v.t, err)
	state := string(out.Volumes[0].State)
	for _, a := range out.Volumes[0].Attachments {
		state += " " + string(a.State)
	}
	return state
}

func (v *vpc) untilVolume(id, state string) {
	v.t.Helper()
	v.until(id+" is "+state, 30*time.Second, func() (bool, string) {
		now := v.volumeState(id)
		return now == state, now
	})
}

// attach attaches a volume. The device of a detached volume may be in use for a while.
func (v *vpc) attach(volumeID, instanceID string) {
	v.t.Helper()
	v.until("the device is free", 30*time.Second, func() (bool, string) {
		_, err := v.ec2.AttachVolume(v.t.Context(), &ec2.AttachVolumeInput{VolumeId: &volumeID, InstanceId: &instanceID, Device: aws.String("/dev/xvdf")})
		if err != nil && strings.Contains(err.Error(), "already in use") {
			return false, err.Error()
		}
		must(v.t, err)
		return true, ""
	})
	v.untilVolume(volumeID, "in-use attached")
}

// checkVolume attaches a volume to a running machine, makes a snapshot, grows the
// volume and detaches it, which waits until it is unmounted.
func (v *vpc) checkVolume(id string) {
	ctx := v.t.Context()
	made, err := v.ec2.CreateVolume(ctx, &ec2.CreateVolumeInput{AvailabilityZone: aws.String("eu-west-1a"), Size: aws.Int32(1)})
	must(v.t, err)
	volume := *made.VolumeId
	v.attach(volume, id)
	v.shell("one", "mkfs.ext4 -q "+device(volume)+" && mount "+device(volume)+" /mnt && echo kept >/mnt/file && sync")

	snapshot, err := v.ec2.CreateSnapshot(ctx, &ec2.CreateSnapshotInput{VolumeId: &volume})
	must(v.t, err)
	_, err = v.ec2.ModifyVolume(ctx, &ec2.ModifyVolumeInput{VolumeId: &volume, Size: aws.Int32(2)})
	must(v.t, err)
	v.until("the volume has its new size", 30*time.Second, func() (bool, string) {
		size := v.shell("one", "blockdev --getsize64 "+device(volume))
		return size == fmt.Sprint(2<<30), size
	})
	v.growFileSystem("one", device(volume))

	_, err = v.ec2.DetachVolume(ctx, &ec2.DetachVolumeInput{VolumeId: &volume})
	must(v.t, err)
	if state := v.volumeState(volume); state != "in-use detaching" {
		v.t.Errorf("a mounted volume after DetachVolume: %s, want in-use detaching", state)
	}
	_, err = v.ec2.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: &volume})
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "VolumeInUse" {
		v.t.Errorf("delete of a volume that is being detached: %v, want VolumeInUse", err)
	}
	v.shell("one", "umount /mnt")
	v.untilVolume(volume, "available")
	if got := v.shell("one", "ls /dev/disk/by-id"); got != "" {
		v.t.Errorf("after the detach: %q", got)
	}
	_, err = v.ec2.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: &volume})
	must(v.t, err)

	restored, err := v.ec2.CreateVolume(ctx, &ec2.CreateVolumeInput{AvailabilityZone: aws.String("eu-west-1a"), SnapshotId: snapshot.SnapshotId, Size: aws.Int32(1)})
	must(v.t, err)
	v.attach(*restored.VolumeId, id)
	if got := v.shell("one", "mount "+device(*restored.VolumeId)+" /mnt && cat /mnt/file; umount /mnt"); got != "kept" {
		v.t.Errorf("in the volume of the snapshot: %q", got)
	}
	v.checkImageWithVolume(id, *restored.VolumeId)
}

// growFileSystem grows the mounted file system of a device to the device's size. Where
// the host's root lacks CAP_SYS_RESOURCE, that is a documented limit of the lab, and
// the file system is grown while it is not mounted.
func (v *vpc) growFileSystem(node, device string) {
	v.t.Helper()
	const capSysResource = 24 // capability.h
	status, err := os.ReadFile("/proc/self/status")
	must(v.t, err)
	var capabilities uint64
	for line := range strings.Lines(string(status)) {
		if hex, found := strings.CutPrefix(line, "CapEff:"); found {
			_, err := fmt.Sscanf(hex, "%x", &capabilities)
			must(v.t, err)
		}
	}
	if capabilities&(1<<capSysResource) != 0 {
		v.shell(node, "resize2fs "+device)
	} else {
		v.t.Log("this host's root lacks CAP_SYS_RESOURCE: the file system is grown while it is not mounted")
		v.shell(node, "umount /mnt && e2fsck -fp "+device+" >/dev/null && resize2fs "+device+" && mount "+device+" /mnt")
	}
	if size := v.shell(node, "df --block-size=1M --output=size /mnt | tail -1"); len(size) < 4 || size < "1900" {
		v.t.Errorf("the file system has %s MiB, the volume 2048", size)
	}
}

// checkImageWithVolume creates an image of a machine with a data volume. An instance
// launched from it has a volume with the same content.
func (v *vpc) checkImageWithVolume(id, volume string) {
	ctx := v.t.Context()
	image, err := v.ec2.CreateImage(ctx, &ec2.CreateImageInput{InstanceId: &id, Name: aws.String("with a volume"), NoReboot: aws.Bool(true)})
	must(v.t, err)
	images, err := v.ec2.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{*image.ImageId}})
	must(v.t, err)
	if n := len(images.Images[0].BlockDeviceMappings); n != 2 {
		v.t.Errorf("the image has %d devices, want the root volume and one more", n)
	}
	copied := v.launch("copy", *image.ImageId)
	if got := v.shell("copy", "mount /dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol* /mnt && cat /mnt/file; ls /dev/disk/by-id"); !strings.HasPrefix(got, "kept") || strings.Contains(got, volume[4:]) {
		v.t.Errorf("in the copy's volume: %q", got)
	}
	_, err = v.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{copied}})
	must(v.t, err)
	_, err = v.ec2.DetachVolume(ctx, &ec2.DetachVolumeInput{VolumeId: &volume})
	must(v.t, err)
	v.untilVolume(volume, "available")
}

// checkImage creates an image of a running machine, which reboots, and launches an
// instance from it, which has its own name, keys and user data.
func (v *vpc) checkImage(id string) {
	ctx := v.t.Context()
	v.shell("one", "echo baked >/etc/baked; rm -rf /var/lib/cloud/instances /var/lib/cloud/instance; : >/etc/machine-id")
	image, err := v.ec2.CreateImage(ctx, &ec2.CreateImageInput{InstanceId: &id, Name: aws.String("baked")})
	must(v.t, err)
	v.untilState("one", "running")
	two := v.launch("two", *image.ImageId)
	if got := v.shell("two", "cat /etc/baked /etc/from-user-data; hostname"); got != "baked\nhellotwo" {
		v.t.Errorf("in the machine of the image: %q", got)
	}
	_, err = v.ec2.DeregisterImage(ctx, &ec2.DeregisterImageInput{ImageId: image.ImageId})
	must(v.t, err)
	if got := v.shell("two", "cat /etc/baked"); got != "baked" {
		v.t.Errorf("after its image was deregistered: %q", got)
	}
	_, err = v.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{two}})
	must(v.t, err)
	v.untilAPIState(two, "terminated")
}

// checkTerminate shuts an instance down from inside, which terminates it because of
// its shutdown behavior.
func (v *vpc) checkTerminate() {
	id := v.launch("brief", moto.BaseImageID, func(in *ec2.RunInstancesInput) {
		in.InstanceInitiatedShutdownBehavior = types.ShutdownBehaviorTerminate
	})
	v.shell("brief", "systemctl poweroff")
	v.untilAPIState(id, "terminated")
	v.until("the machine is gone", 30*time.Second, func() (bool, string) {
		i, there := v.instance("brief")
		return !there, fmt.Sprintf("%+v", i)
	})
}

// checkSourceDestination routes a CIDR block through an instance, which works only
// with its source/destination check disabled.
func (v *vpc) checkSourceDestination(router string) {
	ctx := v.t.Context()
	two := v.launch("two", moto.BaseImageID)
	all := []types.IpPermission{{IpProtocol: aws.String("-1"), IpRanges: []types.IpRange{{CidrIp: aws.String("10.0.0.0/8")}}}}
	_, err := v.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &v.group, IpPermissions: all})
	must(v.t, err)
	_, err = v.ec2.CreateRoute(ctx, &ec2.CreateRouteInput{RouteTableId: &v.table, DestinationCidrBlock: aws.String("10.99.0.0/16"), InstanceId: &router})
	must(v.t, err)
	v.shell("one", "ip address add 10.99.0.1/32 dev lo")
	reach := func() bool {
		return v.shell("two", "ping -c1 -W1 10.99.0.1 >/dev/null && echo yes || echo no") == "yes"
	}
	if reach() {
		v.t.Error("the route through an instance works although the source/destination check is on")
	}
	_, err = v.ec2.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: &router, SourceDestCheck: &types.AttributeBooleanValue{Value: aws.Bool(false)}})
	must(v.t, err)
	v.takesEffect("the route through the instance", reach)
	_, err = v.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{two}})
	must(v.t, err)
}
