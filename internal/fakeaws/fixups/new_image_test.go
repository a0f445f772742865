package fixups_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func TestNewImageIsTaggedAndItsNameIsUnique(t *testing.T) {
	f := newFixture(t, fast)
	tags := func(value string) []types.TagSpecification {
		var all []types.TagSpecification
		for _, kind := range []types.ResourceType{types.ResourceTypeImage, types.ResourceTypeSnapshot} {
			all = append(all, types.TagSpecification{ResourceType: kind, Tags: []types.Tag{{Key: aws.String("made-by"), Value: aws.String(value)}}})
		}
		return all
	}
	in := &ec2.CreateImageInput{InstanceId: aws.String(f.run("10.0.2.10")), Name: aws.String("new"), TagSpecifications: tags("create")}
	made, err := f.ec2.CreateImage(ctx, in)
	f.ok(err)
	_, err = f.ec2.CreateImage(ctx, in)
	f.refused(err, "InvalidAMIName.Duplicate")
	copied, err := f.ec2.CopyImage(ctx, &ec2.CopyImageInput{SourceImageId: made.ImageId, SourceRegion: aws.String("eu-west-1"),
		Name: aws.String("copy"), TagSpecifications: tags("copy")})
	f.ok(err)
	for id, value := range map[string]string{*made.ImageId: "create", *copied.ImageId: "copy"} {
		images, err := f.ec2.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{id}})
		f.ok(err)
		snapshots, err := f.ec2.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{SnapshotIds: []string{*images.Images[0].BlockDeviceMappings[0].Ebs.SnapshotId}})
		f.ok(err)
		for _, found := range [][]types.Tag{images.Images[0].Tags, snapshots.Snapshots[0].Tags} {
			if len(found) != 1 || *found[0].Value != value {
				t.Errorf("%s: tags are %v, want made-by=%s", id, found, value)
			}
		}
	}
	_, err = f.ec2.EnableImageDeprecation(ctx, &ec2.EnableImageDeprecationInput{ImageId: made.ImageId, DeprecateAt: aws.Time(time.Now().AddDate(1, 0, 0))})
	f.ok(err)
}
