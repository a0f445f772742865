package cluster

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func TestAReportOfAnEarlierInstanceOrStartDoesNotCount(t *testing.T) {
	launched := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	now := instance{Instance: ec2types.Instance{InstanceId: aws.String("i-1"), LaunchTime: &launched}}
	for name, c := range map[string]struct {
		report knownReport
		counts bool
	}{
		"of this start":          {knownReport{InstanceID: "i-1", StartedAt: launched.Add(10 * time.Second)}, true},
		"of a clock that lags":   {knownReport{InstanceID: "i-1", StartedAt: launched.Add(-10 * time.Second)}, true},
		"of an earlier start":    {knownReport{InstanceID: "i-1", StartedAt: launched.Add(-time.Hour)}, false},
		"of an earlier instance": {knownReport{InstanceID: "i-0", StartedAt: launched.Add(10 * time.Second)}, false},
		"without a time":         {knownReport{InstanceID: "i-1"}, false},
	} {
		if got := c.report.isOf(now); got != c.counts {
			t.Errorf("a report %s counts: %v", name, got)
		}
	}
}

func TestAReportThatWasReadyBeforeTheNodeWasStoppedIsReadAgain(t *testing.T) {
	launched := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	before := newReportCache()
	before.add("app1", knownReport{ETag: "e", InstanceID: "i-1", State: "ready", StartedAt: launched})
	restored := newReportCache()
	restored.set(before.all())
	i := instance{Instance: ec2types.Instance{InstanceId: aws.String("i-1"), LaunchTime: &launched}}
	if !restored.isReady("app1", "e", i) {
		t.Error("a report that is as it was is read again")
	}
	i.LaunchTime = aws.Time(launched.Add(time.Hour))
	if restored.isReady("app1", "e", i) {
		t.Error("a node that was started since counts as ready by its old report")
	}
}
