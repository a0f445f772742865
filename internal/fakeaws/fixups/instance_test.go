package fixups_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
)

func TestInstanceIsPendingUntilRunningReportsTrue(t *testing.T) {
	var up atomic.Bool
	f := newFixture(t, fixups.Options{Running: func(string) bool { return up.Load() }})
	f.gateway()
	id, address := f.run("10.0.2.10"), f.allocate()
	volume, err := f.ec2.CreateVolume(ctx, &ec2.CreateVolumeInput{AvailabilityZone: aws.String(zone), Size: aws.Int32(5)})
	f.ok(err)
	if got := f.instances()[0].State.Name; got != "pending" {
		t.Errorf("state %s, want pending", got)
	}
	if got := f.instances(filter("instance-state-name", "running")); len(got) > 0 {
		t.Error("a pending instance passes a filter for running ones")
	}
	f.refused(f.associate(address, id), "InvalidInstanceID")
	attach := &ec2.AttachVolumeInput{InstanceId: &id, VolumeId: volume.VolumeId, Device: aws.String("/dev/xvdf")}
	_, err = f.ec2.AttachVolume(ctx, attach)
	f.refused(err, "IncorrectState")
	up.Store(true)
	if got := f.instances()[0].State.Name; got != "running" {
		t.Errorf("state %s, want running", got)
	}
	f.ok(f.associate(address, id))
	_, err = f.ec2.AttachVolume(ctx, attach)
	f.ok(err)
}

// A delay that must not end before an assertion is an hour, and one that must end
// is short, so that the speed of the machine does not matter.
const shortDelay = 300 * time.Millisecond

func TestInstanceIsPendingForAWhileWithoutRunning(t *testing.T) {
	f := newFixture(t, fixups.Options{PendingFor: time.Hour})
	f.run("10.0.2.10")
	if got := f.instances()[0].State.Name; got != "pending" {
		t.Errorf("state %s, want pending", got)
	}
	f = newFront(t, f, fixups.Options{PendingFor: shortDelay})
	start := time.Now()
	id := f.run("10.0.2.11")
	f.eventually("running", func() bool { return f.instances(filter("instance-id", id))[0].State.Name == "running" })
	if took := time.Since(start); took < shortDelay {
		t.Errorf("running after %s", took)
	}
}

func TestTerminatedInstanceReleasesItsElasticIPAndDisappears(t *testing.T) {
	f := newFixture(t, fixups.Options{PendingFor: time.Nanosecond, TerminatedFor: time.Hour})
	f.gateway()
	id, address := f.run("10.0.2.10"), f.allocate()
	f.ok(f.associate(address, id))
	f.terminate(id)
	if got := f.instances()[0].State.Name; got != "terminated" {
		t.Errorf("state %s, want terminated", got)
	}
	_, err := f.ec2.ReleaseAddress(ctx, &ec2.ReleaseAddressInput{AllocationId: address})
	f.ok(err)
	f = newFront(t, f, fixups.Options{PendingFor: time.Nanosecond, TerminatedFor: shortDelay})
	id = f.run("10.0.2.11")
	f.terminate(id)
	f.eventually("the instance is no longer listed", func() bool { return len(f.instances(filter("instance-id", id))) == 0 })
}

func TestNewInstanceProfileIsUnknownToEC2ForAWhileAndThenWithoutItsRole(t *testing.T) {
	const unknown, noRole = "Invalid IAM Instance Profile name", "has no associated IAM Roles"
	f := newFixture(t, fixups.Options{ProfileDelay: time.Hour})
	launch := func(profile string) error {
		in := f.input("10.0.2.10")
		in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: &profile}
		_, err := f.ec2.RunInstances(ctx, in)
		return err
	}
	refused := func(err error, text string) bool {
		t.Helper()
		f.refused(err, "InvalidParameterValue")
		return err != nil && strings.Contains(err.Error(), text)
	}
	create := func(profile string) {
		_, err := f.iam.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: &profile})
		f.ok(err)
	}
	create("new")
	for _, profile := range []string{"new", "missing"} {
		if err := launch(profile); !refused(err, unknown) {
			t.Errorf("%s: %v", profile, err)
		}
	}
	f = newFront(t, f, fixups.Options{ProfileDelay: shortDelay})
	create("second")
	f.eventually("the profile is known, without a role", func() bool { return refused(launch("second"), noRole) })
	_, err := f.iam.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("app"), AssumeRolePolicyDocument: aws.String("{}")})
	f.ok(err)
	_, err = f.iam.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: aws.String("second"), RoleName: aws.String("app")})
	f.ok(err)
	if err := launch("second"); !refused(err, noRole) {
		t.Errorf("right after the role was added: %v", err)
	}
	f.eventually("the role is known", func() bool { return launch("second") == nil })
	id := f.instances()[0].InstanceId
	create("third")
	associate := &ec2.AssociateIamInstanceProfileInput{InstanceId: id, IamInstanceProfile: &types.IamInstanceProfileSpecification{Name: aws.String("third")}}
	if _, err := f.ec2.AssociateIamInstanceProfile(ctx, associate); !refused(err, unknown) {
		t.Errorf("association: %v", err)
	}
}

func TestChangeOfShutdownBehaviourKeepsTheSecurityGroups(t *testing.T) {
	f := newFixture(t, fast)
	id := f.run("10.0.2.10")
	_, err := f.ec2.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: &id,
		InstanceInitiatedShutdownBehavior: &types.AttributeValue{Value: aws.String("terminate")}})
	f.ok(err)
	if got := f.instances()[0].SecurityGroups; len(got) != 1 {
		t.Errorf("groups: %+v", got)
	}
	out, err := f.ec2.DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{InstanceId: &id,
		Attribute: types.InstanceAttributeNameInstanceInitiatedShutdownBehavior})
	f.ok(err)
	if got := aws.ToString(out.InstanceInitiatedShutdownBehavior.Value); got != "terminate" {
		t.Errorf("behaviour %q", got)
	}
}

func TestChangeOfSecurityGroupsReplacesThem(t *testing.T) {
	f := newFixture(t, fast)
	id, other := f.run("10.0.2.10"), f.group("other")
	_, err := f.ec2.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: &id, Groups: []string{*other}})
	f.ok(err)
	if got := f.instances()[0].SecurityGroups; len(got) != 1 || *got[0].GroupId != *other {
		t.Errorf("groups: %+v, want %s alone", got, *other)
	}
}

func TestChangeOfAMetadataOptionKeepsTheOthers(t *testing.T) {
	f := newFixture(t, fast)
	in := f.input("10.0.2.10")
	in.MetadataOptions = &types.InstanceMetadataOptionsRequest{HttpTokens: "required", HttpPutResponseHopLimit: aws.Int32(1), HttpEndpoint: "enabled"}
	out, err := f.ec2.RunInstances(ctx, in)
	f.ok(err)
	_, err = f.ec2.ModifyInstanceMetadataOptions(ctx, &ec2.ModifyInstanceMetadataOptionsInput{
		InstanceId: out.Instances[0].InstanceId, HttpPutResponseHopLimit: aws.Int32(2)})
	f.ok(err)
	got := f.instances()[0].MetadataOptions
	if got.HttpTokens != "required" || got.HttpEndpoint != "enabled" || aws.ToInt32(got.HttpPutResponseHopLimit) != 2 {
		t.Errorf("options: %+v", got)
	}
}
