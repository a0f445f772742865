package storage_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/provider/internal/acctest"
)

func volumeConfig(sizeGiB int, extra string) string {
	return fmt.Sprintf(`
resource "xeroops_volume" "db1" {
  name              = "db1-data"
  availability_zone = "eu-west-1a"
  size_gib          = %d
  final_snapshot    = false
  %s
}
`, sizeGiB, extra)
}

var keepLast = func(config string) string { return strings.Replace(config, "final_snapshot    = false", "", 1) }

func (a account) volume(ctx context.Context, id string) (ec2types.Volume, error) {
	out, err := a.EC2.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{VolumeIds: []string{id}})
	if err != nil {
		return ec2types.Volume{}, err
	}
	return out.Volumes[0], nil
}

// volumeIs returns a check of size, IOPS and throughput.
func (a account) volumeIs(sizeGiB, iops, throughput int32) resource.TestCheckFunc {
	return acctest.Do(volume, func(ctx context.Context, id string) error {
		v, err := a.volume(ctx, id)
		if err == nil && (*v.Size != sizeGiB || *v.Iops != iops || *v.Throughput != throughput || v.VolumeType != ec2types.VolumeTypeGp3 || !*v.Encrypted) {
			err = fmt.Errorf("the volume is %d GiB, %d IOPS, %d MiB/s, %s, encrypted: %v", *v.Size, *v.Iops, *v.Throughput, v.VolumeType, *v.Encrypted)
		}
		return err
	})
}

func TestVolumeIsCreatedImportedUpdatedAndDestroyed(t *testing.T) {
	a := newAccount(t)
	update := expect(volume, plancheck.ResourceActionUpdate)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{
			Config: volumeConfig(20, ""),
			Check: resource.ComposeAggregateTestCheckFunc(a.volumeIs(20, 3000, 125),
				resource.TestMatchResourceAttr(volume, "arn", matching(`^arn:aws:ec2:eu-west-1:123456789012:volume/vol-`)),
				resource.TestMatchResourceAttr(volume, "kms_key_id", matching(`^arn:aws:kms:`)),
				resource.TestCheckNoResourceAttr(volume, "snapshot_id")),
		},
		{ResourceName: volume, ImportState: true, ImportStateVerify: true, ImportStateVerifyIgnore: []string{"final_snapshot"}},
		{Config: volumeConfig(30, "iops = 6000\n throughput_mibps = 500"), ConfigPlanChecks: update, Check: a.volumeIs(30, 6000, 500)},
		{Config: volumeConfig(30, `tags = { team = "core" }`), ConfigPlanChecks: update, Check: a.volumeIs(30, 3000, 125)},
		{Config: strings.Replace(volumeConfig(20, ""), "eu-west-1a", "eu-west-1b", 1), ConfigPlanChecks: expect(volume, plancheck.ResourceActionReplace)},
	}})
}

func TestVolumeChangesItsTypeInPlace(t *testing.T) {
	a := newAccount(t)
	update := expect(volume, plancheck.ResourceActionUpdate)
	io2 := func(sizeGiB int, iops int32) resource.TestCheckFunc {
		return acctest.Do(volume, func(ctx context.Context, id string) error {
			v, err := a.volume(ctx, id)
			if err == nil && (*v.Size != int32(sizeGiB) || *v.Iops != iops || v.VolumeType != ec2types.VolumeTypeIo2 || id != *a.id(volume)) {
				err = fmt.Errorf("%s is %d GiB, %d IOPS, %s", id, *v.Size, *v.Iops, v.VolumeType)
			}
			return err
		})
	}
	fast := "type = \"io2\"\n iops = %d"
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: volumeConfig(20, ""), Check: a.note(volume)},
		{Config: volumeConfig(20, fmt.Sprintf(fast, 5000)), ConfigPlanChecks: update, Check: resource.ComposeTestCheckFunc(io2(20, 5000), resource.TestCheckNoResourceAttr(volume, "throughput_mibps"))},
		{ResourceName: volume, ImportState: true, ImportStateVerify: true, ImportStateVerifyIgnore: []string{"final_snapshot"}},
		{Config: volumeConfig(30, fmt.Sprintf(fast, 30000)), ConfigPlanChecks: update, Check: io2(30, 30000)},
		{Config: volumeConfig(30, ""), ConfigPlanChecks: update, Check: a.volumeIs(30, 3000, 125)},
	}})
}

func TestVolumeIsCreatedAsIo2(t *testing.T) {
	a := newAccount(t)
	a.Test(resource.TestCase{Steps: []resource.TestStep{{
		Config: volumeConfig(4, "type = \"io2\"\n iops = 4000"),
		Check: resource.ComposeTestCheckFunc(resource.TestCheckResourceAttr(volume, "iops", "4000"), resource.TestCheckResourceAttr(volume, "type", "io2"),
			resource.TestCheckNoResourceAttr(volume, "throughput_mibps")),
	}}})
}

