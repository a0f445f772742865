package ebs

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"golang.org/x/crypto/ssh"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/packer-plugin/internal/packertest"
	"github.com/xeroops/xeroops/packer-plugin/internal/sshmachine"
)

func TestAnotherZoneIsTriedWhenOneHasNoCapacity(t *testing.T) {
	f := newFixture(t)
	if err := f.Front.Inject(fakeaws.Fault{Action: "RunInstances", Effect: fakeaws.Fail, Code: "InsufficientInstanceCapacity", Message: "no room"}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.build(t.Context(), nil); err != nil {
		t.Fatalf("%v\n%s", err, f.output)
	}
	if !strings.Contains(f.output, "No capacity for t3.small in eu-west-1") {
		t.Errorf("the output does not say so:\n%s", f.output)
	}
}

func TestANewInstanceProfileIsWaitedFor(t *testing.T) {
	f := newFixture(t)
	for _, text := range []string{"Value (new) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
		`IAM Instance Profile "arn:aws:iam::123456789012:instance-profile/new" has no associated IAM Roles`} {
		if err := f.Front.Inject(fakeaws.Fault{Action: "RunInstances", Effect: fakeaws.Fail, Code: "InvalidParameterValue", Message: text}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.build(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}

func TestAFullRegionIsReportedWithEveryZone(t *testing.T) {
	f := newFixture(t)
	before := f.Holdings()
	if err := f.Front.Inject(fakeaws.Fault{Action: "RunInstances", Effect: fakeaws.Fail, Code: "InsufficientInstanceCapacity", Message: "no room", Times: -1}); err != nil {
		t.Fatal(err)
	}
	_, err := f.build(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "eu-west-1a") || !strings.Contains(err.Error(), "eu-west-1b") {
		t.Errorf("got %v, want both zones", err)
	}
	if diff := packertest.Difference(before, f.Holdings()); diff != "" {
		t.Error(diff)
	}
}

func TestAMachineWithAnotherHostKeyIsRejected(t *testing.T) {
	f := newFixture(t)
	_, other, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromSigner(other)
	if err != nil {
		t.Fatal(err)
	}
	impostor, err := sshmachine.Start(func() (ssh.Signer, error) { return signer, nil }, f.Run)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(impostor.Close)
	before, started := f.Holdings(), time.Now()
	_, err = f.build(t.Context(), map[string]any{"ssh_port": impostor.Port(), "ssh_timeout": "10m"})
	if !errors.Is(err, errHostKeyMismatch) {
		t.Errorf("got %v, want errHostKeyMismatch", err)
	}
	if len(f.Ran()) > 0 {
		t.Errorf("it ran %v", f.Ran())
	}
	if waited := time.Since(started); waited > 5*time.Minute {
		t.Errorf("the build took %s to fail; ssh_timeout is 10m", waited)
	}
	if diff := packertest.Difference(before, f.Holdings()); diff != "" {
		t.Error(diff)
	}
}

func TestAnUnreachableMachineIsReportedAndRemoved(t *testing.T) {
	f := newFixture(t)
	before := f.Holdings()
	_, err := f.build(t.Context(), map[string]any{"ssh_port": 1, "ssh_timeout": "1s"})
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("got %v, want the address that refuses", err)
	}
	if diff := packertest.Difference(before, f.Holdings()); diff != "" {
		t.Error(diff)
	}
}

func TestATakenNameFailsBeforeAnythingIsCreated(t *testing.T) {
	f := newFixture(t)
	if _, err := f.build(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	f.Front.ClearCalls()
	_, err := f.build(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "force_deregister") {
		t.Errorf("got %v, want an error that names force_deregister", err)
	}
	for _, c := range f.Front.Calls() {
		if c.Mutation > 0 {
			t.Errorf("called %s", c.Action)
		}
	}
}

func TestForceDeregisterRemovesTheFormerImageOnlyWhenTheNewOneIsAvailable(t *testing.T) {
	f := newFixture(t)
	if _, err := f.build(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	former := f.Image(region, "app-1")
	var present bool
	err := f.Front.Inject(fakeaws.Fault{Action: "DeregisterImage", Effect: fakeaws.Observe, After: func(*fakeaws.Call) {
		for _, i := range f.Images(region) {
			present = present || strings.HasPrefix(aws.ToString(i.Name), "app-1-") && i.State == "available"
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	artifact, err := f.build(t.Context(), map[string]any{"force_deregister": true, "force_delete_snapshot": true})
	if err != nil {
		t.Fatalf("%v\n%s", err, f.output)
	}
	if !present {
		t.Error("the former image was deregistered before the new one was available")
	}
	now := f.Image(region, "app-1")
	if *now.ImageId == *former.ImageId || !strings.Contains(artifact.Id(), *now.ImageId) {
		t.Errorf("the image is %s, it was %s, the artifact is %s", *now.ImageId, *former.ImageId, artifact.Id())
	}
	for _, i := range f.Images(region) {
		if strings.HasPrefix(aws.ToString(i.Name), "app-1-") {
			t.Errorf("%s is still there", *i.Name)
		}
	}
	out, err := f.EC2[region].DescribeSnapshots(t.Context(), &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range out.Snapshots {
		if *s.SnapshotId == snapshotsOf(former)[0] {
			t.Error("the former image's snapshot is still there")
		}
	}
}

func TestTheFormerImageStaysWhenTheNewOneFails(t *testing.T) {
	f := newFixture(t)
	if _, err := f.build(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	before := f.Holdings()
	if err := f.Front.Inject(fakeaws.Fault{Action: "CreateImage", Effect: fakeaws.Fail, Code: "InjectedFault", Message: "by the test"}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.build(t.Context(), map[string]any{"force_deregister": true}); err == nil {
		t.Fatal("the build succeeded")
	}
	if diff := packertest.Difference(before, f.Holdings()); diff != "" {
		t.Error(diff)
	}
}

func TestSkipCreateAMIProvisionsAndLeavesNothing(t *testing.T) {
	f := newFixture(t)
	before := f.Holdings()
	artifact, err := f.build(t.Context(), map[string]any{"skip_create_ami": true, "ami_name": ""})
	if err != nil || artifact != nil {
		t.Fatalf("got %v, %v", artifact, err)
	}
	if diff := packertest.Difference(before, f.Holdings()); diff != "" {
		t.Error(diff)
	}
}

func TestCopiesAreSharedAndDeprecatedInEveryRegion(t *testing.T) {
	f := newFixture(t)
	artifact, err := f.build(t.Context(), widest)
	if err != nil {
		t.Fatalf("%v\n%s", err, f.output)
	}
	for _, region := range []string{region, otherRegion} {
		image := f.Image(region, "app-1")
		if !strings.Contains(artifact.Id(), region+":"+*image.ImageId) {
			t.Errorf("artifact %s does not have %s", artifact.Id(), *image.ImageId)
		}
		out, err := f.EC2[region].DescribeImageAttribute(t.Context(), &ec2.DescribeImageAttributeInput{ImageId: image.ImageId, Attribute: "launchPermission"})
		if err != nil || len(out.LaunchPermissions) != 1 || aws.ToString(out.LaunchPermissions[0].UserId) != "111122223333" {
			t.Errorf("%s: launch permissions are %+v, %v", region, out, err)
		}
	}
	regions := map[string]map[string]bool{"EnableImageDeprecation": {}, "ModifySnapshotAttribute": {}} // moto keeps neither
	for _, c := range f.Front.Calls() {
		if called := regions[c.Action]; called != nil {
			called[c.Region] = true
		}
	}
	for action, called := range regions {
		if len(called) != 2 {
			t.Errorf("%s was called in %v", action, called)
		}
	}
}

func TestInvalidConfigurationIsRejectedBeforeTheBuild(t *testing.T) {
	base := func() map[string]any {
		return map[string]any{"ami_name": "app-1", "temporary_security_group_source_cidrs": []string{"192.0.2.0/24"}}
	}
	for want, change := range map[string]map[string]any{
		"checkip.amazonaws.com":     {"temporary_security_group_source_cidrs": []string{}},
		"is not a network":          {"temporary_security_group_source_cidrs": []string{"192.0.2.7/24"}},
		"needs owners":              {"source_ami_filter": map[string]any{"filters": map[string]string{"name": "debian-*"}}},
		"source_ami and source_ami": {"source_ami": "ami-1", "source_ami_filter": map[string]any{"owners": []string{"self"}, "filters": map[string]string{"name": "x"}}},
		"subnet_id and subnet_":     {"subnet_id": "subnet-1", "subnet_filter": map[string]any{"filters": map[string]string{"tag:a": "b"}}},
		"3 to 128":                  {"ami_name": "a"},
		"deprecate_at":              {"deprecate_at": "2001-01-01T00:00:00Z"},
		"can't be shared":           {"ami_users": []string{"111122223333"}},
		"force_delete_snapshot":     {"force_delete_snapshot": true},
		"region_kms_key_ids":        {"region_kms_key_ids": map[string]string{"us-east-1": "key"}},
		"use ssh":                   {"communicator": "winrm", "winrm_username": "x"},
		"public_ip or private_ip":   {"ssh_interface": "dns"},
		"x86_64 or arm64":           {"architecture": "riscv"},
		"assume_role needs":         {"assume_role": map[string]any{"external_id": "x"}},
	} {
		config := base()
		for key, value := range change {
			config[key] = value
		}
		var b Builder
		if _, _, err := b.Prepare(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q", change, err, want)
		}
	}
	config := base()
	config["temporary_security_group_source_cidrs"] = []string{"0.0.0.0/0"}
	var b Builder
	if _, warnings, err := b.Prepare(config); err != nil || len(warnings) != 1 {
		t.Errorf("0.0.0.0/0: got %v, %v, want a warning", warnings, err)
	}
}

func TestTheDefaultSourceImageIsRefusedWhereDebianPublishesNone(t *testing.T) {
	f := newFixture(t)
	for _, elsewhere := range []string{"cn-north-1", "us-gov-west-1"} {
		_, err := f.build(t.Context(), map[string]any{"region": elsewhere})
		if err == nil || !strings.Contains(err.Error(), "set source_ami, or source_ami_filter with the owners") {
			t.Errorf("a build in %s: %v", elsewhere, err)
		}
	}
}
