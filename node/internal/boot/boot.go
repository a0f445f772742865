// Package boot is `xeroops-node boot`, infrastructure-ready.service: it makes a
// working node of a booted image (docs/design.md#user-data-and-boot) and says in the boot report
// how that goes (docs/design.md#boot-report). What is not there yet, such as S3 or a volume, is tried
// again for ever, and all of it may run again at any time. It never ends by
// itself: once the node is ready it watches services and volume, and reports
// what changes.
package boot

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/hashicorp/go-hclog"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/node/internal/backoff"
	"github.com/xeroops/xeroops/node/internal/instance"
	"github.com/xeroops/xeroops/node/internal/topology"
	"github.com/xeroops/xeroops/node/internal/volume"
)

// patience is how long a node may be without being ready before its report
// says failed (docs/design.md#boot-report).
const patience = 5 * time.Minute

// reportEvery is how often details of a state are reported at most.
const reportEvery = 2 * time.Second

// Boot is the boot of one node.
type Boot struct {
	Instance instance.Instance
	Metadata *imds.Client
	S3       *s3.Client
	Files    Files
	Log      hclog.Logger

	status      *status
	config      map[string]string
	credentials map[string]string
	topology    cluster.Topology
	volume      *volume.Volume // nil without one
	ungrown     repeated       // why its file system has not grown with it
	changed     unitSet        // whose configuration changed, and who have yet to be told; nil before it is read
	stale       bool           // a unit file changed that systemd may have read
}

// Files are what boot writes.
type Files struct {
	Environment, Credentials, Applications string
	Topology                               topology.Files
	Units                                  string // folder of unit files that do not outlive this boot
	Changed                                string // units that have yet to be told of their configuration
}

// DefaultFiles are the files of a node.
func DefaultFiles() Files {
	return Files{Environment: instance.EnvironmentFile, Credentials: instance.CredentialsFile, Applications: instance.ApplicationsFile,
		Topology: topology.Default(), Units: volume.RuntimeUnits, Changed: "/run/xeroops/changed-units"}
}

// Run boots the node and watches it until the context ends.
func (b *Boot) Run(ctx context.Context) error {
	b.begin()
	for _, s := range b.steps() {
		if !b.until(ctx, s) {
			return nil
		}
	}
	b.Log.Info("configured", "elapsed", time.Since(b.status.wellAt).Round(time.Millisecond).String())
	b.watch(ctx)
	return nil
}

func (b *Boot) begin() {
	now := time.Now()
	b.status = &status{
		report: cluster.BootReport{Schema: cluster.BootReportSchema, Cluster: b.Instance.Cluster, Node: b.Instance.Node, Role: b.Instance.Role,
			State: cluster.BootBooting, StartedAt: now.UTC().Truncate(time.Millisecond), Services: []cluster.ServiceReport{}},
		began:  now,
		wellAt: now,
		object: &object{S3: b.S3, Bucket: b.Instance.UploadsBucket, Key: b.Instance.Layout().Report(b.Instance.Node), Log: b.Log, Every: reportEvery},
		log:    b.Log,
	}
}

// step is a part of a boot that leaves things as they are to be, or an error.
type step struct {
	what string
	do   func(context.Context) error
}

func (b *Boot) steps() []step {
	return []step{
		{"identity", b.identify},
		{"settings", b.fetchConfig},
		{"credentials", b.fetchCredentials},
		{"topology", b.fetchTopology},
		{"configuration", b.configure},
		{"volume", b.mount},
		{"services", b.start},
	}
}

// stepTimeout bounds one try of a step. Checking a large file system takes long.
const stepTimeout = 15 * time.Minute

// until tries a step until it succeeds; false means that the context ended.
func (b *Boot) until(ctx context.Context, s step) bool {
	pause := backoff.New(500*time.Millisecond, 5*time.Second)
	var why repeated
	for {
		err := b.try(ctx, s)
		if ctx.Err() != nil {
			return false
		}
		if err == nil {
			b.Log.Debug("done", "step", s.what)
			b.status.going(ctx)
			return true
		}
		why.say(b.Log.With("step", s.what), "not yet, will be tried again", err)
		b.status.trouble(ctx, fmt.Sprintf("%s: %v", s.what, err))
		if !backoff.Sleep(ctx, pause.Next()) {
			return false
		}
	}
}

// repeated is an error that may come again and again, and is logged once.
type repeated struct{ text string }

func (r *repeated) say(log hclog.Logger, what string, err error) {
	switch {
	case err == nil:
		r.text = ""
	case r.text != err.Error():
		r.text = err.Error()
		log.Warn(what, "error", err)
	}
}

func (b *Boot) try(ctx context.Context, s step) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	return s.do(ctx)
}

func (b *Boot) identify(ctx context.Context) error {
	is, err := b.Instance.Identify(ctx, b.Metadata)
	if err != nil { // and no report: it would be taken for another instance's
		return err
	}
	b.status.report.InstanceID, b.status.report.ImageID = is.InstanceID, is.ImageID
	b.status.report.BootID, err = bootID()
	return err
}
