package boot

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/hashicorp/go-hclog"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/node/internal/backoff"
)

// status is how the boot goes: it is put into the report at each change.
type status struct {
	report cluster.BootReport
	began  time.Time
	wellAt time.Time // when the node was last ready, or began to boot
	hidden []string  // values that must never be reported
	object *object
	log    hclog.Logger
}

// going is that nothing is in the way, and nothing is ready yet. A failed boot
// says why until then.
func (s *status) going(ctx context.Context) {
	if s.report.State != cluster.BootFailed {
		s.report.Error = ""
	}
	s.put(ctx)
}

// trouble is that the node is not ready because of what.
func (s *status) trouble(ctx context.Context, what string) {
	s.report.Error = s.hide(what)
	s.report.State = stateInTrouble(s.report.State, time.Since(s.wellAt))
	s.put(ctx)
}

// ready is that every service does its work.
func (s *status) ready(ctx context.Context) {
	now := time.Now()
	s.wellAt = now
	s.report.State, s.report.Error = cluster.BootReady, ""
	if s.report.ReadyAt == nil {
		at := now.UTC().Truncate(time.Millisecond)
		s.report.ReadyAt = &at
		s.log.Info("ready", "elapsed", now.Sub(s.began).Round(time.Millisecond).String())
	}
	s.put(ctx)
}

// stateInTrouble is the state of a node that has not been ready for so long. A
// service that is restarted does not make a node that was ready less so.
func stateInTrouble(was cluster.BootState, lasting time.Duration) cluster.BootState {
	if lasting >= patience {
		return cluster.BootFailed
	}
	return was
}

// services notes how the services are.
func (s *status) services(now []cluster.ServiceReport) {
	for n := range now {
		now[n].Detail = s.hide(now[n].Detail)
	}
	s.report.Services = now
}

// shortest is how long a value is at least to be hidden: shorter ones would
// blacken half the text, and are no secrets.
const shortest = 6

// hide takes the values of credentials out of a text.
func (s *status) hide(text string) string {
	for _, secret := range s.hidden {
		if len(secret) >= shortest {
			text = strings.ReplaceAll(text, secret, "(hidden)")
		}
	}
	return text
}

func (s *status) put(ctx context.Context) {
	if s.report.InstanceID == "" { // nobody could tell whose report it is
		return
	}
	s.report.StartedAt = corrected(s.report.StartedAt, time.Now(), time.Since(s.began))
	s.object.put(ctx, s.report)
}

// corrected is when the boot started by the clock of now: chrony may have set
// it since, and whoever reads the report compares.
func corrected(was, now time.Time, running time.Duration) time.Time {
	started := now.Add(-running).UTC().Truncate(time.Millisecond)
	if started.Sub(was).Abs() < time.Second {
		return was
	}
	return started
}

// object is the report in S3.
type object struct {
	S3          *s3.Client
	Bucket, Key string
	Log         hclog.Logger
	// Every is the pause between reports of one state: what restarts over and
	// over changes its words twice a second.
	Every time.Duration

	written []byte
	state   cluster.BootState
	after   time.Time // not to be tried before
	pause   *backoff.Backoff
}

// putTimeout bounds a try to write the report, which has a kilobyte or two.
const putTimeout = 10 * time.Second

// put writes a report if it is another than the last that was written. One
// that can't be written, or is too early, is written with a later call.
func (o *object) put(ctx context.Context, report cluster.BootReport) {
	text, err := json.MarshalIndent(report, "", "  ")
	early := time.Now().Before(o.after) && (o.pause != nil || report.State == o.state)
	if err != nil || bytes.Equal(text, o.written) || early {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	_, err = o.S3.PutObject(ctx, &s3.PutObjectInput{Bucket: &o.Bucket, Key: &o.Key, Body: bytes.NewReader(text), ContentType: aws.String("application/json")})
	if err != nil {
		if o.pause == nil {
			o.pause = backoff.New(time.Second, 30*time.Second)
		}
		o.after = time.Now().Add(o.pause.Next())
		o.Log.Error("the boot report can't be written, will be tried again", "object", fmt.Sprintf("s3://%s/%s", o.Bucket, o.Key),
			"state", string(report.State), "report_error", report.Error, "error", err)
		return
	}
	o.written, o.state, o.pause = text, report.State, nil
	o.after = time.Now().Add(o.Every)
	o.Log.Info("reported", "state", string(report.State), "error", report.Error)
}

// bootID is the kernel's, new at each boot.
func bootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id)), err
}
