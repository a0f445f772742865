package boot

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/hashicorp/go-hclog"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/pki"
	"github.com/xeroops/xeroops/node/internal/backoff"
)

// status is the state of the boot, which is written to the report at each change.
type status struct {
	report    cluster.BootReport
	began     time.Time
	lastReady time.Time // when the node was last ready, or the beginning of the boot
	secrets   []string  // values that must never be reported
	keys      []string  // lines of private keys, neither
	object    *object
	log       hclog.Logger
}

// clearError records that a step has succeeded. A failed boot keeps its error until the
// node is ready.
func (s *status) clearError(ctx context.Context) {
	if s.report.State != cluster.BootFailed {
		s.report.Error = ""
	}
	s.put(ctx)
}

// setError records why the node is not ready.
func (s *status) setError(ctx context.Context, reason string) {
	s.report.Error = s.redact(reason)
	s.report.State = unreadyState(s.report.State, time.Since(s.lastReady))
	s.put(ctx)
}

// setReady records that every service is healthy.
func (s *status) setReady(ctx context.Context) {
	now := time.Now()
	s.lastReady = now
	s.report.State, s.report.Error = cluster.BootReady, ""
	if s.report.ReadyAt == nil {
		at := now.UTC().Truncate(time.Millisecond)
		s.report.ReadyAt = &at
		s.log.Info("ready", "elapsed", now.Sub(s.began).Round(time.Millisecond).String())
	}
	s.put(ctx)
}

// unreadyState returns the state of a node that has been unready for a time. A node stays
// ready while a service restarts.
func unreadyState(current cluster.BootState, unready time.Duration) cluster.BootState {
	if unready >= failureTimeout {
		return cluster.BootFailed
	}
	return current
}

// setServices records the states of the services.
func (s *status) setServices(services []cluster.ServiceReport) {
	for n := range services {
		services[n].Detail = s.redact(services[n].Detail)
	}
	s.report.Services = services
}

// setCertificates records the certificates that the node uses. Their keys are secrets.
func (s *status) setCertificates(reports map[string]cluster.CertificateReport, certificates map[pki.Use]string) {
	s.report.Certificates = reports
	s.keys = nil
	for _, content := range certificates {
		_, key, _ := strings.Cut(content, "-----BEGIN PRIVATE KEY-----")
		s.keys = append(s.keys, strings.Fields(strings.TrimSuffix(strings.TrimSpace(key), "-----END PRIVATE KEY-----"))...)
	}
}

// minSecretLength is the length from which on values are redacted. Shorter ones are no
// secrets and may occur anywhere.
const minSecretLength = 6

// redact replaces the values of credentials in a text.
func (s *status) redact(text string) string {
	for _, secret := range slices.Concat(s.secrets, s.keys) {
		if len(secret) >= minSecretLength {
			text = strings.ReplaceAll(text, secret, "(hidden)")
		}
	}
	return text
}

func (s *status) put(ctx context.Context) {
	if s.report.InstanceID == "" { // the report could be mistaken for another instance's
		return
	}
	s.report.StartedAt = correctStart(s.report.StartedAt, time.Now(), time.Since(s.began))
	s.object.put(ctx, s.report)
}

// correctStart returns when the boot started according to the current clock, which chrony
// may have set since. Readers of the report compare it with times of their own.
func correctStart(recorded, now time.Time, running time.Duration) time.Time {
	started := now.Add(-running).UTC().Truncate(time.Millisecond)
	if started.Sub(recorded).Abs() < time.Second {
		return recorded
	}
	return started
}

// object is the report in S3.
type object struct {
	S3          *s3.Client
	Bucket, Key string
	Log         hclog.Logger
	// Interval is the minimum time between reports with the same state: the details of a
	// service that keeps restarting change twice a second.
	Interval time.Duration

	written []byte
	state   cluster.BootState
	after   time.Time // of the next attempt
	pause   *backoff.Backoff
}

// putTimeout limits an attempt to write the report, which has a kilobyte or two.
const putTimeout = 10 * time.Second

// put writes a report that differs from the last one written. After a failure, or before
// the interval has passed, a later call writes it.
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
		o.Log.Error("writing the boot report failed, retrying", "object", fmt.Sprintf("s3://%s/%s", o.Bucket, o.Key),
			"state", string(report.State), "report_error", report.Error, "error", err)
		return
	}
	o.written, o.state, o.pause = text, report.State, nil
	o.after = time.Now().Add(o.Interval)
	o.Log.Info("boot report written", "state", string(report.State), "error", report.Error)
}
