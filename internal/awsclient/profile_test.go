package awsclient

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeProfiles makes the AWS configuration of the test the only source of credentials.
func writeProfiles(t *testing.T, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"AWS_CONFIG_FILE": file, "AWS_SHARED_CREDENTIALS_FILE": file + ".none", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_PROFILE": "", "AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_STS": ""} {
		t.Setenv(name, value)
	}
}

const roleProfile = `
[profile base]
aws_access_key_id = AKIAIOSFODNN7EXAMPLE
aws_secret_access_key = example
[profile deploy]
role_arn = arn:aws:iam::123456789012:role/deploy
source_profile = base
`

func TestTheRoleOfAProfileIsAssumedAtTheGivenEndpoint(t *testing.T) {
	for _, from := range []string{"endpoints.sts", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS"} {
		t.Run(from, func(t *testing.T) {
			assumed := make(chan string, 10)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				assumed <- string(body)
				w.WriteHeader(http.StatusForbidden)
			}))
			defer server.Close()
			writeProfiles(t, roleProfile)
			settings := Settings{Region: "eu-west-1", Profile: "deploy", MaxRetries: 1}
			if from == "endpoints.sts" {
				settings.Endpoints.STS = server.URL
			} else {
				t.Setenv(from, server.URL)
			}
			if _, err := New(t.Context(), settings); err == nil {
				t.Error("New succeeded although the role was refused")
			}
			select {
			case body := <-assumed:
				if !strings.Contains(body, "Action=AssumeRole") {
					t.Errorf("the endpoint got %q", body)
				}
			default:
				t.Error("the endpoint was not called")
			}
		})
	}
}

func TestCredentialErrorsSayWhatToDo(t *testing.T) {
	writeProfiles(t, roleProfile)
	for name, want := range map[string][]string{
		"nope": {`no profile "nope" in`, os.Getenv("AWS_CONFIG_FILE"), "aws configure --profile nope"},
		"":     {"https://docs.aws.amazon.com/", "providing credentials"},
	} {
		_, err := New(t.Context(), Settings{Region: "eu-west-1", Profile: name})
		for _, text := range want {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("profile %q: the error is %v, without %q", name, err, text)
			}
		}
	}
}
