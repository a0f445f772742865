package base

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/xeroops/xeroops/internal/awsclient"
	"github.com/xeroops/xeroops/internal/awswait"
)

// A create whose answer was lost is looked for this long before it is tried
// again, and tried this often. Three seconds is more than EC2's Describe calls
// usually lag behind; what becomes visible later is found by the next plan,
// which then says that the name exists twice.
const (
	lostVisible = 3 * time.Second
	lostTries   = 5
)

// Once carries out a create for which EC2 takes no client token, so that there
// is one thing afterwards even where an answer was lost. The SDK by itself
// would send the call again. Find looks for what the call may have made, by its
// tags, and returns nil if there is nothing; create passes on the options.
func Once[T any](ctx context.Context, find func(context.Context) (*T, error), create func(context.Context, ...func(*ec2.Options)) (*T, error)) (*T, error) {
	for try := 1; ; try++ {
		made, err := create(ctx, retryThrottlesOnly)
		if err == nil || try == lostTries || !lost(err) {
			return made, err
		}
		var found *T
		late := awswait.Until(ctx, lostVisible, func(ctx context.Context) (_ bool, _ string, err error) {
			found, err = find(ctx)
			return found != nil, "missing", err
		})
		var timedOut *awswait.TimeoutError
		if late == nil || !errors.As(late, &timedOut) {
			return found, late
		}
	}
}

// lost says whether a call may have taken effect though it failed: there was no
// answer, or one of a server that broke down half-way.
func lost(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var response *awshttp.ResponseError
	if errors.As(err, &response) && response.HTTPStatusCode() > 0 && response.HTTPStatusCode() < http.StatusInternalServerError {
		return false // 0 is no answer
	}
	return !throttled(err)
}

func throttled(err error) bool {
	return retry.IsErrorThrottles(retry.DefaultThrottles).IsErrorThrottle(err).Bool()
}

func retryThrottlesOnly(o *ec2.Options) {
	awsclient.RetryWhen(func(err error, _ func(error) bool) bool { return throttled(err) })(o)
}
