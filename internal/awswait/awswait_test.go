package awswait

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/smithy-go"
)

func apiError(code, message string) error {
	return fmt.Errorf("operation error: %w", &smithy.GenericAPIError{Code: code, Message: message})
}

func TestRetryRetriesTemporaryErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		got, err := Retry(t.Context(), time.Minute, IsInUse, func(context.Context) (string, error) {
			if calls++; calls < 4 {
				return "", apiError("DependencyViolation", "in use")
			}
			return "deleted", nil
		})
		if got != "deleted" || err != nil || calls != 4 {
			t.Errorf("got %q, %v after %d calls", got, err, calls)
		}
	})
}

func TestRetryReturnsOtherErrorsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		_, err := Retry(t.Context(), time.Minute, IsInUse, func(context.Context) (any, error) {
			calls++
			return nil, apiError("UnauthorizedOperation", "no")
		})
		if Code(err) != "UnauthorizedOperation" || calls != 1 {
			t.Errorf("%d calls, then %v", calls, err)
		}
	})
}

func TestRetryTimeoutWrapsTheLastError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, err := Retry(t.Context(), time.Minute, IsInUse, func(context.Context) (any, error) {
			return nil, apiError("DependencyViolation", "eni-1 is in use")
		})
		var timedOut *TimeoutError
		if !errors.As(err, &timedOut) || !HasCode(err, "DependencyViolation") || !strings.Contains(err.Error(), "eni-1 is in use") {
			t.Errorf("error is %v", err)
		}
		if took := time.Since(began); took > time.Minute || took < 50*time.Second {
			t.Errorf("took %s, want just under a minute", took)
		}
	})
}

func TestUntilStopsWhenCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		err := Until(ctx, time.Hour, func(context.Context) (bool, string, error) { return false, "pending", nil })
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "pending") {
			t.Errorf("error is %v", err)
		}
	})
}

func TestUntilPollsAtGrowingIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		err := Until(t.Context(), 10*time.Minute, func(context.Context) (bool, string, error) { calls++; return false, "pending", nil })
		if err == nil || calls < 100 || calls > 140 {
			t.Errorf("%d calls in ten minutes (%v)", calls, err)
		}
	})
}

func TestErrorPredicates(t *testing.T) {
	cases := []struct {
		err  error
		is   func(error) bool
		want bool
	}{
		{apiError("InvalidVpcID.NotFound", ""), IsNotFound, true},
		{apiError("NoSuchEntity", ""), IsNotFound, true},
		{apiError("NoSuchBucket", ""), IsNotFound, true},
		{apiError("NotFound", ""), IsNotFound, true}, // HeadBucket
		{apiError("InvalidParameterValue", ""), IsNotFound, false},
		{errors.New("NotFound"), IsNotFound, false}, // the text of an error is not parsed
		{nil, IsNotFound, false},
		{apiError("InvalidParameterValue", "Value (x) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"), IsProfilePropagating, true},
		{apiError("InvalidParameterValue", `IAM Instance Profile "arn:aws:iam::123456789012:instance-profile/x" has no associated IAM Roles`), IsProfilePropagating, true},
		{apiError("InvalidParameterValue", "Invalid instance type"), IsProfilePropagating, false},
		{apiError("InvalidParameterValue", "Invalid value '/dev/sdf' for unixDevice. Attachment point /dev/sdf is already in use"), IsDeviceInUse, true},
		{apiError("InvalidParameterValue", "Invalid value '/dev/sdf'"), IsDeviceInUse, false},
		{apiError("DependencyViolation", ""), IsInUse, true},
		{apiError("InvalidGroup.InUse", ""), IsInUse, true},
		{apiError("DeleteConflict", ""), IsInUse, true},
		{apiError("InsufficientInstanceCapacity", ""), IsNoCapacity, true},
		{apiError("IncorrectState", ""), IsIncorrectState, true},
		{apiError("OperationAborted", ""), IsBucketConflict, true},
	}
	for _, c := range cases {
		if got := c.is(c.err); got != c.want {
			t.Errorf("%v: got %v", c.err, got)
		}
	}
	if err := apiError("X", ""); Ignore(err, IsNotFound) == nil || Ignore(apiError("NoSuchKey", ""), IsNotFound) != nil || Ignore(nil, IsNotFound) != nil {
		t.Error("Ignore ignores the wrong errors")
	}
}
