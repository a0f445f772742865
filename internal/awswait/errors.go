package awswait

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
)

// Code returns AWS's code of an error, or "" where AWS did not answer.
func Code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// HasCode says whether AWS answered with one of the codes.
func HasCode(err error, codes ...string) bool {
	code := Code(err)
	return code != "" && slices.Contains(codes, code)
}

// RequestID returns the id under which AWS can look the call up, or "".
func RequestID(err error) string {
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		return response.ServiceRequestID()
	}
	return ""
}

// IsNotFound says whether the thing asked for does not exist (or, just after
// its creation, does not exist yet): EC2's Invalid….NotFound, IAM's
// NoSuchEntity, S3's NoSuch… and a bare 404.
func IsNotFound(err error) bool {
	code := Code(err)
	if code == "NotFound" || strings.HasSuffix(code, ".NotFound") || strings.HasSuffix(code, ".Unknown") || strings.HasPrefix(code, "NoSuch") {
		return true
	}
	var response *awshttp.ResponseError
	return errors.As(err, &response) && response.HTTPStatusCode() == http.StatusNotFound
}

// IsInUse says whether a thing cannot be deleted because another still uses it.
func IsInUse(err error) bool {
	return HasCode(err, "DependencyViolation", "InvalidGroup.InUse", "InvalidIPAddress.InUse", "AuthFailure.InUse",
		"VolumeInUse", "DeleteConflict", "InvalidAddress.Locked")
}

// IsIncorrectState says whether a thing is still changing, so that attaching or
// detaching it has to wait.
func IsIncorrectState(err error) bool {
	return HasCode(err, "IncorrectState", "IncorrectInstanceState", "InvalidInstanceID", "IncorrectModificationState")
}

// IsProfilePropagating says whether EC2 does not know a new instance profile yet.
func IsProfilePropagating(err error) bool {
	return HasCode(err, "InvalidParameterValue") && strings.Contains(err.Error(), "Invalid IAM Instance Profile")
}

// IsBucketConflict says whether another operation on the bucket is under way.
func IsBucketConflict(err error) bool { return HasCode(err, "OperationAborted") }

// IsNoCapacity says whether AWS has no room for the instance in that zone now.
func IsNoCapacity(err error) bool {
	return HasCode(err, "InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientReservedInstanceCapacity")
}

// Ignore returns nil where accept says that the error means the work is done,
// such as IsNotFound on a delete.
func Ignore(err error, accept func(error) bool) error {
	if err != nil && accept(err) {
		return nil
	}
	return err
}
