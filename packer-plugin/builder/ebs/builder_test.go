package ebs

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/packer-plugin-sdk/multistep"

	"github.com/xeroops/xeroops/packer-plugin/internal/packertest"
)

func TestABuildCreatesATaggedImageAndNothingElse(t *testing.T) {
	f := newFixture(t)
	f.Record = `{"schema":1,"role":"app","version":"1.2.3","packages":[{"name":"redis","version":"8","architecture":"amd64"}]}`
	before := f.Holdings()
	artifact, err := f.build(t.Context(), map[string]any{"tags": map[string]string{"team": "platform"}, "snapshot_tags": map[string]string{"keep": "yes"}})
	if err != nil {
		t.Fatalf("%v\n%s", err, f.output)
	}
	image := f.Image(region, "app-1")
	if want := region + ":" + aws.ToString(image.ImageId); artifact.Id() != want {
		t.Errorf("the artifact is %s, want %s", artifact.Id(), want)
	}
	if artifact.State("xeroops_role") != "app" {
		t.Errorf("the artifact's role is %v", artifact.State("xeroops_role"))
	}
	tags := map[string]string{}
	for _, tag := range image.Tags {
		tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	for key, want := range map[string]string{"Name": "app-1", "team": "platform", "xeroops:role": "app", "xeroops:version": "1.2.3", "xeroops:packages": "1"} {
		if tags[key] != want {
			t.Errorf("tag %s is %q, want %q", key, tags[key], want)
		}
	}
	after := slices.DeleteFunc(f.Holdings(), func(line string) bool { return strings.Contains(line, `"app-1"`) })
	if diff := packertest.Difference(before, after); diff != "" {
		t.Errorf("besides the image, the build left\n%s", diff)
	}
	if err := artifact.Destroy(); err != nil {
		t.Fatal(err)
	}
	if diff := packertest.Difference(before, f.Holdings()); diff != "" {
		t.Errorf("after Destroy of the artifact remains\n%s", diff)
	}
}

func TestTheInstanceIsHardened(t *testing.T) {
	f := newFixture(t)
	var builder Builder
	if _, _, err := builder.Prepare(f.Config(map[string]any{"kms_key_id": "alias/images", "spot_price": "auto",
		"launch_block_device_mappings": []map[string]any{{"device_name": "/dev/sdf", "volume_size": 8}}})); err != nil {
		t.Fatal(err)
	}
	state := new(multistep.BasicStateBag)
	keySourceImage.put(state, types.Image{RootDeviceName: aws.String("/dev/xvda")})
	key, err := newHostKey()
	if err != nil {
		t.Fatal(err)
	}
	keyHostKey.put(state, key)
	in, err := launchInput(&build{config: &builder.config}, state, types.Subnet{SubnetId: aws.String("subnet-1")})
	if err != nil {
		t.Fatal(err)
	}
	if in.MetadataOptions.HttpTokens != types.HttpTokensStateRequired {
		t.Error("IMDSv2 is not required")
	}
	if in.InstanceMarketOptions == nil || in.InstanceMarketOptions.SpotOptions.MaxPrice != nil {
		t.Errorf("spot options are %+v", in.InstanceMarketOptions)
	}
	if len(in.BlockDeviceMappings) != 2 {
		t.Fatalf("got %d volumes, want the root and /dev/sdf", len(in.BlockDeviceMappings))
	}
	for _, d := range in.BlockDeviceMappings {
		if !aws.ToBool(d.Ebs.Encrypted) || aws.ToString(d.Ebs.KmsKeyId) != "alias/images" || !aws.ToBool(d.Ebs.DeleteOnTermination) {
			t.Errorf("%s: %+v", *d.DeviceName, *d.Ebs)
		}
	}
}
