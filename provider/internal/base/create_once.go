package base

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/xeroops/xeroops/internal/awsclient"
	"github.com/xeroops/xeroops/internal/awswait"
)

// Limits of CreateOnce. EC2's Describe calls usually lag behind by less than three
// seconds. A resource that becomes visible later is found by the next plan, which
// reports a duplicate name.
const (
	lostCreateVisible = 3 * time.Second
	maxCreateAttempts = 5
)

// CreateOnce creates a resource for which EC2 accepts no client token, so that
// exactly one exists afterwards even if a response is lost; the SDK on its own
// would repeat the call. find searches by tags for what the call may have created,
// and returns nil if there is nothing. create must pass the options to the SDK.
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
