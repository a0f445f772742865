package fixups_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
)

func TestLaunchTimeIsRenewedWhenAStoppedInstanceStarts(t *testing.T) {
	f := newFixture(t, fixups.Options{PendingFor: time.Nanosecond, StoppingFor: time.Nanosecond})
	id := f.run("10.0.2.10")
	start := func() {
		_, err := f.ec2.StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: []string{id}})
		f.ok(err)
	}
	launched := *f.instances()[0].LaunchTime
	start()
	if got := *f.instances()[0].LaunchTime; !got.Equal(launched) {
		t.Errorf("launched %s, and %s after the start of the running instance", launched, got)
	}
	_, err := f.ec2.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: []string{id}})
	f.ok(err)
	stopped := time.Now().Truncate(time.Millisecond)
	start()
	if got := *f.instances()[0].LaunchTime; got.Before(stopped) {
		t.Errorf("launched %s, before it was stopped at %s", got, stopped)
	}
}
