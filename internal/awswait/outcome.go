package awswait

import (
	"errors"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
)

// OutcomeUnknown reports whether a failed call may have taken effect: there was no
// response, its body could not be read, or the server failed while processing the
// call. Before it retries, a caller that creates a resource has to search for it.
//
// The HTTP status decides. smithy's ErrorFault is of no use: EC2 does not model its
// errors, so the SDK gives all of them, including 500s, an unknown fault.
func OutcomeUnknown(err error) bool {
	var unsent *smithy.SerializationError
	if err == nil || errors.As(err, &unsent) || IsThrottled(err) || isCapacityError(err) {
		return false
	}
	var response *awshttp.ResponseError
	if !errors.As(err, &response) {
		return true
	}
	// The SDK reports a closed connection as a response with status 0, and a
	// response that it cannot parse with the status of that response.
	status := response.HTTPStatusCode()
	return status < http.StatusMultipleChoices || status >= http.StatusInternalServerError
}

// IsThrottled reports whether AWS rejected the call because of its rate limits. EC2
// and S3 do so with HTTP 503, and do not carry out the call.
func IsThrottled(err error) bool {
	return retry.IsErrorThrottles(retry.DefaultThrottles).IsErrorThrottle(err).Bool()
}

// isCapacityError reports whether AWS rejected the call for lack of capacity. EC2
// lists these codes (InsufficientInstanceCapacity, InsufficientVolumeCapacity and
// others) among its server errors and returns HTTP 500.
func isCapacityError(err error) bool {
	code := Code(err)
	return strings.HasPrefix(code, "Insufficient") && strings.HasSuffix(code, "Capacity")
}
