package fixups_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
)

func TestAnInstanceIsPendingUntilTheHookSaysItRuns(t *testing.T) {
	var up atomic.Bool
	w := newWorld(t, fixups.Options{Running: func(string) bool { return up.Load() }})
	w.gateway()
	id, address := w.run("10.0.2.10"), w.allocate()
	volume, err := w.ec2.CreateVolume(ctx, &ec2.CreateVolumeInput{AvailabilityZone: aws.String(zone), Size: aws.Int32(5)})
	w.ok(err)
	if got := w.instances()[0].State.Name; got != "pending" {
		t.Errorf("state %s, want pending", got)
	}
	if got := w.instances(filter("instance-state-name", "running")); len(got) > 0 {
		t.Error("a pending instance passes a filter for running ones")
	}
	w.refused(w.associate(address, id), "InvalidInstanceID")
	attach := &ec2.AttachVolumeInput{InstanceId: &id, VolumeId: volume.VolumeId, Device: aws.String("/dev/xvdf")}
	_, err = w.ec2.AttachVolume(ctx, attach)
	w.refused(err, "IncorrectState")
	up.Store(true)
	if got := w.instances()[0].State.Name; got != "running" {
		t.Errorf("state %s, want running", got)
	}
	w.ok(w.associate(address, id))
	_, err = w.ec2.AttachVolume(ctx, attach)
	w.ok(err)
}

func TestWithoutAHookAnInstanceRunsAfterAWhile(t *testing.T) {
	w := newWorld(t, fixups.Options{PendingFor: 300 * time.Millisecond})
	start := time.Now()
	w.run("10.0.2.10")
	if got := w.instances()[0].State.Name; got != "pending" {
		t.Errorf("state %s at first, want pending", got)
	}
	w.eventually("running", func() bool { return w.instances()[0].State.Name == "running" })
	if took := time.Since(start); took < 300*time.Millisecond {
		t.Errorf("running after %s", took)
	}
}

func TestATerminatedInstanceFreesItsElasticIPAndIsForgottenInTheEnd(t *testing.T) {
	w := newWorld(t, fixups.Options{PendingFor: time.Nanosecond, TerminatedFor: 300 * time.Millisecond})
	w.gateway()
	id, address := w.run("10.0.2.10"), w.allocate()
	w.ok(w.associate(address, id))
	w.terminate(id)
	if got := w.instances()[0].State.Name; got != "terminated" {
		t.Errorf("state %s, want terminated", got)
	}
	_, err := w.ec2.ReleaseAddress(ctx, &ec2.ReleaseAddressInput{AllocationId: address})
	w.ok(err)
	w.eventually("the instance is no longer listed", func() bool { return len(w.instances()) == 0 })
}

func TestANewInstanceProfileIsUnknownToEC2ForAWhileAndAMissingOneForEver(t *testing.T) {
	w := newWorld(t, fixups.Options{ProfileDelay: 300 * time.Millisecond})
	_, err := w.iam.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: aws.String("p")})
	w.ok(err)
	in := w.input("10.0.2.10")
	in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: aws.String("p")}
	_, err = w.ec2.RunInstances(ctx, in)
	w.refused(err, "InvalidParameterValue")
	w.eventually("the profile is known", func() bool { _, err = w.ec2.RunInstances(ctx, in); return err == nil })
	in = w.input("10.0.2.11")
	in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: aws.String("nobody")}
	_, err = w.ec2.RunInstances(ctx, in)
	w.refused(err, "InvalidParameterValue")
}

func TestChangingTheShutdownBehaviourKeepsTheSecurityGroups(t *testing.T) {
	w := newWorld(t, fast)
	id := w.run("10.0.2.10")
	_, err := w.ec2.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: &id,
		InstanceInitiatedShutdownBehavior: &types.AttributeValue{Value: aws.String("terminate")}})
	w.ok(err)
	if got := w.instances()[0].SecurityGroups; len(got) != 1 {
		t.Errorf("groups: %+v", got)
	}
	out, err := w.ec2.DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{InstanceId: &id,
		Attribute: types.InstanceAttributeNameInstanceInitiatedShutdownBehavior})
	w.ok(err)
	if got := aws.ToString(out.InstanceInitiatedShutdownBehavior.Value); got != "terminate" {
		t.Errorf("behaviour %q", got)
	}
}

func TestChangingTheSecurityGroupsReplacesThem(t *testing.T) {
	w := newWorld(t, fast)
	id, other := w.run("10.0.2.10"), w.group("other")
	_, err := w.ec2.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: &id, Groups: []string{*other}})
	w.ok(err)
	if got := w.instances()[0].SecurityGroups; len(got) != 1 || *got[0].GroupId != *other {
		t.Errorf("groups: %+v, want %s alone", got, *other)
	}
}

func TestChangingOneMetadataOptionKeepsTheOthers(t *testing.T) {
	w := newWorld(t, fast)
	in := w.input("10.0.2.10")
	in.MetadataOptions = &types.InstanceMetadataOptionsRequest{HttpTokens: "required", HttpPutResponseHopLimit: aws.Int32(1), HttpEndpoint: "enabled"}
	out, err := w.ec2.RunInstances(ctx, in)
	w.ok(err)
	_, err = w.ec2.ModifyInstanceMetadataOptions(ctx, &ec2.ModifyInstanceMetadataOptionsInput{
		InstanceId: out.Instances[0].InstanceId, HttpPutResponseHopLimit: aws.Int32(2)})
	w.ok(err)
	got := w.instances()[0].MetadataOptions
	if got.HttpTokens != "required" || got.HttpEndpoint != "enabled" || aws.ToInt32(got.HttpPutResponseHopLimit) != 2 {
		t.Errorf("options: %+v", got)
	}
}
