package storage

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/internal/awsclient"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// withSnapshot returns a resource whose EC2 has one snapshot, in the state that the
// function returns, and refuses all other calls.
func withSnapshot(t *testing.T, state func() (state, progress string)) *volumeResource {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("Action") != "DescribeSnapshots" {
			http.Error(w, "<Response><Errors><Error><Code>Unexpected</Code></Error></Errors></Response>", http.StatusBadRequest)
			return
		}
		is, progress := state()
		started := time.Now().Add(-30 * time.Hour).UTC().Format(time.RFC3339)
		fmt.Fprintf(w, "<DescribeSnapshotsResponse><snapshotSet><item><snapshotId>snap-1</snapshotId><status>%s</status><progress>%s</progress>"+
			"<startTime>%s</startTime></item></snapshotSet></DescribeSnapshotsResponse>", is, progress, started)
	}))
	t.Cleanup(server.Close)
	client := awsclient.NewEC2(ec2.New(ec2.Options{Region: "eu-west-1", BaseEndpoint: &server.URL, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")}))
	return &volumeResource{base.Resource{ProviderData: &base.ProviderData{Client: &awsclient.Client{EC2: client}}}}
}

func TestTimeoutOfTheFinalSnapshotNamesItAndItsProgress(t *testing.T) {
	r := withSnapshot(t, func() (string, string) { return "pending", "37%" })
	m := volumeModel{ID: types.StringValue("vol-1"), SnapshotTimeout: types.StringValue("1s")}
	err := r.finalSnapshot(t.Context(), m, time.Time{})
	var at *base.AttributeError
	if !errors.As(err, &at) || at.Path.String() != "final_snapshot_timeout" {
		t.Fatalf("error %v is not one of final_snapshot_timeout", err)
	}
	for _, want := range []string{"snap-1", "vol-1", "pending (37%)", "the volume was kept", "destroy again"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q lacks %q", err, want)
		}
	}
}

func TestInterruptedFinalSnapshotIsContinued(t *testing.T) {
	calls := 0
	r := withSnapshot(t, func() (string, string) {
		if calls++; calls < 3 {
			return "pending", "99%"
		}
		return "completed", "100%"
	})
	m := volumeModel{ID: types.StringValue("vol-1"), SnapshotTimeout: types.StringValue("1h")}
	if err := r.finalSnapshot(t.Context(), m, time.Now().Add(-31*time.Hour)); err != nil { // CreateSnapshot would fail
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r = withSnapshot(t, func() (string, string) { cancel(); return "pending", "12%" })
	if err := r.awaitSnapshot(ctx, "vol-1", "snap-1", time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled wait returns %v", err)
	}
}

func TestFailedFinalSnapshotIsNotContinued(t *testing.T) {
	r := withSnapshot(t, func() (string, string) { return "error", "5%" })
	err := r.awaitSnapshot(t.Context(), "vol-1", "snap-1", time.Hour)
	if err == nil || !strings.Contains(err.Error(), "the snapshot failed") {
		t.Error(err)
	}
}

func TestIsFinal(t *testing.T) {
	now := time.Now()
	ago := func(hours int) time.Time { return now.Add(-time.Duration(hours) * time.Hour) }
	for _, tc := range []struct {
		state             ec2types.SnapshotState
		started, attached time.Time
		want              bool
	}{
		{ec2types.SnapshotStateCompleted, ago(2), ago(3), true},
		{ec2types.SnapshotStateCompleted, ago(2), ago(1), false},
		{ec2types.SnapshotStateCompleted, ago(25), ago(30), false},
		{ec2types.SnapshotStatePending, ago(25), ago(30), true},
		{ec2types.SnapshotStatePending, ago(25), ago(24), false},
		{ec2types.SnapshotStateError, ago(2), ago(3), false},
	} {
		s := ec2types.Snapshot{State: tc.state, StartTime: aws.Time(tc.started)}
		if got := isFinal(s, tc.attached, now); got != tc.want {
			t.Errorf("%s, started %s, attached %s: %v", tc.state, tc.started, tc.attached, got)
		}
	}
}