func TestVolumeIsImportedByIdentity(t *testing.T) {
	a := newAccount(t)
	a.Test(resource.TestCase{Steps: []resource.TestStep{{
		Config: volumeConfig(1, ""),
		Check: acctest.Do(volume, func(ctx context.Context, id string) error {
			return acctest.ImportsByIdentity(ctx, "xeroops_volume", id)
		}),
	}}})
}

func TestVolumeDriftIsShownAndReverted(t *testing.T) {
	a := newAccount(t)
	modify := func(in ec2.ModifyVolumeInput) func() {
		return a.behindTerraform(func(ctx context.Context) error {
			in.VolumeId = a.id(volume)
			_, err := a.EC2.ModifyVolume(ctx, &in)
			return err
		})
	}
	steps := []resource.TestStep{
		{Config: volumeConfig(20, ""), Check: a.note(volume)},
		{PreConfig: modify(ec2.ModifyVolumeInput{Iops: aws.Int32(9000)}), Config: volumeConfig(20, ""),
			ConfigPlanChecks: expect(volume, plancheck.ResourceActionUpdate), Check: a.volumeIs(20, 3000, 125)},
	}
	steps = append(steps,
		resource.TestStep{PreConfig: modify(ec2.ModifyVolumeInput{VolumeType: ec2types.VolumeTypeIo2, Iops: aws.Int32(3000)}), Config: volumeConfig(20, ""),
			ConfigPlanChecks: expect(volume, plancheck.ResourceActionUpdate), Check: a.volumeIs(20, 3000, 125)},
		resource.TestStep{PreConfig: modify(ec2.ModifyVolumeInput{Size: aws.Int32(40)}), Config: volumeConfig(20, ""), PlanOnly: true,
			ExpectError: matching(`vol-\w+ has 40 GiB, and EBS cannot shrink a volume; set size_gib to 40 or more`)},
		resource.TestStep{Config: volumeConfig(40, ""), ConfigPlanChecks: expect(volume, plancheck.ResourceActionNoop)})
	a.Test(resource.TestCase{Steps: steps})
}

func TestVolumeThatDisappearedIsRecreated(t *testing.T) {
	a := newAccount(t)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: volumeConfig(20, ""), Check: a.note(volume)},
		{
			PreConfig: a.behindTerraform(func(ctx context.Context) error {
				_, err := a.EC2.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: a.id(volume)})
				return err
			}),
			Config: volumeConfig(20, ""), ConfigPlanChecks: expect(volume, plancheck.ResourceActionCreate),
		},
	}})
}

func (a account) leaveVolume(sizeGiB int32) *string {
	a.t.Helper()
	name, by := "db1-data", "terraform"
	made, err := a.EC2.CreateVolume(a.t.Context(), &ec2.CreateVolumeInput{Size: &sizeGiB, AvailabilityZone: aws.String("eu-west-1a"), VolumeType: ec2types.VolumeTypeGp3, Encrypted: aws.Bool(true),
		TagSpecifications: []ec2types.TagSpecification{{ResourceType: ec2types.ResourceTypeVolume, Tags: []ec2types.Tag{
			{Key: aws.String("xeroops:name"), Value: &name}, {Key: aws.String("xeroops:managed-by"), Value: &by},
			{Key: aws.String("xeroops:claim"), Value: aws.String("open::left")}}}}})
	if err != nil {
		a.t.Fatal(err)
	}
	return made.VolumeId
}

func TestVolumeLeftByAnInterruptedApplyIsAdopted(t *testing.T) {
	a := newAccount(t)
	left := a.leaveVolume(10)
	a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: volumeConfig(20, ""),
		Check: resource.ComposeTestCheckFunc(a.volumeIs(20, 3000, 125), resource.TestCheckResourceAttr(volume, "id", *left))}}})
}

func TestVolumeWithAUsedNameIsRejected(t *testing.T) {
	a := newAccount(t)
	a.leaveVolume(50)
	a.KeepBaseline()
	a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: volumeConfig(20, ""), ExpectError: matching(`"db1-data" already exists: vol-\w+ \(50 GiB\)`)}}})
}

// snapshots returns all final snapshots.
func (a account) snapshots(ctx context.Context) ([]ec2types.Snapshot, error) {
	out, err := a.EC2.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"},
		Filters: []ec2types.Filter{{Name: aws.String("tag:xeroops:name"), Values: []string{"db1-data"}}}})
	if err != nil {
		return nil, err
	}
	return out.Snapshots, nil
}

