package awswait

import (
	"errors"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
)

// OutcomeUnknown reports whether a failed call may have taken effect all the
// same: no answer arrived, its body could not be read, or the server failed
// while it worked on the call. A caller that creates something has to search
// for it before it tries again.
//
// The HTTP status decides. smithy's ErrorFault does not serve: EC2 models no
// errors, so the SDK reports its 500s, like every other error of EC2, with an
// unknown fault.
func OutcomeUnknown(err error) bool {
	var unsent *smithy.SerializationError
	if err == nil || errors.As(err, &unsent) || IsThrottled(err) || isCapacityError(err) {
		return false
	}
	var response *awshttp.ResponseError
	if !errors.As(err, &response) {
		return true
	}
	// The SDK reports a connection that was cut as a response of status 0, and
	// an answer that it cannot parse with the status that came with it.
	status := response.HTTPStatusCode()
	return status < http.StatusMultipleChoices || status >= http.StatusInternalServerError
}

// IsThrottled reports whether AWS refused the call because there were too many.
// EC2 and S3 do so with HTTP 503, but carry out nothing.
func IsThrottled(err error) bool {
	return retry.IsErrorThrottles(retry.DefaultThrottles).IsErrorThrottle(err).Bool()
}

// isCapacityError reports whether AWS refused the call for want of capacity.
// EC2 lists these codes (InsufficientInstanceCapacity, InsufficientVolumeCapacity
// and others) among its server errors and answers them with HTTP 500.
func isCapacityError(err error) bool {
	code := Code(err)
	return strings.HasPrefix(code, "Insufficient") && strings.HasSuffix(code, "Capacity")
}
