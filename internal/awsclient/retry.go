package awsclient

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// RetryWhen is an option of an EC2 call: decide reports whether an error is worth
// a retry; bySDK reports whether the SDK would retry it. The SDK keeps deciding
// how often and how fast.
func RetryWhen(decide func(err error, bySDK func(error) bool) bool) func(*ec2.Options) {
	return func(o *ec2.Options) { o.Retryer = deciding{o.Retryer, decide} }
}

type deciding struct {
	aws.Retryer
	decide func(err error, bySDK func(error) bool) bool
}

func (r deciding) IsErrorRetryable(err error) bool {
	return r.decide(err, r.Retryer.IsErrorRetryable)
}

// GetAttemptToken keeps the wrapped retryer's rate limit.
func (r deciding) GetAttemptToken(ctx context.Context) (func(error) error, error) {
	if v2, ok := r.Retryer.(aws.RetryerV2); ok {
		return v2.GetAttemptToken(ctx)
	}
	return r.GetInitialToken(), nil
}

var _ aws.RetryerV2 = deciding{Retryer: retry.NewStandard()}