// leftSnapshots returns a check that destroy left this number of snapshots and
// nothing else.
func (a account) leftSnapshots(want int) resource.TestCheckFunc {
	return func(s *terraform.State) error {
		found, err := a.snapshots(context.Background())
		if err != nil || len(found) != want {
			return errors.Join(err, fmt.Errorf("%d final snapshots, want %d", len(found), want))
		}
		for _, snapshot := range found {
			if _, err := a.EC2.DeleteSnapshot(context.Background(), &ec2.DeleteSnapshotInput{SnapshotId: snapshot.SnapshotId}); err != nil {
				return err
			}
		}
		return a.CheckDestroy(s)
	}
}

func TestDestroyLeavesAFinalSnapshotToStartFrom(t *testing.T) {
	a := newAccount(t)
	kept := keepLast(volumeConfig(20, ""))
	var snapshot string
	a.Test(resource.TestCase{
		Steps: []resource.TestStep{
			{Config: kept},
			{Config: " ", Check: acctest.Check(func(ctx context.Context) error {
				found, err := a.snapshots(ctx)
				if err == nil && len(found) == 1 {
					snapshot = *found[0].SnapshotId
				}
				return err
			})},
			{
				// The id becomes known here, so the configuration reads it from a
				// variable.
				PreConfig:       func() { a.t.Setenv("TF_VAR_from", snapshot) },
				Config:          `variable "from" { type = string }` + volumeConfig(20, "snapshot_id = var.from"),
				ConfigVariables: nil,
				Check: acctest.Do(volume, func(ctx context.Context, id string) error {
					v, err := a.volume(ctx, id)
					if err == nil && aws.ToString(v.SnapshotId) != snapshot {
						err = fmt.Errorf("made from %q, want %q", aws.ToString(v.SnapshotId), snapshot)
					}
					return err
				}),
			},
		},
		CheckDestroy: a.leftSnapshots(1),
	})
}

func TestRepeatedDestroyCreatesOneFinalSnapshot(t *testing.T) {
	a := newAccount(t)
	kept := keepLast(volumeConfig(20, ""))
	a.Test(resource.TestCase{
		Steps: []resource.TestStep{
			{Config: kept},
			{
				PreConfig: func() {
					if err := a.Front.Inject(fakeaws.Fault{Action: "DeleteVolume", Effect: fakeaws.Fail, Code: "UnauthorizedOperation", Message: "not today"}); err != nil {
						t.Fatal(err)
					}
				},
				Config: kept, Destroy: true, ExpectError: matching(`UnauthorizedOperation`),
			},
			{Config: kept, Destroy: true},
		},
		CheckDestroy: a.leftSnapshots(1),
	})
}

// attach attaches the volume to a new instance, and returns the instance's id.
func (a account) attach(ctx context.Context) (string, error) {
	images, err := a.EC2.DescribeImages(ctx, &ec2.DescribeImagesInput{})
	if err != nil {
		return "", err
	}
	run, err := a.EC2.RunInstances(ctx, &ec2.RunInstancesInput{ImageId: images.Images[0].ImageId, InstanceType: ec2types.InstanceTypeT3Small,
		MinCount: aws.Int32(1), MaxCount: aws.Int32(1), Placement: &ec2types.Placement{AvailabilityZone: aws.String("eu-west-1a")}})
	if err != nil {
		return "", err
	}
	instance := run.Instances[0].InstanceId
	if err := ec2.NewInstanceRunningWaiter(a.EC2, func(o *ec2.InstanceRunningWaiterOptions) { o.MinDelay = 1e8 }).Wait(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{*instance}}, 1e10); err != nil {
		return "", err
	}
	_, err = a.EC2.AttachVolume(ctx, &ec2.AttachVolumeInput{VolumeId: a.id(volume), InstanceId: instance, Device: aws.String("/dev/xvdf")})
	return *instance, err
}

func (a account) detach(ctx context.Context, instance string) error {
	_, detach := a.EC2.DetachVolume(ctx, &ec2.DetachVolumeInput{VolumeId: a.id(volume), InstanceId: &instance})
	_, terminate := a.EC2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{instance}})
	return errors.Join(detach, terminate)
}

