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

func TestVolumeIsAttachedOnceAndInItsOwnZone(t *testing.T) {
	f := newFixture(t, fast)
	volume := func(zone string) *string {
		out, err := f.ec2.CreateVolume(ctx, &ec2.CreateVolumeInput{AvailabilityZone: &zone, Size: aws.Int32(5)})
		f.ok(err)
		return out.VolumeId
	}
	here, elsewhere := volume(zone), volume("eu-west-1b")
	first, second := f.run("10.0.2.10"), f.run("10.0.2.11")
	attach := func(volume *string, instance string) error {
		_, err := f.ec2.AttachVolume(ctx, &ec2.AttachVolumeInput{VolumeId: volume, InstanceId: &instance, Device: aws.String("/dev/xvdf")})
		return err
	}
	detach := func(volume *string) error {
		_, err := f.ec2.DetachVolume(ctx, &ec2.DetachVolumeInput{VolumeId: volume})
		return err
	}
	f.refused(attach(elsewhere, first), "InvalidVolume.ZoneMismatch")
	f.refused(detach(here), "IncorrectState")
	f.ok(attach(here, first))
	f.refused(attach(here, second), "VolumeInUse")
	f.ok(detach(here))
	f.ok(attach(here, second))
}

func TestVolumeDoesNotShrink(t *testing.T) {
	f := newFixture(t, fast)
	v, err := f.ec2.CreateVolume(ctx, &ec2.CreateVolumeInput{AvailabilityZone: aws.String(zone), Size: aws.Int32(20), VolumeType: types.VolumeTypeGp3})
	f.ok(err)
	_, err = f.ec2.ModifyVolume(ctx, &ec2.ModifyVolumeInput{VolumeId: v.VolumeId, Size: aws.Int32(10)})
	f.refused(err, "InvalidParameterValue")
	_, err = f.ec2.ModifyVolume(ctx, &ec2.ModifyVolumeInput{VolumeId: v.VolumeId, Size: aws.Int32(30)})
	f.ok(err)
}

func TestDeregisteredImageIsUnknown(t *testing.T) {
	f := newFixture(t, fast)
	id := f.run("10.0.2.10")
	image, err := f.ec2.CreateImage(ctx, &ec2.CreateImageInput{InstanceId: &id, Name: aws.String("image")})
	f.ok(err)
	describe := func() error {
		_, err := f.ec2.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{*image.ImageId}})
		return err
	}
	f.ok(describe())
	_, err = f.ec2.DeregisterImage(ctx, &ec2.DeregisterImageInput{ImageId: image.ImageId})
	f.ok(err)
	f.refused(describe(), "InvalidAMIID.NotFound")
}

func (f *fixture) bucket(name string) *string {
	f.t.Helper()
	_, err := f.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name,
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}})
	f.ok(err)
	return &name
}

func TestNewBucketHasTheDefaultsOfAWS(t *testing.T) {
	f := newFixture(t, fast)
	bucket := f.bucket("a-bucket")
	encryption, err := f.s3.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: bucket})
	f.ok(err)
	if got := encryption.ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault.SSEAlgorithm; got != "AES256" {
		t.Errorf("encryption %s", got)
	}
	block, err := f.s3.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: bucket})
	f.ok(err)
	if !aws.ToBool(block.PublicAccessBlockConfiguration.RestrictPublicBuckets) {
		t.Errorf("public access block: %+v", block.PublicAccessBlockConfiguration)
	}
	owner, err := f.s3.GetBucketOwnershipControls(ctx, &s3.GetBucketOwnershipControlsInput{Bucket: bucket})
	f.ok(err)
	if got := owner.OwnershipControls.Rules[0].ObjectOwnership; got != "BucketOwnerEnforced" {
		t.Errorf("ownership %s", got)
	}
}

func TestTLSOnlyPolicyIsStoredAndNotEnforced(t *testing.T) {
	f := newFixture(t, fast)
	f.ok(f.front.EnableFixup("policy-form", false))
	bucket := f.bucket("a-bucket")
	policy := `{"Statement":[{"Action":"s3:*","Condition":{"Bool":{"aws:SecureTransport":"false"}},"Effect":"Deny",` +
		`"Principal":"*","Resource":["arn:aws:s3:::a-bucket","arn:aws:s3:::a-bucket/*"],"Sid":"TLSOnly"}],"Version":"2012-10-17"}`
	_, err := f.s3.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: bucket, Policy: &policy})
	f.ok(err)
	got, err := f.s3.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: bucket})
	f.ok(err)
	if *got.Policy != policy {
		t.Errorf("policy:\n got %s\nwant %s", *got.Policy, policy)
	}
	_, err = f.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("key"), Body: strings.NewReader("x")})
	f.ok(err)
	deny := strings.NewReplacer(`"Condition":{"Bool":{"aws:SecureTransport":"false"}},`, "").Replace(policy)
	_, err = f.s3.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: bucket, Policy: &deny})
	f.ok(err)
	_, err = f.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("key"), Body: strings.NewReader("x")})
	f.refused(err, "Forbidden") // moto's code; without the condition, the statement is enforced
}

func TestTracebackBecomesAnErrorOfTheProtocol(t *testing.T) {
	f := newFixture(t, fast)
	f.run("10.0.2.10")
	_, err := f.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: []types.Filter{filter("client-token", "x")}})
	f.refused(err, "InternalError")
}

func TestNewBucketHasTheTagsOfTheCall(t *testing.T) {
	f := newFixture(t, fast)
	bucket := aws.String("tagged")
	_, err := f.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket, CreateBucketConfiguration: &s3types.CreateBucketConfiguration{
		LocationConstraint: "eu-west-1", Tags: []s3types.Tag{{Key: aws.String("team"), Value: aws.String("core")}}}})
	f.ok(err)
	out, err := f.s3.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: bucket})
	f.ok(err)
	if len(out.TagSet) != 1 || *out.TagSet[0].Key != "team" || *out.TagSet[0].Value != "core" {
		t.Errorf("tags: %+v", out.TagSet)
	}
}

func TestDisabledFixupLeavesMotosResponse(t *testing.T) {
	f := newFixture(t, fast)
	f.ok(f.front.EnableFixup("bucket-defaults", false))
	_, err := f.s3.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: f.bucket("a-bucket")})
	f.refused(err, "NoSuchPublicAccessBlockConfiguration")
	if err := f.front.EnableFixup("no-such-fixup", false); err == nil {
		t.Error("an unknown fixup was disabled")
	}
}
