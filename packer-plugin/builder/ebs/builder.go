package ebs

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/hashicorp/packer-plugin-sdk/communicator"
	"github.com/hashicorp/packer-plugin-sdk/multistep"
	"github.com/hashicorp/packer-plugin-sdk/multistep/commonsteps"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"github.com/hashicorp/packer-plugin-sdk/uuid"
)

// BuilderID identifies the builder in an artifact.
const BuilderID = "xeroops.ebs"

// Builder is the builder xeroops-ebs.
type Builder struct {
	config Config
}

var _ packersdk.Builder = (*Builder)(nil)

// ConfigSpec returns the schema of the builder's block in HCL.
func (b *Builder) ConfigSpec() hcldec.ObjectSpec { return b.config.FlatMapstructure().HCL2Spec() }

// Prepare reads the configuration. It returns the names of the values that
// provisioners can use, and warnings.
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
	build := &build{config: &b.config, ui: ui, aws: client, id: uuid.TimeOrderedUUID()}
	state := new(multistep.BasicStateBag)
	keyBuild.put(state, build)
	keyUI.put(state, ui)
	keyHook.put(state, hook)
	build.say("All resources of this build have the tag %s = %s", tagBuild, build.id)
	commonsteps.NewRunner(steps(&b.config), b.config.PackerConfig, ui).Run(ctx, state)
	discardLate(ctx, state)

	if err := outcome(state, &b.config); err != nil {
		if skipsCleanup(state, &b.config) {
			ui.Error(leftBehind(state))
		}
		return nil, err
	}
	if b.config.SkipCreateAMI {
		ui.Say("Created no image, because skip_create_ami is set.")
		return nil, nil
	}
	return newArtifact(state), nil
}

// discardLate removes the images of a build that was cancelled while temporary
// resources were being deleted, because Packer drops the artifact of a cancelled
// build.
func discardLate(ctx context.Context, state multistep.StateBag) {
	if ctx.Err() == nil || !keySucceeded.get(state) {
		return
	}
	keySucceeded.put(state, false)
	if !skipsCleanup(state, keyBuild.get(state).config) {
		cleanUp(state, func(ctx context.Context, b *build) error { return removeImages(ctx, b, keyImages.get(state)) })
	}
}

// outcome returns why the build failed, if it did.
func outcome(state multistep.StateBag, config *Config) error {
	if err := keyError.get(state); err != nil {
		return err
	}
	_, cancelled := state.GetOk(multistep.StateCancelled)
	_, halted := state.GetOk(multistep.StateHalted)
	if config.SkipCreateAMI && !cancelled && !halted || keySucceeded.get(state) {
		return nil
	}
	return errors.New("build was cancelled")
}

// skipsCleanup reports whether the runner leaves resources of a failed build
// alone, as -on-error or the user's answer demands.
func skipsCleanup(state multistep.StateBag, config *Config) bool {
	_, aborted := state.GetOk("aborted") // the SDK's runner, after the question of -on-error=ask
	return aborted || !config.cleansUp() && config.PackerOnError != "ask"
}

// steps returns what a build does, in this order; cleanup goes the other way.
func steps(c *Config) []multistep.Step {
	steps := []multistep.Step{
		new(stepCheckName),
		new(stepCheckAccount),
		new(stepFindSourceImage),
		new(stepFindSubnets),
		new(stepImportKeyPair),
		new(stepCreateSecurityGroup),
		new(stepMakeHostKey),
		new(stepRunInstance),
		new(stepWaitForInstance),
		new(stepConnect),
		new(stepWaitForCloudInit),
		new(commonsteps.StepProvision), // by this name the runner knows whose cleanup provisioner to run
		new(stepReadRecord),
		new(stepClearAuthorizedKeys),
	}
	if c.PackerDebug && c.makesKeyPair() {
		dump := &communicator.StepDumpSSHKey{Path: fmt.Sprintf("xeroops_%s.pem", c.PackerBuildName), SSH: &c.Comm.SSH}
		after := slices.IndexFunc(steps, func(s multistep.Step) bool { _, ok := s.(*stepImportKeyPair); return ok }) + 1
		steps = slices.Insert(steps, after, multistep.Step(dump))
	}
	if !c.SkipCreateAMI {
		steps = append(steps,
			new(stepStopInstance),
			new(stepCreateImage),
			new(stepCopyImages),
			new(stepReplaceFormerImages),
			new(stepShareImages),
			new(stepDeprecateImages),
		)
	}
	return steps
}
