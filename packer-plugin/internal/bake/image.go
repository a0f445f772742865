package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/xeroops/xeroops/packer-plugin/builder/ebs"
	"github.com/xeroops/xeroops/packer-plugin/internal/access"
	"github.com/xeroops/xeroops/packer-plugin/internal/imagerecord"
	"github.com/xeroops/xeroops/packer-plugin/internal/packerhcl"
	"github.com/xeroops/xeroops/packer-plugin/post-processor/manifest"
	"github.com/xeroops/xeroops/packer-plugin/provisioner/role"
)

// image is an image that the template builds.
type image struct {
	packerhcl.Build
	role    string
	content string // value of the tag imagerecord.TagContent
}

// contentsOf returns the image of each build with its content sum.
func contentsOf(builds []packerhcl.Build) ([]image, error) {
	var images []image
	for _, b := range builds {
		for _, c := range b.Template.Provisioners {
			if c.Name != "role" {
				continue
			}
			var p role.Provisioner
			if err := p.Prepare(c.Config); err != nil {
				return nil, fmt.Errorf("%s: %w", b.Name, err)
			}
			content, err := p.Content()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", b.Name, err)
			}
			images = append(images, image{b, fmt.Sprint(c.Config["role"]), content})
		}
	}
	if len(images) != len(builds) {
		return nil, errors.New("each build of the template needs exactly one provisioner xeroops-role")
	}
	return images, nil
}

// find returns the artifact of an existing image with the same content, or nil.
func (i image) find(ctx context.Context) (packersdk.Artifact, error) {
	region, _ := i.Template.Builder.Config["region"].(string)
	client, err := (&access.Config{Region: region}).Client(ctx, "")
	if err != nil {
		return nil, err
	}
	filter := func(name, value string) types.Filter {
		return types.Filter{Name: aws.String(name), Values: []string{value}}
	}
	out, err := client.EC2.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"self"},
		Filters: []types.Filter{filter("tag:"+imagerecord.TagContent, i.content), filter("state", "available")}})
	if err != nil || len(out.Images) == 0 {
		return nil, err
	}
	newest := slices.MaxFunc(out.Images, func(a, b types.Image) int {
		return cmp.Compare(aws.ToString(a.CreationDate), aws.ToString(b.CreationDate))
	})
	return ebs.ArtifactOf(client, newest, i.role), nil
}

// keep runs the template's post-processors for an existing image.
func (i image) keep(ctx context.Context, artifact packersdk.Artifact, ui packersdk.Ui) error {
	for _, c := range i.Template.PostProcessors {
		var p manifest.PostProcessor
		if err := p.Configure(c.Config); err != nil {
			return err
		}
		if _, _, _, err := p.PostProcess(ctx, ui, artifact); err != nil {
			return err
		}
	}
	return nil
}
