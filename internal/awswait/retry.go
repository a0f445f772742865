// Package awswait encodes AWS's consistency: which errors are temporary, for how
// long each is worth retrying, and functions to retry and to wait. Every duration
// has its source.
package awswait

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// How long an error is worth retrying.
const (
	// ProfilePropagation: a new instance profile is not known to EC2 at once.
	// The IAM user guide says that "changes that I make are not always immediately
	// visible"; hashicorp/aws waits two minutes (its propagationTimeout).
	ProfilePropagation = 2 * time.Minute

	// CreatedVisible: calls that name a new resource may return NotFound. The EC2
	// API reference, "Eventual consistency", says to retry for up to five minutes.
	CreatedVisible = 5 * time.Minute

	// DependencyRelease: a resource cannot be deleted while another uses it, and
	// network interfaces outlive their owners. Twenty minutes is the delete
	// timeout of hashicorp/aws for networks.
	DependencyRelease = 20 * time.Minute

	// AddressRelease: the address of a terminated instance stays in use for a while
	// after its network interface is gone. AWS documents no limit; users who launch
	// again with the same private_ip report up to a few minutes
	// (hashicorp/terraform-provider-aws#17431, aws/aws-cdk#31635).
	AddressRelease = 3 * time.Minute

	// StateChange: an attachment that is still changing returns IncorrectState. The
	// EBS user guide considers a volume stuck if it stays in a state for more than a
	// few minutes.
	StateChange = 5 * time.Minute

	// InstanceStop: a shutdown of the operating system takes up to minutes, and EC2
	// then may have to force it. Ten minutes is what hashicorp/aws waits
	// (InstanceStopTimeout).
	InstanceStop = 10 * time.Minute

	// ConnectEndpointChange: an EC2 Instance Connect Endpoint takes minutes to be
	// created or deleted. Ten minutes is what hashicorp/aws waits.
	ConnectEndpointChange = 10 * time.Minute

	// BucketConflict: S3 returns OperationAborted while another operation on the
	// bucket is in progress; its error reference says to retry. Deleting a bucket of
	// that name can take a minute or two.
	BucketConflict = 2 * time.Minute
)

// Pauses between attempts: short at first, so that a quick change is seen soon, and
// growing, so that a slow one does not use up the account's request rate.
const (
	firstPause = 250 * time.Millisecond
	maxPause   = 5 * time.Second
)

// Retry calls f until it succeeds, returns an error that passing does not accept,
// or the timeout expires, and returns f's last result. The error of a timeout wraps
// f's last error.
func Retry[T any](ctx context.Context, timeout time.Duration, passing func(error) bool, f func(context.Context) (T, error)) (T, error) {
	var result T
	err := Until(ctx, timeout, func(ctx context.Context) (bool, string, error) {
		var err error
		result, err = f(ctx)
		if err != nil && passing(err) {
			return false, "", &stillFailing{err}
		}
		return true, "", err
	})
	return result, err
}

// stillFailing marks an error that Until retries until the timeout expires.
type stillFailing struct{ error }

func (e *stillFailing) Unwrap() error { return e.error }

// TimeoutError is the error of a wait that took too long.
type TimeoutError struct {
	Waited    time.Duration
	LastState string // the last state or error
	last      error
}

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("still %s after %s", e.LastState, e.Waited.Round(time.Second))
}

func (e *TimeoutError) Unwrap() error { return e.last }

// Until polls check until it reports done, returns an error, or the timeout
// expires: then the error is a *TimeoutError with the last state. A cancelled
// context ends the wait at once.
func Until(ctx context.Context, timeout time.Duration, check func(context.Context) (done bool, state string, err error)) error {
	begun := time.Now()
	pause := firstPause
	for {
		done, state, err := check(ctx)
		var passing *stillFailing
		if errors.As(err, &passing) {
			err, state = nil, fmt.Sprintf("failing (%v)", passing.error)
		}
		if err != nil || done {
			return err
		}
		if time.Since(begun)+pause > timeout {
			timedOut := &TimeoutError{Waited: time.Since(begun), LastState: state}
			if passing != nil {
				timedOut.last = passing.error
			}
			return timedOut
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w while still %s", context.Cause(ctx), state)
		case <-time.After(pause):
		}
		pause = min(pause*3/2, maxPause)
	}
}
