package fixups_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func TestAVolumeIsAttachedOnceInItsOwnZoneAndDetachedWithoutNamingTheInstance(t *testing.T) {
	w := newWorld(t, fast)
	volume := func(zone string) *string {
		out, err := w.ec2.CreateVolume(ctx, &ec2.CreateVolumeInput{AvailabilityZone: &zone, Size: aws.Int32(5)})
		w.ok(err)
		return out.VolumeId
	}
	here, elsewhere := volume(zone), volume("eu-west-1b")
	first, second := w.run("10.0.2.10"), w.run("10.0.2.11")
	attach := func(volume *string, instance string) error {
		_, err := w.ec2.AttachVolume(ctx, &ec2.AttachVolumeInput{VolumeId: volume, InstanceId: &instance, Device: aws.String("/dev/xvdf")})
		return err
	}
	detach := func(volume *string) error {
		_, err := w.ec2.DetachVolume(ctx, &ec2.DetachVolumeInput{VolumeId: volume})
		return err
	}
	w.refused(attach(elsewhere, first), "InvalidVolume.ZoneMismatch")
	w.refused(detach(here), "IncorrectState")
	w.ok(attach(here, first))
	w.refused(attach(here, second), "VolumeInUse")
	w.ok(detach(here))
	w.ok(attach(here, second))
}

func TestAVolumeDoesNotShrink(t *testing.T) {
	w := newWorld(t, fast)
	v, err := w.ec2.CreateVolume(ctx, &ec2.CreateVolumeInput{AvailabilityZone: aws.String(zone), Size: aws.Int32(20), VolumeType: types.VolumeTypeGp3})
	w.ok(err)
	_, err = w.ec2.ModifyVolume(ctx, &ec2.ModifyVolumeInput{VolumeId: v.VolumeId, Size: aws.Int32(10)})
	w.refused(err, "InvalidParameterValue")
	_, err = w.ec2.ModifyVolume(ctx, &ec2.ModifyVolumeInput{VolumeId: v.VolumeId, Size: aws.Int32(30)})
	w.ok(err)
}

func TestADeregisteredImageIsUnknown(t *testing.T) {
	w := newWorld(t, fast)
	id := w.run("10.0.2.10")
	image, err := w.ec2.CreateImage(ctx, &ec2.CreateImageInput{InstanceId: &id, Name: aws.String("image")})
	w.ok(err)
	describe := func() error {
		_, err := w.ec2.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{*image.ImageId}})
		return err
	}
	w.ok(describe())
	_, err = w.ec2.DeregisterImage(ctx, &ec2.DeregisterImageInput{ImageId: image.ImageId})
	w.ok(err)
	w.refused(describe(), "InvalidAMIID.NotFound")
}

func (w *world) bucket(name string) *string {
	w.t.Helper()
	_, err := w.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name,
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}})
	w.ok(err)
	return &name
}

func TestANewBucketIsEncryptedPrivateAndOwnedByItsOwner(t *testing.T) {
	w := newWorld(t, fast)
	bucket := w.bucket("a-bucket")
	encryption, err := w.s3.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: bucket})
	w.ok(err)
	if got := encryption.ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault.SSEAlgorithm; got != "AES256" {
		t.Errorf("encryption %s", got)
	}
	block, err := w.s3.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: bucket})
	w.ok(err)
	if !aws.ToBool(block.PublicAccessBlockConfiguration.RestrictPublicBuckets) {
		t.Errorf("public access block: %+v", block.PublicAccessBlockConfiguration)
	}
	owner, err := w.s3.GetBucketOwnershipControls(ctx, &s3.GetBucketOwnershipControlsInput{Bucket: bucket})
	w.ok(err)
	if got := owner.OwnershipControls.Rules[0].ObjectOwnership; got != "BucketOwnerEnforced" {
		t.Errorf("ownership %s", got)
	}
}

func TestATLSOnlyPolicyIsKeptAndDoesNotShutOutLoopback(t *testing.T) {
	w := newWorld(t, fast)
	bucket := w.bucket("a-bucket")
	policy := `{"Statement":[{"Action":"s3:*","Condition":{"Bool":{"aws:SecureTransport":"false"}},"Effect":"Deny",` +
		`"Principal":"*","Resource":["arn:aws:s3:::a-bucket","arn:aws:s3:::a-bucket/*"],"Sid":"TLSOnly"}],"Version":"2012-10-17"}`
	_, err := w.s3.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: bucket, Policy: &policy})
	w.ok(err)
	got, err := w.s3.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: bucket})
	w.ok(err)
	if *got.Policy != policy {
		t.Errorf("policy:\n got %s\nwant %s", *got.Policy, policy)
	}
	_, err = w.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("key"), Body: strings.NewReader("x")})
	w.ok(err)
	deny := strings.NewReplacer(`"Condition":{"Bool":{"aws:SecureTransport":"false"}},`, "").Replace(policy)
	_, err = w.s3.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: bucket, Policy: &deny})
	w.ok(err)
	_, err = w.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("key"), Body: strings.NewReader("x")})
	w.refused(err, "Forbidden") // moto's word; the same statement without the condition is enforced
}

func TestATracebackOfMotosIsAnErrorThatCanBeRead(t *testing.T) {
	w := newWorld(t, fast)
	w.run("10.0.2.10")
	_, err := w.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: []types.Filter{filter("client-token", "x")}})
	w.refused(err, "InternalError")
}

func TestAMendThatIsSwitchedOffLeavesMotosAnswer(t *testing.T) {
	w := newWorld(t, fast)
	w.ok(w.front.EnableFixup("bucket-defaults", false))
	_, err := w.s3.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: w.bucket("a-bucket")})
	w.refused(err, "NoSuchPublicAccessBlockConfiguration")
	if err := w.front.EnableFixup("no-such-fixup", false); err == nil {
		t.Error("an unknown fixup was switched off")
	}
}
