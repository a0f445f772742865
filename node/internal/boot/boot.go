// Package boot implements `xeroops-node boot`, which infrastructure-ready.service runs:
// it configures a booted image and starts its services (docs/design.md#user-data-and-boot),
// and writes its progress to the boot report (docs/design.md#boot-report). Steps are
// idempotent, and retried until they succeed. Once the node is ready, it keeps watching
// the services and the volume and reports changes.
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
	"github.com/xeroops/xeroops/node/internal/configure"
	"github.com/xeroops/xeroops/node/internal/instance"
	"github.com/xeroops/xeroops/node/internal/journal"
	"github.com/xeroops/xeroops/node/internal/procfs"
	"github.com/xeroops/xeroops/node/internal/topology"
	"github.com/xeroops/xeroops/node/internal/volume"
)

// failureTimeout is how long a node may be unready before its report has the state
// failed (docs/design.md#boot-report).
const failureTimeout = 5 * time.Minute

// reportInterval is the minimum time between reports with the same state.
const reportInterval = 2 * time.Second

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
	tls         configure.TLS
	renewed     bool            // whether tls is newer than the services' configuration
	volume      *volume.Volume  // nil without one
	growFailure journal.Problem // of growing the volume's file system
	changed     unitSet         // units that have not read their changed configuration yet; nil before it is read
	stale       bool            // whether systemd has to read unit files again
}

// Files are the files that boot writes.
type Files struct {
	Environment, Credentials, Applications string
	Topology                               topology.Files
	Units                                  string // directory of unit files that do not outlive this boot
	Changed                                string // units that have not read their changed configuration yet
}

// DefaultFiles returns the files of a node.
func DefaultFiles() Files {
	return Files{Environment: instance.EnvironmentFile, Credentials: instance.CredentialsFile, Applications: instance.ApplicationsFile,
		Topology: topology.Default(), Units: volume.RuntimeUnits, Changed: "/run/xeroops/changed-units"}
}

// Run boots the node and watches it until the context ends.
func (b *Boot) Run(ctx context.Context) error {
	b.begin()
	for _, s := range b.steps() {
		if !b.complete(ctx, s) {
			return nil
		}
	}
	b.Log.Info("configured", "elapsed", time.Since(b.status.lastReady).Round(time.Millisecond).String())
	b.watch(ctx)
	return nil
}

func (b *Boot) begin() {
	now := time.Now()
	b.status = &status{
		report: cluster.BootReport{Schema: cluster.BootReportSchema, Cluster: b.Instance.Cluster, Node: b.Instance.Node, Role: b.Instance.Role,
			State: cluster.BootBooting, StartedAt: now.UTC().Truncate(time.Millisecond), Services: []cluster.ServiceReport{}},
		began:     now,
		lastReady: now,
		object:    &object{S3: b.S3, Bucket: b.Instance.UploadsBucket, Key: b.Instance.Layout().Report(b.Instance.Node), Log: b.Log, Interval: reportInterval},
		log:       b.Log,
	}
}

// step is an idempotent part of the boot.
type step struct {
	name string
	run  func(context.Context) error
}

func (b *Boot) steps() []step {
	return []step{
		{"identity", b.identify},
		{"settings", b.fetchConfig},
		{"credentials", b.fetchCredentials},
		{"certificates", b.fetchCertificates},
		{"topology", b.fetchTopology},
		{"configuration", b.configure},
		{"volume", b.mount},
		{"services", b.start},
	}
}

// stepTimeout limits one attempt of a step. Checking a large file system takes long.
const stepTimeout = 15 * time.Minute

// complete retries a step until it succeeds, and reports whether it did: false means that
// the context ended.
func (b *Boot) complete(ctx context.Context, s step) bool {
	pause := backoff.New(500*time.Millisecond, 5*time.Second)
	var failure journal.Problem
	for {
		err := b.attempt(ctx, s)
		if ctx.Err() != nil {
			return false
		}
		failure.Set(b.Log, "boot step failed, retrying", err, "step", s.name)
		if err == nil {
			b.status.clearError(ctx)
			return true
		}
		b.status.setError(ctx, fmt.Sprintf("%s: %v", s.name, err))
		if !backoff.Sleep(ctx, pause.Next()) {
			return false
		}
	}
}

func (b *Boot) attempt(ctx context.Context, s step) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	return s.run(ctx)
}

func (b *Boot) identify(ctx context.Context) error {
	identity, err := b.Instance.Identify(ctx, b.Metadata)
	if err != nil { // no report is written without an instance id
		return err
	}
	b.status.report.InstanceID, b.status.report.ImageID = identity.InstanceID, identity.ImageID
	b.status.report.BootID, err = procfs.ReadBootID()
	return err
}
