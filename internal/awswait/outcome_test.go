package awswait

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"
)

// TestOutcomeUnknown uses the errors that the SDK returns for a server's responses.
func TestOutcomeUnknown(t *testing.T) {
	ec2Error := func(code string) string {
		return "<Response><Errors><Error><Code>" + code + "</Code><Message>no</Message></Error></Errors></Response>"
	}
	iamError := func(code string) string {
		return "<ErrorResponse><Error><Code>" + code + "</Code><Message>no</Message></Error></ErrorResponse>"
	}
	hangUp := func(http.ResponseWriter) { panic(http.ErrAbortHandler) }
	answer := func(status int, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	cutShort := func(w http.ResponseWriter) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "<CreateVpcResponse><vpc><vpcId>vpc-")
	}
	for name, c := range map[string]struct {
		call   func(context.Context, aws.Config) error
		answer func(http.ResponseWriter)
		want   bool
	}{
		"EC2 answers":                      {createVPC, answer(200, "<CreateVpcResponse><vpc><vpcId>vpc-1</vpcId></vpc></CreateVpcResponse>"), false},
		"EC2 rejects":                      {createVPC, answer(400, ec2Error("InvalidVpc.Range")), false},
		"EC2 does not allow":               {createVPC, answer(403, ec2Error("UnauthorizedOperation")), false},
		"EC2 throttles with 503":           {createVPC, answer(503, ec2Error("RequestLimitExceeded")), false},
		"EC2 has no capacity, 500":         {createVPC, answer(500, ec2Error("InsufficientInstanceCapacity")), false},
		"EC2 fails, 500":                   {createVPC, answer(500, ec2Error("InternalError")), true},
		"EC2 is unavailable, 503":          {createVPC, answer(503, ec2Error("Unavailable")), true},
		"a proxy times out, 504 with HTML": {createVPC, answer(504, "<html>gateway time-out</html>"), true},
		"the connection is cut":            {createVPC, hangUp, true},
		"the answer is cut short":          {createVPC, cutShort, true},
		"IAM rejects":                      {createRole, answer(409, iamError("EntityAlreadyExists")), false},
		"IAM fails with a modelled error":  {createRole, answer(500, iamError("ServiceFailure")), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { c.answer(w) }))
			t.Cleanup(server.Close)
			cfg := aws.Config{Region: "eu-west-1", BaseEndpoint: &server.URL, RetryMaxAttempts: 1,
				Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")}
			err := c.call(t.Context(), cfg)
			if got := OutcomeUnknown(err); got != c.want {
				t.Errorf("OutcomeUnknown is %v, want %v, for: %v", got, c.want, err)
			}
		})
	}
}

func TestOutcomeUnknownWithoutAResponse(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{fmt.Errorf("create: %w", &smithy.SerializationError{Err: errors.New("no such field")}), false}, // never sent
		{io.ErrUnexpectedEOF, true},
		{fmt.Errorf("create: %w", context.Canceled), true}, // it may have been sent
		{context.DeadlineExceeded, true},
	} {
		if got := OutcomeUnknown(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

func createVPC(ctx context.Context, cfg aws.Config) error {
	_, err := ec2.NewFromConfig(cfg).CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	return err
}

func createRole(ctx context.Context, cfg aws.Config) error {
	_, err := iam.NewFromConfig(cfg).CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("app"), AssumeRolePolicyDocument: aws.String("{}")})
	return err
}
