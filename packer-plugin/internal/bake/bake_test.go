package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/packer-plugin/internal/imagerecord"
	"github.com/xeroops/xeroops/packer-plugin/internal/packertest"
)

func TestMain(m *testing.M) { packertest.Main(m) }

func TestAnExistingImageIsListedAndNotRebuilt(t *testing.T) {
	f := packertest.New(t)
	t.Setenv("AWS_ENDPOINT_URL", f.Front.URL)
	node, manifest := filepath.Join(t.TempDir(), "xeroops-node"), filepath.Join(t.TempDir(), "images.auto.tfvars.json")
	if err := os.WriteFile(node, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := options{dir: "../../../examples/images", variables: variables{
		"ssh_from": `["192.0.2.7/32"]`, "node_binary": node, "manifest": manifest, "region": packertest.Region}}
	images, err := o.images()
	if err != nil {
		t.Fatal(err)
	}
	existing := images[0]
	copied, err := f.EC2[packertest.Region].CopyImage(t.Context(), &ec2.CopyImageInput{Name: aws.String("existing"),
		SourceImageId: aws.String(moto.BaseImageID), SourceRegion: aws.String(packertest.Region)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.EC2[packertest.Region].CreateTags(t.Context(), &ec2.CreateTagsInput{Resources: []string{*copied.ImageId},
		Tags: []types.Tag{{Key: aws.String(imagerecord.TagContent), Value: aws.String(existing.content)}}})
	if err != nil {
		t.Fatal(err)
	}
	missing, err := o.missing(t.Context(), images)
	if err != nil {
		t.Fatal(err)
	}
	if len(missing) != len(images)-1 || missing[0].Name == existing.Name {
		t.Errorf("of %d images, %d are missing; the first is %s", len(images), len(missing), missing[0].Name)
	}
	content, err := os.ReadFile(manifest)
	if err != nil || !strings.Contains(string(content), `"`+existing.role+`": "`+*copied.ImageId+`"`) {
		t.Errorf("the manifest is %s, %v", content, err)
	}
	o.fresh = true
	if missing, err := o.missing(t.Context(), images); err != nil || len(missing) != len(images) {
		t.Errorf("-fresh builds %d of %d images, %v", len(missing), len(images), err)
	}
}
