package ebs

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/inventory"
	"github.com/xeroops/xeroops/packer-plugin/internal/packertest"
)

// refusedEarly runs a build that fails with the text before it creates anything.
func (f *fixture) refusedEarly(want string, config map[string]any) {
	f.t.Helper()
	f.Front.ClearCalls()
	if _, err := f.build(f.t.Context(), config); err == nil || !strings.Contains(err.Error(), want) {
		f.t.Errorf("got %v, want %q", err, want)
	}
	for _, c := range f.Front.Calls() {
		if c.Mutation > 0 {
			f.t.Errorf("called %s", c.Action)
		}
	}
}

func TestAnInstanceProfileThatCannotBeUsedFailsBeforeAnythingIsCreated(t *testing.T) {
	f := newFixture(t)
	f.more = map[string]any{"iam_instance_profile": "build", "skip_create_ami": true}
	f.refusedEarly(`no instance profile "build"`, nil)
	client := iam.NewFromConfig(inventory.Config(f.Front.URL, region))
	if _, err := client.CreateInstanceProfile(t.Context(), &iam.CreateInstanceProfileInput{InstanceProfileName: aws.String("build")}); err != nil {
		t.Fatal(err)
	}
	f.refusedEarly("has no role", nil)
}

// TestWhatMayNotBeReadIsNotChecked ends its builds at the launch.
func TestWhatMayNotBeReadIsNotChecked(t *testing.T) {
	f := newFixture(t)
	f.more = map[string]any{"iam_instance_profile": "build", "ami_users": []string{"111122223333"}, "encrypt_boot": false}
	if _, err := f.EC2[region].EnableEbsEncryptionByDefault(t.Context(), &ec2.EnableEbsEncryptionByDefaultInput{}); err != nil {
		t.Fatal(err)
	}
	for action, code := range map[string]string{"GetEbsEncryptionByDefault": "UnauthorizedOperation", "GetEbsDefaultKmsKeyId": "UnauthorizedOperation"} {
		f.Front.ClearFaults()
		for _, fault := range []fakeaws.Fault{
			{Action: "GetInstanceProfile", Effect: fakeaws.Fail, Code: "AccessDenied"}, {Action: action, Effect: fakeaws.Fail, Code: code},
			{Action: "RunInstances", Effect: fakeaws.Fail, Code: "InjectedFault"},
		} {
			fault.Message = "by the test"
			if err := f.Front.Inject(fault); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := f.build(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "launch the instance") {
			t.Errorf("%s: got %v, want the error of the launch", action, err)
		}
	}
}

func TestSharingIsRefusedIfTheAccountEncryptsWithAWSsKey(t *testing.T) {
	f := newFixture(t)
	if _, err := f.EC2[otherRegion].EnableEbsEncryptionByDefault(t.Context(), &ec2.EnableEbsEncryptionByDefaultInput{}); err != nil {
		t.Fatal(err)
	}
	f.refusedEarly("in eu-central-1: ami_users and ami_org_arns: the account encrypts all new volumes", widest)
}

func TestAProtectedImageIsNotReplaced(t *testing.T) {
	former := types.Image{ImageId: aws.String("ami-1"), DeregistrationProtection: aws.String("enabled-with-cooldown")}
	if err := replaceable("app-1", region, former, true); err == nil || !strings.Contains(err.Error(), "disable-image-deregistration-protection --image-id ami-1 --region eu-west-1") {
		t.Errorf("got %v", err)
	}
	former.DeregistrationProtection = aws.String("disabled")
	if err := replaceable("app-1", region, former, true); err != nil {
		t.Error(err)
	}
}

func TestForceReplacesTheFormerImageAndKeepsItsSnapshots(t *testing.T) {
	f := newFixture(t)
	if _, err := f.build(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	former := f.Image(region, "app-1")
	artifact, err := f.build(t.Context(), map[string]any{"packer_force": true})
	if err != nil {
		t.Fatalf("%v\n%s", err, f.output)
	}
	now := f.Image(region, "app-1")
	if *now.ImageId == *former.ImageId {
		t.Error("the former image is still there")
	}
	if _, err := f.EC2[region].DescribeSnapshots(t.Context(), &ec2.DescribeSnapshotsInput{SnapshotIds: snapshotsOf(former)}); err != nil {
		t.Errorf("the former image's snapshots: %v", err)
	}
	if err := artifact.Destroy(); err == nil || !strings.Contains(err.Error(), "kept "+*now.ImageId) { // as Packer does if a post-processor fails
		t.Errorf("the only image of that name was destroyed: %v", err)
	}
	f.Image(region, "app-1")
}

func TestCleanupGivesUpWhenCredentialsHaveExpired(t *testing.T) {
	f := newFixture(t)
	if err := f.Front.Inject(fakeaws.Fault{Action: "TerminateInstances", Effect: fakeaws.Fail, Code: "RequestExpired", Message: "Request has expired.", Times: -1}); err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	_, _ = f.build(t.Context(), map[string]any{"skip_create_ami": true, "security_group_ids": f.groups()})
	if waited := time.Since(started); waited > time.Minute {
		t.Errorf("cleanup took %s", waited)
	}
	if !strings.Contains(f.output, "RequestExpired") || !strings.Contains(f.output, "by hand") {
		t.Errorf("the output does not name the cause:\n%s", f.output)
	}
}

// groups returns the ids of the default VPC's security groups.
func (f *fixture) groups() (ids []string) {
	f.t.Helper()
	out, err := f.EC2[packertest.Region].DescribeSecurityGroups(f.t.Context(), &ec2.DescribeSecurityGroupsInput{})
	if err != nil {
		f.t.Fatal(err)
	}
	for _, g := range out.SecurityGroups {
		ids = append(ids, aws.ToString(g.GroupId))
	}
	return ids
}
