package ebs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/packer-plugin-sdk/multistep"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	registry "github.com/hashicorp/packer-plugin-sdk/packer/registry/image"

	"github.com/xeroops/xeroops/internal/awsclient"
	"github.com/xeroops/xeroops/packer-plugin/internal/imagerecord"
)

// Artifact holds the images that a build created.
type Artifact struct {
	images       []image
	role         string
	architecture string // such as arm64
	region       string // of the build
	source       string // id of the source image
}

var _ packersdk.Artifact = (*Artifact)(nil)

func newArtifact(state multistep.StateBag) *Artifact {
	b, images, source := keyBuild.get(state), keyImages.get(state), keySourceImage.get(state)
	a := &Artifact{source: aws.ToString(source.ImageId), role: b.config.Tags[imagerecord.TagRole], architecture: string(source.Architecture), region: b.aws.Region}
	if record := keyRecord.get(state); record != nil {
		a.role = record.Role
	}
	for _, region := range b.regions() {
		a.images = append(a.images, *images[region])
	}
	return a
}

// ArtifactOf returns the artifact of an image that an earlier build created.
func ArtifactOf(client *awsclient.Client, existing types.Image, role string) *Artifact {
	i := image{region: client.Region, ec2: client.EC2, id: aws.ToString(existing.ImageId), snapshots: snapshotsOf(existing)}
	return &Artifact{images: []image{i}, role: role, architecture: string(existing.Architecture), region: client.Region}
}

// BuilderId implements packer.Artifact.
func (*Artifact) BuilderId() string { return BuilderID } //nolint:revive // the SDK's name

// Files implements packer.Artifact; there are none.
func (*Artifact) Files() []string { return nil }

// Id returns region:ami, separated by commas, as HashiCorp's
// amazon plugin does.
func (a *Artifact) Id() string { //nolint:revive // the SDK's name
	var ids []string
	for _, i := range a.images {
		ids = append(ids, i.region+":"+i.id)
	}
	slices.Sort(ids)
	return strings.Join(ids, ",")
}

// String implements packer.Artifact.
func (a *Artifact) String() string { return "AMIs were created:\n" + summary(a.images) }

// State returns the role as "xeroops_role", the architecture as "xeroops_architecture",
// the region of the build as "xeroops_region", and the metadata for HCP Packer.
func (a *Artifact) State(name string) any {
	switch name {
	case "xeroops_role":
		return a.role
	case "xeroops_architecture":
		return a.architecture
	case "xeroops_region":
		return a.region
	case registry.ArtifactStateURI:
		var images []*registry.Image
		for _, i := range a.images {
			image, err := registry.FromArtifact(a, registry.WithProvider("aws"), registry.WithRegion(i.region), registry.WithID(i.id), registry.WithSourceID(a.source))
			if err == nil {
				images = append(images, image)
			}
		}
		return images
	}
	return nil
}

// Destroy removes the images and their snapshots, except those that replaced an
// image. Packer calls it when a post-processor has failed.
func (a *Artifact) Destroy() error {
	var errs []error
	for _, i := range a.images {
		if i.replaced { // otherwise there would be none
			errs = append(errs, fmt.Errorf("kept %s in %s, because the image that it replaces is deregistered", i.id, i.region))
			continue
		}
		if err := deregister(context.Background(), i.ec2, i.id, i.snapshots); err != nil {
			errs = append(errs, fmt.Errorf("in %s: %w", i.region, err))
		}
	}
	return errors.Join(errs...)
}
