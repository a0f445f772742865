package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/hashicorp/terraform-plugin-log/tflog"

	"github.com/xeroops/xeroops/internal/awswait"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// nodeReport is a node's boot report, or the lack of one.
type nodeReport struct {
	model.BootReport
	none bool // it has not reported since its instance was launched
}

// state is the report's state, in a word.
func (r nodeReport) state() string {
	if r.none {
		return "no report"
	}
	return string(r.State)
}

// describe says how a node is, with its own error.
func (r nodeReport) describe() string {
	if r.none {
		return "It has written no boot report. Its console output tells how far it came, and whether its image is one of this product's."
	}
	text := fmt.Sprintf("Its boot report says %s", r.State)
	if r.Error != "" {
		text += ": " + r.Error
	}
	for _, s := range r.Services {
		if s.State != "active" {
			text += fmt.Sprintf("\n  %s is %s %s", s.Name, s.State, s.Detail)
		}
	}
	return text
}

var errNotReady = errors.New("not every node is ready")

// waitReady waits for the boot reports of nodes that were just launched. It
// ends early when all have reported and one says failed.
func (w *work) waitReady(ctx context.Context, nodes []nodeSpec) error {
	w.launched = w.launched || len(nodes) > 0
	if w.spec.OnReadyTimeout == onTimeoutSkip || len(nodes) == 0 {
		return nil
	}
	w.verified = true
	progress := bootProgress{began: time.Now(), states: map[string]string{}}
	var last []nodeReport
	err := awswait.Until(ctx, w.spec.ReadyTimeout, func(ctx context.Context) (bool, string, error) {
		reports, err := w.readReports(ctx, nodes)
		if err != nil {
			return false, "", err
		}
		last = reports
		progress.log(ctx, reports)
		return settled(reports), "booting", nil
	})
	var timedOut *awswait.TimeoutError
	if err != nil && !errors.As(err, &timedOut) {
		return err
	}
	return w.judge(last)
}

// settled says whether no node can be expected to change its mind soon.
func settled(reports []nodeReport) bool {
	for _, r := range reports {
		if r.none || r.State == model.BootBooting {
			return false
		}
	}
	return true
}

// judge turns nodes that are not ready into an error, or notes them.
func (w *work) judge(reports []nodeReport) error {
	var unready []nodeReport
	for _, r := range reports {
		if r.none || r.State != model.BootReady {
			unready = append(unready, r)
		}
	}
	w.unready = append(w.unready, unready...)
	if len(unready) == 0 || w.spec.OnReadyTimeout == onTimeoutWarn {
		return nil
	}
	return unreadyError(unready, w.spec.ReadyTimeout)
}

func unreadyError(unready []nodeReport, waited time.Duration) error {
	var lines []string
	for _, r := range unready {
		lines = append(lines, fmt.Sprintf("node %s: %s", r.Node, r.describe()))
	}
	return fmt.Errorf("%w after %s:\n%s", errNotReady, waited, strings.Join(lines, "\n"))
}

// bootProgress logs which node is at what, when it changes.
type bootProgress struct {
	began  time.Time
	states map[string]string
}

func (p *bootProgress) log(ctx context.Context, reports []nodeReport) {
	for _, r := range reports {
		if p.states[r.Node] == r.state() {
			continue
		}
		p.states[r.Node] = r.state()
		tflog.Info(ctx, "node boots", map[string]any{"node": r.Node, "state": r.state(), "error": r.Error,
			"elapsed": time.Since(p.began).Round(time.Second).String()})
	}
}

// readReports reads the nodes' reports. One of an earlier instance does not
// count, nor one of an earlier boot.
func (v *view) readReports(ctx context.Context, nodes []nodeSpec) ([]nodeReport, error) {
	return v.readReportsOf(ctx, nodes, func(nodeSpec) bool { return true })
}

// readReportsOf reads the reports of those nodes that have one.
func (v *view) readReportsOf(ctx context.Context, nodes []nodeSpec, has func(nodeSpec) bool) ([]nodeReport, error) {
	reports := make([]nodeReport, len(nodes))
	err := base.Parallel(ctx, stepsFor(nodes, func(ctx context.Context, n int, node nodeSpec) error {
		reports[n] = nodeReport{BootReport: model.BootReport{Node: node.Name, Role: node.Role}, none: true}
		if !has(node) {
			return nil
		}
		report, etag, err := readJSON[model.BootReport](ctx, v.Client.S3, v.uploads, v.layout().Report(node.Name))
		if err != nil || report == nil {
			return err
		}
		known := knownReport{ETag: etag, InstanceID: report.InstanceID, State: report.State, StartedAt: report.StartedAt}
		if known.isOf(v.seen.live[node.Name]) {
			reports[n] = nodeReport{BootReport: *report}
			v.objects.noteReport(node.Name, known)
		}
		return nil
	})...)
	return reports, err
}

// clockSkew is how far a node's clock may be behind AWS's at its boot, before
// chrony has set it.
const clockSkew = time.Minute

// isOf says whether a report is of the instance, and of its last start: AWS
// sets LaunchTime anew when a stopped instance starts. Of a reboot it says
// nothing.
func (r knownReport) isOf(i instance) bool {
	if r.InstanceID != i.id() {
		return false
	}
	return r.StartedAt.IsZero() || i.LaunchTime == nil || r.StartedAt.After(i.LaunchTime.Add(-clockSkew))
}

// stillReady says whether every node that runs still reports ready. It reads
// only reports that have changed.
func (w *work) stillReady(ctx context.Context) (bool, error) {
	var changed []nodeSpec
	for _, n := range w.spec.nodes() {
		i, lives := w.seen.live[n.Name]
		if lives && !w.objects.isReady(n.Name, w.seen.objects[w.layout().Report(n.Name)], i) {
			changed = append(changed, n)
		}
	}
	reports, err := w.readReports(ctx, changed)
	for _, r := range reports {
		if r.none || r.State != model.BootReady {
			return false, err
		}
	}
	return true, err
}

// readJSON reads an object of the cluster and its ETag; nil if there is none.
func readJSON[T any](ctx context.Context, client *s3.Client, bucket, key string) (content *T, etag string, err error) {
	out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return nil, "", awswait.Ignore(err, awswait.IsNotFound)
	}
	defer func() { err = errors.Join(err, out.Body.Close()) }()
	content = new(T)
	if err := json.NewDecoder(out.Body).Decode(content); err != nil {
		return nil, "", fmt.Errorf("read s3://%s/%s: %w", bucket, key, err)
	}
	return content, aws.ToString(out.ETag), nil
}
