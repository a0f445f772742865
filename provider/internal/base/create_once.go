package base

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/xeroops/xeroops/internal/awsclient"
	"github.com/xeroops/xeroops/internal/awswait"
)

// Limits of CreateOnce. Three seconds is longer than EC2's Describe calls
// usually lag behind. A resource that becomes visible later is found by the
// next plan, which then reports that the name exists twice.
const (
	lostCreateVisible = 3 * time.Second
	maxCreateAttempts = 5
)

// CreateOnce carries out a create for which EC2 accepts no client token, so that
// exactly one resource exists afterwards even if an answer is lost; the SDK on
// its own would send the call again. find searches by tags for what the call may
// have created and returns nil if there is nothing. create passes the options on
// to the SDK.
func CreateOnce[T any](ctx context.Context, find func(context.Context) (*T, error), create func(context.Context, ...func(*ec2.Options)) (*T, error)) (*T, error) {
	for attempt := 1; ; attempt++ {
		created, err := create(ctx, retryThrottlesOnly)
		if err == nil || attempt == maxCreateAttempts || ctx.Err() != nil || !awswait.OutcomeUnknown(err) {
			return created, err
		}
		var found *T
		err = awswait.Until(ctx, lostCreateVisible, func(ctx context.Context) (_ bool, _ string, err error) {
			found, err = find(ctx)
			return found != nil, "missing", err
		})
		var timedOut *awswait.TimeoutError
		if err == nil || !errors.As(err, &timedOut) {
			return found, err
		}
	}
}

func retryThrottlesOnly(o *ec2.Options) {
	awsclient.RetryWhen(func(err error, _ func(error) bool) bool { return awswait.IsThrottled(err) })(o)
}
