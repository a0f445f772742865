package awsclient

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/xeroops/xeroops/internal/awswait"
)

func TestEncodedDenialNamesTheCommandThatDecodesIt(t *testing.T) {
	answer := func(message string) string {
		return `<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>` + message + `</Message></Error></Errors><RequestID>1</RequestID></Response>`
	}
	message := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(answer(message)))
	}))
	defer server.Close()
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true"} {
		t.Setenv(name, value)
	}
	client, err := New(t.Context(), Settings{Region: "eu-west-1", Endpoints: Endpoints{EC2: server.URL, STS: server.URL}})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"You are not authorized to perform this operation. Encoded authorization failure message: abc_DEF-123": "aws sts decode-authorization-message --query DecodedMessage --output text --encoded-message abc_DEF-123",
		"You are not authorized to perform this operation.":                                                    "",
	} {
		message = text
		_, err := client.EC2.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{})
		if !awswait.HasCode(err, "UnauthorizedOperation") || awswait.RequestID(err) != "1" {
			t.Errorf("the error lost its code or request id: %v", err)
		}
		if _, hint, _ := strings.Cut(err.Error(), "named by: "); hint != want {
			t.Errorf("%s: the hint is %q, want %q", text, hint, want)
		}
	}
}
