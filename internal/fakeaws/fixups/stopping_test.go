package fixups_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
)

func TestInstanceIsStoppingForAWhileAndChangesItsTypeOnlyWhenStopped(t *testing.T) {
	f := newFixture(t, fixups.Options{PendingFor: time.Nanosecond, StoppingFor: time.Hour})
	id := f.run("10.0.2.10")
	change := func() error {
		_, err := f.ec2.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: &id, InstanceType: &types.AttributeValue{Value: aws.String("t3.large")}})
		return err
	}
	stop := func() {
		_, err := f.ec2.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: []string{id}})
		f.ok(err)
	}
	f.refused(change(), "IncorrectInstanceState")
	stop()
	if got := f.instances()[0].State.Name; got != "stopping" {
		t.Errorf("state %s, want stopping", got)
	}
	f.refused(change(), "IncorrectInstanceState")
	_, err := f.ec2.StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: []string{id}})
	f.refused(err, "IncorrectInstanceState")
	f = newFront(t, f, fixups.Options{PendingFor: time.Nanosecond, StoppingFor: shortDelay})
	stop()
	f.eventually("stopped", func() bool { return f.instances()[0].State.Name == "stopped" })
	f.ok(change())
}

func TestDeviceOfADetachedVolumeStaysInUseForAWhile(t *testing.T) {
	f := newFixture(t, fixups.Options{PendingFor: time.Nanosecond, StoppingFor: time.Hour})
	id := f.run("10.0.2.10")
	var volumes []*string
	for range 2 {
		v, err := f.ec2.CreateVolume(ctx, &ec2.CreateVolumeInput{AvailabilityZone: aws.String(zone), Size: aws.Int32(5)})
		f.ok(err)
		volumes = append(volumes, v.VolumeId)
	}
	attach := func(n int) error {
		_, err := f.ec2.AttachVolume(ctx, &ec2.AttachVolumeInput{InstanceId: &id, VolumeId: volumes[n], Device: aws.String("/dev/sdf")})
		return err
	}
	f.ok(attach(0))
	f.refused(attach(1), "InvalidParameterValue")
	_, err := f.ec2.DetachVolume(ctx, &ec2.DetachVolumeInput{VolumeId: volumes[0]})
	f.ok(err)
	f.refused(attach(1), "InvalidParameterValue")
	f = newFront(t, f, fixups.Options{PendingFor: time.Nanosecond, StoppingFor: shortDelay})
	f.ok(attach(1))
	_, err = f.ec2.DetachVolume(ctx, &ec2.DetachVolumeInput{VolumeId: volumes[1]})
	f.ok(err)
	f.eventually("the device is free", func() bool { return attach(0) == nil })
}
