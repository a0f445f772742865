package awsclient

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
)

// encodedMessage is the text in which EC2 hides which permission is missing (EC2 API
// reference, "Error codes", UnauthorizedOperation).
var encodedMessage = regexp.MustCompile(`Encoded authorization failure message:\s*(\S+)`)

// explainDenials adds to an error with an encoded message how to decode it.
func explainDenials(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("XeroOpsDenials",
		func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			out, metadata, err := next.HandleInitialize(ctx, in)
			var api smithy.APIError
			if errors.As(err, &api) {
				if m := encodedMessage.FindStringSubmatch(api.ErrorMessage()); m != nil {
					err = fmt.Errorf("%w\n\nThe missing permission is named by: aws sts decode-authorization-message --query DecodedMessage --output text --encoded-message %s", err, m[1])
				}
			}
			return out, metadata, err
		}), middleware.Before)
}
