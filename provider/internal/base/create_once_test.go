package base

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

func answered(status int, code string) error {
	return &awshttp.ResponseError{ResponseError: &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: &smithy.GenericAPIError{Code: code}}}
}

// unanswered is the SDK's error for a closed connection.
var unanswered = &awshttp.ResponseError{ResponseError: &smithyhttp.ResponseError{
	Response: &smithyhttp.Response{Response: &http.Response{}}, Err: &smithyhttp.RequestSendError{Err: io.EOF}}}

func TestCreateOnceCreatesOneResource(t *testing.T) {
	for name, tc := range map[string]struct {
		fails       error
		tookEffect  bool
		wantCreates int
		wantErr     bool
	}{
		"answered":                {nil, true, 1, false},
		"refused":                 {answered(400, "InvalidVpc.Range"), false, 1, true},
		"throttled to the end":    {answered(503, "RequestLimitExceeded"), false, 1, true},
		"lost after it was made":  {unanswered, true, 1, false},
		"lost before it was made": {io.ErrUnexpectedEOF, false, 2, false},
		"server error, made":      {answered(500, "InternalError"), true, 1, false},
		"server error, not made":  {answered(500, "InternalError"), false, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			creates, things := 0, 0
			thing := "vpc-1"
			got, err := CreateOnce(t.Context(),
				func(context.Context) (*string, error) {
					if things == 0 {
						return nil, nil
					}
					return &thing, nil
				},
				func(_ context.Context, once ...func(*ec2.Options)) (*string, error) {
					creates++
					if creates > 1 || tc.fails == nil || tc.tookEffect {
						things++
					}
					if creates == 1 && tc.fails != nil {
						return nil, tc.fails
					}
					return &thing, nil
				})
			if creates != tc.wantCreates || (err != nil) != tc.wantErr || !tc.wantErr && (things != 1 || got != &thing) {
				t.Errorf("%d creates, %d things, %v, %v", creates, things, got, err)
			}
		})
	}
}

func TestCreateOnceDoesNotRetryWhenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	creates := 0
	_, err := CreateOnce(ctx, func(context.Context) (*string, error) { t.Error("searched after the cancellation"); return nil, nil },
		func(ctx context.Context, _ ...func(*ec2.Options)) (*string, error) {
			creates++
			cancel()
			return nil, ctx.Err()
		})
	if creates != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d creates, %v", creates, err)
	}
}

func TestCreateOnceReturnsTheErrorOfTheSearch(t *testing.T) {
	refused := errors.New("denied")
	_, err := CreateOnce(t.Context(), func(context.Context) (*string, error) { return nil, refused },
		func(context.Context, ...func(*ec2.Options)) (*string, error) { return nil, io.ErrUnexpectedEOF })
	if !errors.Is(err, refused) {
		t.Errorf("error is %v", err)
	}
}
