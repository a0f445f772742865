package boot

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws"
)

func TestReportIsWrittenOnAChangeOnly(t *testing.T) {
	f := newFixture(t)
	f.publish(t)
	await(t, f.inBackground(t))
	f.status.setReady(t.Context())
	at := func() string {
		out, err := f.S3.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &f.Instance.UploadsBucket, Key: aws.String(f.Instance.Layout().Report("app1"))})
		check(t, err)
		return aws.ToString(out.ETag)
	}
	first := at()
	check(t, f.front.Inject(fakeaws.Fault{Service: "s3", Action: "PutObject", Effect: fakeaws.ServerError, Times: -1}))
	for range 3 {
		f.status.setServices([]cluster.ServiceReport{})
		f.status.setReady(t.Context())
	}
	f.front.ClearFaults()
	if f.status.object.pause != nil {
		t.Error("an unchanged report was written")
	}
	f.status.setServices([]cluster.ServiceReport{{Name: "nginx", State: "active"}})
	f.status.setReady(t.Context())
	if at() == first {
		t.Error("a changed report was not written")
	}
}

func TestReportsOfOneStateAreRateLimited(t *testing.T) {
	f := newFixture(t)
	f.publish(t)
	await(t, f.inBackground(t))
	f.status.object.Interval = time.Hour
	f.status.setError(t.Context(), "first") // begins the interval
	f.status.setError(t.Context(), "second")
	if report := f.report(t); report.Error != "first" {
		t.Errorf("within the interval: %+v, want the first error", report)
	}
	f.status.setReady(t.Context())
	if report := f.report(t); report.State != cluster.BootReady {
		t.Errorf("with another state: %+v, want it reported at once", report)
	}
}

func TestNoReportIsWrittenForAnotherInstance(t *testing.T) {
	f := newFixture(t)
	f.metadata.Address = "10.0.2.77"
	if err := f.identify(t.Context()); err == nil {
		t.Fatal("identify accepted the user data of another node")
	}
	f.status.setError(t.Context(), "anything")
	if report := f.report(t); report != nil {
		t.Errorf("report %+v was written", report)
	}
}

func TestSecretsAreRedacted(t *testing.T) {
	f := newFixture(t)
	f.publish(t)
	await(t, f.inBackground(t))
	f.status.setServices([]cluster.ServiceReport{{Name: "redis", State: "failed", Detail: "AUTH node node-password-1 failed"}})
	f.status.setError(t.Context(), "redis: last lines of its journal:\nbad user pa$$word \"2\"")
	report := f.report(t)
	if text := report.Error + report.Services[0].Detail; strings.Contains(text, "node-password-1") || strings.Contains(text, "pa$$word") {
		t.Errorf("the report has %q", text)
	}
}

func TestNodeFailsAfterFiveUnreadyMinutes(t *testing.T) {
	for _, c := range []struct {
		current cluster.BootState
		unready time.Duration
		want    cluster.BootState
	}{
		{cluster.BootBooting, 299 * time.Second, cluster.BootBooting},
		{cluster.BootBooting, 300 * time.Second, cluster.BootFailed},
		{cluster.BootReady, 10 * time.Second, cluster.BootReady}, // a restart
		{cluster.BootReady, 10 * time.Minute, cluster.BootFailed},
		{cluster.BootFailed, 10 * time.Minute, cluster.BootFailed},
	} {
		if got := unreadyState(c.current, c.unready); got != c.want {
			t.Errorf("%s, unready for %s: %s, want %s", c.current, c.unready, got, c.want)
		}
	}
}

func TestFailedBootCanBecomeReady(t *testing.T) {
	f := newFixture(t)
	f.publish(t)
	await(t, f.inBackground(t))
	f.status.lastReady = f.status.lastReady.Add(-failureTimeout)
	f.status.setError(t.Context(), "nginx: unit nginx.service is failed")
	if report := f.report(t); report.State != cluster.BootFailed || report.ReadyAt != nil {
		t.Errorf("after five minutes: %+v", report)
	}
	f.status.setReady(t.Context())
	if report := f.report(t); report.State != cluster.BootReady || report.ReadyAt == nil || report.Error != "" {
		t.Errorf("once the node is ready: %+v", report)
	}
}

func TestStartFollowsAClockThatWasSet(t *testing.T) {
	recorded := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	if got := correctStart(recorded, recorded.Add(10*time.Second+300*time.Millisecond), 10*time.Second); !got.Equal(recorded) {
		t.Errorf("with an unchanged clock: %s", got)
	}
	if got := correctStart(recorded, recorded.Add(time.Hour+10*time.Second), 10*time.Second); !got.Equal(recorded.Add(time.Hour)) {
		t.Errorf("with a clock set forward by an hour: %s", got)
	}
}
