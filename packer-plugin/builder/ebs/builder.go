package ebs

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/hashicorp/packer-plugin-sdk/multistep"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"github.com/hashicorp/packer-plugin-sdk/uuid"
)

// BuilderID is what an artifact says of its builder.
const BuilderID = "xeroops.ebs"

// Builder is the builder xeroops-ebs.
type Builder struct {
	config Config
}

var _ packersdk.Builder = (*Builder)(nil)

// ConfigSpec is the layout of the builder's block in HCL.
func (b *Builder) ConfigSpec() hcldec.ObjectSpec { return b.config.FlatMapstructure().HCL2Spec() }

// Prepare reads the configuration.
func (b *Builder) Prepare(raws ...any) ([]string, []string, error) {
	warnings, err := b.config.prepare(raws)
	return []string{"SourceAMI", "SourceAMIName", "BuildRegion"}, warnings, err
}

// Run builds the image. With skip_create_ami it returns no artifact.
func (b *Builder) Run(ctx context.Context, ui packersdk.Ui, hook packersdk.Hook) (packersdk.Artifact, error) {
	client, err := b.config.Client(ctx, "")
	if err != nil {
		return nil, err
	}
	build := &build{config: &b.config, ui: ui, hook: hook, aws: client, id: uuid.TimeOrderedUUID(), images: map[string]*image{}}
	state := new(multistep.BasicStateBag)
	state.Put("ui", ui)
	runner := multistep.BasicRunner{Steps: build.steps(state)}
	runner.Run(ctx, state)

	if build.err != nil {
		return nil, build.err
	}
	if !build.finished {
		return nil, errors.New("build was cancelled")
	}
	if b.config.SkipCreateAMI {
		ui.Say("No image was made: skip_create_ami is set.")
		return nil, nil
	}
	return newArtifact(build), nil
}

// steps are what a build does, in this order; undoing goes the other way.
func (b *build) steps(state multistep.StateBag) []multistep.Step {
	all := []step{
		{"check that the name is free", b.checkName, nil},
		{"find the source image", b.findSource, nil},
		{"find a subnet", b.findSubnets, nil},
		{"import the key pair", b.importKeyPair, b.deleteKeyPair},
		{"create the security group", b.createSecurityGroup, b.deleteSecurityGroup},
		{"make the host key", b.makeHostKey, nil},
		{"start the instance", b.runInstance, b.terminateInstance},
		{"wait for the instance", b.awaitRunning, nil},
		{"connect", b.connect(state), nil},
		{"wait for cloud-init", b.awaitCloudInit, nil},
		{"provision", b.provision, b.cleanUpProvision},
		{"read what is in the image", b.readRecord, nil},
		{"clear the authorized keys", b.clearKey, nil},
	}
	if !b.config.SkipCreateAMI {
		all = append(all,
			step{"stop the instance", b.stopInstance, nil},
			step{"create the image", b.createImage, b.removeImages},
			step{"copy the image", b.copyImages, nil},
			step{"replace the former image", b.replaceFormer, nil},
			step{"share the image", b.shareImages, nil},
			step{"set the image's deprecation", b.deprecateImages, nil},
		)
	}
	all = append(all, step{"finish", b.finish, nil})
	steps := make([]multistep.Step, len(all))
	for i, s := range all {
		steps[i] = &runnable{s, b}
	}
	return steps
}

// finish is the point from which on the images stay.
func (b *build) finish(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.finished = true
	return nil
}

// say tells the user what is being done.
func (b *build) say(format string, args ...any) { b.ui.Say(fmt.Sprintf(format, args...)) }
