package ebs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/packer-plugin-sdk/multistep"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/xeroops/xeroops/internal/awsclient"
	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/packer-plugin/internal/imagerecord"
)

// tagBuild is on everything that a build makes; its value is the build's id.
const tagBuild = "xeroops:build"

// build is one build on its way.
type build struct {
	config *Config
	ui     packersdk.Ui
	hook   packersdk.Hook
	aws    *awsclient.Client
	id     string // part of every name, value of every tagBuild

	source  types.Image
	subnets []types.Subnet // to try in turn, all of one VPC

	keyImported            bool // or tried to
	publicKey              []byte
	groupTried             bool
	groupOutcomeUnknown    bool // it may exist although groupID is empty
	groupID                string
	hostKey                hostKey
	instanceTried          bool
	instanceOutcomeUnknown bool
	instance               types.Instance
	comm                   packersdk.Communicator
	record                 *imagerecord.Record // nil: the image says nothing of itself
	recordSum              string
	images                 map[string]*image // by region, and those that were tried

	err      error // why the build failed
	keep     bool  // -on-error=abort, or the user's answer
	finished bool
}

// step is one part of a build. undo takes back what run made or may have made,
// and is called whether run succeeded or not.
type step struct {
	name string
	run  func(context.Context) error
	undo func(context.Context) error
}

// undoTimeout bounds the taking back of one step; the longest part is an
// instance that shuts down slowly.
const undoTimeout = 15 * time.Minute

// runnable makes a step one of the SDK's.
type runnable struct {
	step
	build *build
}

// Run implements multistep.Step.
func (r *runnable) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	b := r.build
	err := r.run(ctx)
	if err == nil && ctx.Err() == nil {
		return multistep.ActionContinue
	}
	if ctx.Err() != nil {
		return multistep.ActionHalt
	}
	b.err = fmt.Errorf("%s: %w", r.name, err)
	state.Put("error", b.err)
	b.ui.Error(b.err.Error())
	b.keep = b.askToKeep()
	return multistep.ActionHalt
}

// Cleanup implements multistep.Step.
func (r *runnable) Cleanup(multistep.StateBag) {
	b := r.build
	if r.undo == nil || b.keep {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), undoTimeout)
	defer cancel()
	if err := r.undo(ctx); err != nil {
		b.ui.Error(fmt.Sprintf("Something may be left behind, tagged %s = %s: %v", tagBuild, b.id, err))
	}
}

// askToKeep does what -on-error says; cleaning up is the default.
func (b *build) askToKeep() bool {
	switch b.config.PackerOnError {
	case "abort":
		b.ui.Error(fmt.Sprintf("Nothing is cleaned up (-on-error=abort): look for the tag %s = %s", tagBuild, b.id))
		return true
	case "ask":
		answer, err := b.ui.Ask("[c] Clean up and exit, [a] abort without cleaning up?")
		return err == nil && answer == "a"
	}
	return false
}

// name is that of a temporary thing.
func (b *build) name() string { return "packer-xeroops-" + b.id }

// tagged returns the tags of something that the build makes.
func (b *build) tagged(kind types.ResourceType, more ...map[string]string) []types.TagSpecification {
	all := map[string]string{"Name": b.name(), tagBuild: b.id}
	for _, tags := range more {
		for key, value := range tags {
			all[key] = value
		}
	}
	return []types.TagSpecification{{ResourceType: kind, Tags: ec2Tags(all)}}
}

func ec2Tags(tags map[string]string) []types.Tag {
	var list []types.Tag
	for key, value := range tags {
		list = append(list, types.Tag{Key: aws.String(key), Value: aws.String(value)})
	}
	return list
}

func filter(name string, values ...string) types.Filter {
	return types.Filter{Name: aws.String(name), Values: values}
}

// ofThisBuild finds what the build made.
func (b *build) ofThisBuild() types.Filter { return filter("tag:"+tagBuild, b.id) }

// settleTime is how long a call that changes something may go on once the
// build is cancelled, so that its answer is not lost.
const settleTime = 30 * time.Second

// change makes a call that changes something. A cancelled build waits for its
// answer: without it nobody would know what to take back.
func change[In, Out any](ctx context.Context, call func(context.Context, *In, ...func(*ec2.Options)) (*Out, error), in *In) (*Out, error) {
	settled, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(settleTime, cancel)
		context.AfterFunc(settled, func() { timer.Stop() })
	})
	defer stop()
	return call(settled, in)
}

// remove makes a call that takes something back, again and again while it
// fails in a way that may pass. What is gone already is fine.
func remove[In, Out any](ctx context.Context, call func(context.Context, *In, ...func(*ec2.Options)) (*Out, error), in *In) error {
	_, err := awswait.Retry(ctx, removeTimeout, mayPass, func(ctx context.Context) (*Out, error) { return call(ctx, in) })
	return awswait.Ignore(err, awswait.IsNotFound)
}

// removeTimeout outlasts what keeps a security group in use after its
// instance was terminated.
const removeTimeout = 3 * time.Minute

func mayPass(err error) bool {
	return !awswait.IsNotFound(err) && !awswait.HasCode(err, "UnauthorizedOperation", "AccessDenied")
}

// lookup makes a call that reads, with the same patience as remove.
func lookup[In, Out any](ctx context.Context, call func(context.Context, *In, ...func(*ec2.Options)) (*Out, error), in *In) (*Out, error) {
	return awswait.Retry(ctx, removeTimeout, mayPass, func(ctx context.Context) (*Out, error) { return call(ctx, in) })
}

// lostVisible is how long find searches for what a call of unknown outcome may
// have created: a new resource is not visible at once.
const lostVisible = 15 * time.Second

// find searches once, or for lostVisible if the outcome of the call that may have
// created the resource is unknown.
func find(ctx context.Context, outcomeUnknown bool, search func(context.Context) (bool, error)) error {
	timeout := time.Duration(0)
	if outcomeUnknown {
		timeout = lostVisible
	}
	err := awswait.Until(ctx, timeout, func(ctx context.Context) (bool, string, error) {
		found, err := search(ctx)
		return found, "not to be found", err
	})
	var timedOut *awswait.TimeoutError
	if errors.As(err, &timedOut) {
		return nil
	}
	return err
}

// await asks check until it says that what it waits for is there.
func (b *build) await(ctx context.Context, what string, check func(context.Context) (done bool, state string, err error)) error {
	begun := time.Now()
	for {
		done, state, err := check(ctx)
		if err != nil || done {
			return err
		}
		if waited := time.Since(begun); waited+b.config.PollInterval > b.config.PollTimeout {
			return fmt.Errorf("wait for %s: still %s after %s; raise poll_timeout if that is just slow", what, state, waited.Round(time.Second))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(b.config.PollInterval):
		}
	}
}
