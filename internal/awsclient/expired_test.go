package awsclient

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/xeroops/xeroops/internal/awswait"
)

func TestAnExpiredRequestIsNotRepeatedAndNamesTheCause(t *testing.T) {
	var calls atomic.Int32
	date := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.Header().Set("Date", date)
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`<Response><Errors><Error><Code>RequestExpired</Code><Message>Request has expired.</Message></Error></Errors><RequestID>1</RequestID></Response>`))
	}))
	defer server.Close()
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true"} {
		t.Setenv(name, value)
	}
	client, err := New(t.Context(), Settings{Region: "eu-west-1", Endpoints: Endpoints{EC2: server.URL, STS: "http://127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	for ahead, want := range map[time.Duration]string{
		0: "credentials have expired", time.Hour: "clock of this machine differs from AWS's by 1h0m", -time.Hour: "Synchronize it",
	} {
		calls.Store(0)
		date = time.Now().Add(-ahead).UTC().Format(http.TimeFormat)
		_, err := client.EC2.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{})
		if !awswait.HasCode(err, "RequestExpired") || !strings.Contains(err.Error(), want) {
			t.Errorf("clock ahead by %s: got %v, want %q", ahead, err, want)
		}
		if n := calls.Load(); n != 1 {
			t.Errorf("clock ahead by %s: %d calls, want 1", ahead, n)
		}
	}
}