func TestSnapshotBeforeTheLastAttachmentIsNotFinal(t *testing.T) {
	a := newAccount(t)
	kept := keepLast(volumeConfig(20, `timeouts = { delete = "1s" }`))
	var instance string
	a.Test(resource.TestCase{
		Steps: []resource.TestStep{
			{Config: kept, Check: a.note(volume)},
			{
				PreConfig: func() {
					if err := a.Front.Inject(fakeaws.Fault{Action: "DeleteVolume", Effect: fakeaws.Fail, Code: "UnauthorizedOperation", Message: "not today"}); err != nil {
						t.Fatal(err)
					}
				},
				Config: kept, Destroy: true, ExpectError: matching(`UnauthorizedOperation`),
			},
			{
				PreConfig: a.behindTerraform(func(ctx context.Context) (err error) {
					instance, err = a.attach(ctx)
					return err
				}),
				Config: kept, Destroy: true, ExpectError: matching(`attached to i-\w+ as /dev/xvdf[^;]*; destroy the instance or detach`),
			},
			{PreConfig: a.behindTerraform(func(ctx context.Context) error { return a.detach(ctx, instance) }), Config: kept, Destroy: true},
		},
		CheckDestroy: a.leftSnapshots(2),
	})
}

func TestAnotherSnapshotOfAnAttachedVolumeIsRefused(t *testing.T) {
	a := newAccount(t)
	var instance string
	a.Test(resource.TestCase{
		Steps: []resource.TestStep{
			{Config: volumeConfig(20, ""), Check: a.note(volume)},
			{
				PreConfig: a.behindTerraform(func(ctx context.Context) (err error) {
					instance, err = a.attach(ctx)
					return err
				}),
				Config: volumeConfig(20, `snapshot_id = "snap-12345678"`), PlanOnly: true, ExpectError: matching(`attached to i-\w+ as /dev/xvdf[^;]*; add another`),
			},
			{PreConfig: a.behindTerraform(func(ctx context.Context) error { return a.detach(ctx, instance) }), Config: volumeConfig(20, "")},
		},
	})
}

func TestVolumeErrorsSayWhatToDo(t *testing.T) {
	for name, tc := range map[string]struct{ config, says string }{
		"too many IOPS":   {volumeConfig(10, "iops = 6000"), `a volume of 10 GiB has at most 5000 IOPS`},
		"small with base": {volumeConfig(1, "iops = 3001"), `a volume of 1 GiB has at most 3000 IOPS`},
		"throughput":      {volumeConfig(100, "throughput_mibps = 1000"), `1000 MiB/s need 4000 IOPS`},
		"few IOPS":        {volumeConfig(10, "iops = 100"), `between 3000 and 80000`},
		"io2, no IOPS":    {volumeConfig(10, `type = "io2"`), `type io2 needs iops`},
		"io2, IOPS":       {volumeConfig(10, "type = \"io2\"\n iops = 10001"), `at most 10000 IOPS`},
		"io2, throughput": {volumeConfig(10, "type = \"io2\"\n iops = 1000\n throughput_mibps = 125"), `remove throughput_mibps`},
		"other type":      {volumeConfig(10, `type = "gp2"`), `must be one of`},
		"snapshot time":   {volumeConfig(10, `final_snapshot_timeout = "tomorrow"`), `not a duration`},
		"no size":         {volumeConfig(0, ""), `between 1 and 65536`},
		"key alias":       {volumeConfig(10, `kms_key_id = "alias/mine"`), `not the ARN of a KMS key`},
		"no such zone":    {strings.Replace(volumeConfig(10, ""), "eu-west-1a", "mars-1a", 1), `mars-1a`},
		"no snapshot":     {volumeConfig(10, `snapshot_id = "snap-12345678"`), `InvalidSnapshot.NotFound`},
	} {
		t.Run(name, func(t *testing.T) {
			newAccount(t).Test(resource.TestCase{Steps: []resource.TestStep{{Config: tc.config, ExpectError: matching(tc.says)}}})
		})
	}
}

func TestChangeThatIsTooSoonIsExplained(t *testing.T) {
	a := newAccount(t)
	if err := a.Front.Inject(fakeaws.Fault{Action: "ModifyVolume", Effect: fakeaws.Fail, Code: "VolumeModificationRateExceeded", Message: "Wait.", Times: -1}); err != nil {
		t.Fatal(err)
	}
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: volumeConfig(20, "")},
		{Config: volumeConfig(30, ""), ExpectError: matching(`does not accept another change of this volume yet, because [^;]*; it starts`)},
	}})
}

func TestUnencryptedVolumeIsNotImported(t *testing.T) {
	a := newAccount(t)
	made, err := a.EC2.CreateVolume(t.Context(), &ec2.CreateVolumeInput{Size: aws.Int32(1), AvailabilityZone: aws.String("eu-west-1a")})
	if err != nil {
		t.Fatal(err)
	}
	a.KeepBaseline()
	a.Test(resource.TestCase{Steps: []resource.TestStep{{
		Config: volumeConfig(1, ""), ResourceName: volume, ImportState: true, ImportStateId: *made.VolumeId, ExpectError: matching(`the volume is not encrypted`),
	}}})
}
