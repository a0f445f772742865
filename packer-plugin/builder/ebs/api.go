package ebs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/awswait"
)

// tagBuild is the key of a tag on everything that a build creates; its value is
// the build's id.
const tagBuild = "xeroops:build"

// name returns the name of the build's temporary resources.
func (b *build) name() string { return "packer-xeroops-" + b.id }

// tags returns the tags of a new resource; later maps override earlier ones.
func (b *build) tags(kind types.ResourceType, more ...map[string]string) []types.TagSpecification {
	all := map[string]string{"Name": b.name(), tagBuild: b.id}
	for _, tags := range more {
		for key, value := range tags {
			all[key] = value
		}
	}
	var list []types.Tag
	for key, value := range all {
		list = append(list, types.Tag{Key: aws.String(key), Value: aws.String(value)})
	}
	return []types.TagSpecification{{ResourceType: kind, Tags: list}}
}

func filter(name string, values ...string) types.Filter {
	return types.Filter{Name: aws.String(name), Values: values}
}

// ofThisBuild matches what the build created.
func (b *build) ofThisBuild() types.Filter { return filter("tag:"+tagBuild, b.id) }

// cancelGrace is how long a mutating call may still take after the build was
// cancelled, so that its response is not lost.
const cancelGrace = 30 * time.Second

// mutate makes a call that creates or changes a resource. A cancelled build
// waits for the response, which may hold the id of what has to be cleaned up.
func mutate[In, Out any](ctx context.Context, call func(context.Context, *In, ...func(*ec2.Options)) (*Out, error), in *In) (*Out, error) {
	callCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(cancelGrace, cancel)
		context.AfterFunc(callCtx, func() { timer.Stop() })
	})
	defer stop()
	return call(callCtx, in)
}

// cleanupRetry is how long cleanup retries a call. It outlasts the time for
// which a security group stays in use after its instance was terminated.
const cleanupRetry = 3 * time.Minute

// remove makes a call that deletes a resource, and retries it until it
// succeeds. A resource that no longer exists counts as deleted.
func remove[In, Out any](ctx context.Context, call func(context.Context, *In, ...func(*ec2.Options)) (*Out, error), in *In) error {
	_, err := describe(ctx, call, in)
	return awswait.Ignore(err, isGone)
}

// describe makes a call that reads, during cleanup, and retries it until it
// succeeds.
func describe[In, Out any](ctx context.Context, call func(context.Context, *In, ...func(*ec2.Options)) (*Out, error), in *In) (*Out, error) {
	return awswait.Retry(ctx, cleanupRetry, mayPass, func(ctx context.Context) (*Out, error) { return call(ctx, in) })
}

// isGone reports whether a resource no longer exists. InvalidAMIID.Unavailable
// is EC2's error for an image that is deregistered already.
func isGone(err error) bool {
	return awswait.IsNotFound(err) || awswait.HasCode(err, "InvalidAMIID.Unavailable")
}

func mayPass(err error) bool {
	return !isGone(err) && !awswait.HasCode(err, "UnauthorizedOperation", "AccessDenied") && !awswait.IsRejectedCredentials(err)
}

// newlyCreated is how long EC2 may not know a resource that the build has just
// created; shorter than awswait.CreatedVisible, because somebody is waiting.
const newlyCreated = time.Minute

func notYetVisible(err error) bool {
	return awswait.HasCode(err, "InvalidGroup.NotFound", "InvalidKeyPair.NotFound") || awswait.IsProfilePropagating(err)
}

// unknownVisible is how long to search for what a call of unknown outcome may
// have created: a new resource is not listed at once.
const unknownVisible = 15 * time.Second

// find searches once, or for a while if the outcome of the call that may have
// created the resource is unknown. Not finding it is no error.
func find(ctx context.Context, unknown bool, search func(context.Context) (bool, error)) error {
	timeout := time.Duration(0)
	if unknown {
		timeout = unknownVisible
	}
	err := awswait.Until(ctx, timeout, func(ctx context.Context) (bool, string, error) {
		found, err := search(ctx)
		return found, "not found", err
	})
	var timedOut *awswait.TimeoutError
	if errors.As(err, &timedOut) {
		return nil
	}
	return err
}

// await polls check until it reports done, at most for poll_timeout.
func (b *build) await(ctx context.Context, what string, check func(context.Context) (done bool, state string, err error)) error {
	started := time.Now()
	for {
		done, state, err := check(ctx)
		if err != nil || done {
			return err
		}
		if waited := time.Since(started); waited+b.config.PollInterval > b.config.PollTimeout {
			return fmt.Errorf("wait for %s: still %s after %s; raise poll_timeout if it only needs more time", what, state, waited.Round(time.Second))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(b.config.PollInterval):
		}
	}
}

// clientToken returns an idempotency token, of which EC2 takes 64 characters.
func clientToken(id string, attempt int, of string) string {
	t := fmt.Sprintf("%s%d%s", id, attempt, of)
	return t[:min(len(t), 64)]
}
