package awswait

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
)

// Code returns AWS's code of an error, or "" if AWS did not respond.
func Code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// HasCode reports whether AWS responded with one of the codes.
func HasCode(err error, codes ...string) bool {
	code := Code(err)
	return code != "" && slices.Contains(codes, code)
}

// RequestID returns AWS's id of the request, or "".
func RequestID(err error) string {
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		return response.ServiceRequestID()
	}
	return ""
}

// IsNotFound reports whether the requested resource does not exist (or, just
// after its creation, does not exist yet): EC2's Invalid….NotFound, IAM's
// NoSuchEntity, S3's NoSuch… and a bare 404.
func IsNotFound(err error) bool {
	code := Code(err)
	if code == "NotFound" || strings.HasSuffix(code, ".NotFound") || strings.HasSuffix(code, ".Unknown") || strings.HasPrefix(code, "NoSuch") {
		return true
	}
	var response *awshttp.ResponseError
	return errors.As(err, &response) && response.HTTPStatusCode() == http.StatusNotFound
}

// IsInUse reports whether a resource cannot be deleted because another still uses it.
func IsInUse(err error) bool {
	return HasCode(err, "DependencyViolation", "InvalidGroup.InUse", "InvalidIPAddress.InUse", "AuthFailure.InUse",
		"VolumeInUse", "DeleteConflict", "InvalidAddress.Locked")
}

// IsIncorrectState reports whether a resource is still changing, so that attaching
// or detaching it has to wait.
func IsIncorrectState(err error) bool {
	return HasCode(err, "IncorrectState", "IncorrectInstanceState", "InvalidInstanceID", "IncorrectModificationState")
}

// IsDeviceInUse reports whether the device name of a volume that was just detached
// is still taken. EC2 has no error code for it.
func IsDeviceInUse(err error) bool {
	return HasCode(err, "InvalidParameterValue") && strings.Contains(err.Error(), "is already in use")
}

// IsProfilePropagating reports whether EC2 does not know a new instance profile, or
// the role in it, yet. EC2 has no error codes for the two: the texts are those on
// which hashicorp/aws retries.
func IsProfilePropagating(err error) bool {
	return HasCode(err, "InvalidParameterValue") && (strings.Contains(err.Error(), "Invalid IAM Instance Profile") ||
		strings.Contains(err.Error(), "has no associated IAM Roles"))
}

// IsRejectedCredentials reports whether AWS rejected the credentials or the time of the
// request, so that a repetition fails too. EC2 returns RequestExpired for temporary
// credentials that have expired, and if the clock of this machine is wrong.
func IsRejectedCredentials(err error) bool {
	return HasCode(err, "RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture", "ExpiredToken", "ExpiredTokenException", "AuthFailure",
		"InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSignatureException")
}

// IsBucketConflict reports whether another operation on the bucket is in progress.
func IsBucketConflict(err error) bool { return HasCode(err, "OperationAborted") }

// IsNoCapacity reports whether the zone currently lacks capacity for the instance.
func IsNoCapacity(err error) bool {
	return HasCode(err, "InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientReservedInstanceCapacity")
}

// Ignore returns nil if accept accepts the error, such as IsNotFound for a delete,
// and err otherwise.
func Ignore(err error, accept func(error) bool) error {
	if err != nil && accept(err) {
		return nil
	}
	return err
}
