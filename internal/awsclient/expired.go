package awsclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go/middleware"

	"github.com/xeroops/xeroops/internal/awswait"
)

// toleratedSkew is by how much the time of a signed request may differ from AWS's (AWS
// Signature Version 4: five minutes).
const toleratedSkew = 5 * time.Minute

// explainExpiry adds to the error of an expired request whether the clock of this machine
// is wrong or the credentials have expired: EC2 returns RequestExpired in both cases.
func explainExpiry(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("XeroOpsExpiry",
		func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			out, metadata, err := next.HandleInitialize(ctx, in)
			if awswait.HasCode(err, "RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture", "ExpiredToken", "ExpiredTokenException") {
				err = fmt.Errorf("%w\n\n%s", err, expiry(err, time.Now()))
			}
			return out, metadata, err
		}), middleware.Before)
}

// expiry returns the cause of an expired request and the way out, by the Date header of
// the response.
func expiry(err error, now time.Time) string {
	var response *awshttp.ResponseError
	if errors.As(err, &response) && response.Response != nil {
		theirs, parseErr := http.ParseTime(response.Response.Header.Get("Date"))
		if skew := now.Sub(theirs); parseErr == nil && skew.Abs() > toleratedSkew {
			return fmt.Sprintf("The clock of this machine differs from AWS's by %s: it is %s here and %s at AWS. Synchronize it, for example with chrony.",
				skew.Abs().Round(time.Second), now.UTC().Format(time.RFC3339), theirs.UTC().Format(time.RFC3339))
		}
	}
	return "The credentials have expired: renew them, for example with aws sso login, and run the command again."
}
