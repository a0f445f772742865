package ebs

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/packer-plugin-sdk/multistep"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/xeroops/xeroops/internal/awsclient"
)

// key names a value of type T in the state bag.
type key[T any] string

func (k key[T]) get(state multistep.StateBag) T {
	value, _ := state.Get(string(k)).(T)
	return value
}

func (k key[T]) put(state multistep.StateBag, value T) { state.Put(string(k), value) }

// What the steps hand on to each other. The SDK's steps and runners also use
// the keys that the last group names.
const (
	keyBuild key[*build] = "build" // Builder.Run

	keySourceImage     key[types.Image]       = "source_image"      // stepFindSourceImage
	keySubnets         key[[]types.Subnet]    = "subnets"           // stepFindSubnets, to try in this order
	keyKeyPair         key[*keyPair]          = "key_pair"          // stepImportKeyPair; nil if the user brings a key
	keySecurityGroupID key[string]            = "security_group_id" // stepCreateSecurityGroup; "" with security_group_ids
	keyHostKey         key[*hostKey]          = "host_key"          // stepMakeHostKey
	keyInstance        key[types.Instance]    = "instance"          // stepRunInstance, refreshed by each wait
	keyRecord          key[*recordFile]       = "record"            // stepReadRecord; nil if the image has none
	keyImages          key[map[string]*image] = "images"            // stepCheckName, by region
	keySucceeded       key[bool]              = "succeeded"         // stepCreateImage: the images stay

	keyUI            key[packersdk.Ui]           = "ui"
	keyHook          key[packersdk.Hook]         = "hook"
	keyInstanceID    key[string]                 = "instance_id"
	keyCommunicator  key[packersdk.Communicator] = "communicator"
	keyGeneratedData key[map[string]any]         = "generated_data"
	keyError         key[error]                  = "error"
)

// build is what every step needs.
type build struct {
	config *Config
	ui     packersdk.Ui
	aws    *awsclient.Client
	id     string // part of every name, value of every tagBuild
}

// say tells the user what is being done.
func (b *build) say(format string, args ...any) { b.ui.Say(fmt.Sprintf(format, args...)) }

// run runs the body of a step and turns its error into what the SDK's runner
// expects. A step may be run again after it failed (-on-error=ask).
func run(ctx context.Context, state multistep.StateBag, doing string, body func(context.Context, *build) error) multistep.StepAction {
	b := keyBuild.get(state)
	if keyError.get(state) != nil {
		state.Remove(string(keyError)) // of the attempt before this one
	}
	err := body(ctx, b)
	if ctx.Err() != nil {
		return multistep.ActionHalt
	}
	if err == nil {
		return multistep.ActionContinue
	}
	err = fmt.Errorf("%s: %w", doing, err)
	keyError.put(state, err)
	if b.config.cleansUp() { // otherwise the runner shows the error
		b.ui.Error(err.Error())
	}
	return multistep.ActionHalt
}

// cleanupTimeout bounds the cleanup of one step; the longest is that of an
// instance that shuts down slowly.
const cleanupTimeout = 15 * time.Minute

// cleanUp runs the body of a step's Cleanup, which goes on when the build is
// cancelled.
func cleanUp(state multistep.StateBag, body func(context.Context, *build) error) {
	b := keyBuild.get(state)
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
	defer cancel()
	if err := body(ctx, b); err != nil {
		b.ui.Error(fmt.Sprintf("Cleanup failed: %v. Delete what is tagged %s = %s by hand.", err, tagBuild, b.id))
	}
}

// noCleanup is embedded in steps that create nothing.
type noCleanup struct{}

// Cleanup implements multistep.Step.
func (noCleanup) Cleanup(multistep.StateBag) {}
