package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/hashicorp/terraform-plugin-framework/diag"

	"github.com/xeroops/xeroops/internal/awswait"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/printable"
	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

// A boot report is input from a machine that may be broken or taken over: it is
// limited in size and parsed, its text is escaped, and what cannot be read counts as
// missing, because it must not block the plan that replaces the node.
const (
	maxObjectBytes    = 256 << 10 // of a boot report or topology; 500 nodes need 50 KiB
	maxReportServices = 50        // no role has half as many
	maxReportText     = 2000      // characters of a text, such as the end of a log
)

// readReports reads the nodes' boot reports. Those of an earlier instance or
// start, and those that cannot be read, count as missing.
func (o *observer) readReports(ctx context.Context, nodes []clusterspec.Node) ([]nodeReport, error) {
	return o.readReportsOf(ctx, nodes, func(clusterspec.Node) bool { return true })
}

// readReportsOf is readReports for nodes of which only some have a report.
func (o *observer) readReportsOf(ctx context.Context, nodes []clusterspec.Node, has func(clusterspec.Node) bool) ([]nodeReport, error) {
	reports := make([]nodeReport, len(nodes))
	err := base.Parallel(ctx, base.StepsFor(nodes, func(ctx context.Context, n int, node clusterspec.Node) (err error) {
		reports[n] = nodeReport{BootReport: model.BootReport{Node: node.Name, Role: node.Role}, missing: true}
		if has(node) {
			reports[n], err = o.readReport(ctx, node)
		}
		return err
	})...)
	return reports, err
}

// readReport reads a node's boot report. It returns an error only if S3 does not
// respond or the bucket cannot be read.
func (o *observer) readReport(ctx context.Context, node clusterspec.Node) (nodeReport, error) {
	none := nodeReport{BootReport: model.BootReport{Node: node.Name, Role: node.Role}, missing: true}
	key := o.layout().Report(node.Name)
	report, etag, err := readJSON[model.BootReport](ctx, o.Client.S3, o.uploads, key)
	if isUnreadable(err) {
		none.unreadable = fmt.Errorf("boot report s3://%s/%s of node %s cannot be read and counts as missing: %w", o.uploads, key, node.Name, err)
		o.reports.setUnreadable(node.Name, none.unreadable)
		return none, nil
	}
	o.reports.setUnreadable(node.Name, nil)
	if err != nil || report == nil {
		return none, err
	}
	parsed := parseReport(node, *report)
	known := knownReport{ETag: etag, InstanceID: parsed.InstanceID, BootID: parsed.BootID, State: parsed.State, StartedAt: parsed.StartedAt}
	if !known.isOf(o.actual.live[node.Name]) || o.reports.isFormerBoot(node.Name, parsed.BootID) {
		return none, nil
	}
	o.reports.add(node.Name, known)
	return nodeReport{BootReport: parsed}, nil
}

// errTooLarge and errNotJSON are the errors of an object with unusable content.
var (
	errTooLarge = fmt.Errorf("it is larger than %d bytes", maxObjectBytes)
	errNotJSON  = errors.New("it is not valid JSON")
)

// isUnreadable reports whether err is due to one object: its content, or a storage
// class or encryption that only the node that wrote it chose.
func isUnreadable(err error) bool {
	return errors.Is(err, errTooLarge) || errors.Is(err, errNotJSON) ||
		awswait.HasCode(err, "AccessDenied", "InvalidArgument", "InvalidObjectState", "InvalidRequest",
			"KMS.DisabledException", "KMS.KMSInvalidStateException", "KMS.NotFoundException")
}

// deniedReport returns the error of a report that the provider may not read: to
// wait for it is useless.
func deniedReport(reports []nodeReport) error {
	for _, r := range reports {
		if awswait.HasCode(r.unreadable, "AccessDenied") {
			return r.unreadable
		}
	}
	return nil
}

// parseReport returns the report with its text escaped and limited, and with the
// name of the node whose object it is.
func parseReport(node clusterspec.Node, r model.BootReport) model.BootReport {
	r.Node, r.Role = node.Name, node.Role
	r.State = model.BootState(limit(printable.Line(string(r.State)), maxReportText))
	r.InstanceID, r.BootID = limit(printable.Line(r.InstanceID), maxReportText), limit(printable.Line(r.BootID), maxReportText)
	r.Error = limit(printable.Text(r.Error), maxReportText)
	r.Services = slices.Clone(r.Services[:min(len(r.Services), maxReportServices)])
	for n, s := range r.Services {
		r.Services[n] = model.ServiceReport{Name: limit(printable.Line(s.Name), maxReportText), State: limit(printable.Line(s.State), maxReportText),
			Detail: limit(printable.Line(s.Detail), maxReportText)}
	}
	return r
}

// limit returns the first characters of a text, and … if there are more.
func limit(text string, characters int) string {
	if runes := []rune(text); len(runes) > characters {
		return string(runes[:characters]) + "…"
	}
	return text
}

// clockSkew is how far a node's clock may be behind at boot, before chrony has
// set it.
const clockSkew = time.Minute

// isOf reports whether a report is of the instance since its last start: AWS
// sets LaunchTime when a stopped instance starts, but not at a reboot.
func (r knownReport) isOf(i instance) bool {
	return r.InstanceID == i.id() && (i.LaunchTime == nil || r.StartedAt.After(i.LaunchTime.Add(-clockSkew)))
}

// forgetBoot makes the report of the node's present boot count as missing. It is
// called before a stopped instance is started, whose last report may be younger than
// clockSkew.
func (o *observer) forgetBoot(ctx context.Context, node clusterspec.Node) error {
	report, err := o.readReport(ctx, node)
	if err == nil && report.BootID != "" {
		o.reports.setFormerBoot(node.Name, report.BootID)
	}
	return err
}

// warnUnreadable adds a warning for each boot report that could not be read.
func (o *observer) warnUnreadable(diags *diag.Diagnostics) {
	unreadable := o.reports.allUnreadable()
	for _, node := range slices.Sorted(maps.Keys(unreadable)) {
		diags.AddWarning(fmt.Sprintf("%s %s: boot report of node %s cannot be read", clusterTypeName, o.name, node),
			unreadable[node].Error()+".\n\nThe node writes this object. If it is running, read its console output and its journal; "+
				"a node that writes such an object on purpose has been taken over: replace it, with another image or by terminating its instance.")
	}
}

// readJSON returns the content and ETag of a JSON object of up to maxObjectBytes, or
// nil if it does not exist.
func readJSON[T any](ctx context.Context, client *s3.Client, bucket, key string) (content *T, etag string, err error) {
	out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return nil, "", awswait.Ignore(err, awswait.IsNotFound)
	}
	defer func() { err = errors.Join(err, out.Body.Close()) }()
	text, err := io.ReadAll(io.LimitReader(out.Body, maxObjectBytes+1))
	if err == nil && len(text) > maxObjectBytes {
		err = errTooLarge
	}
	if err != nil {
		return nil, "", fmt.Errorf("read s3://%s/%s: %w", bucket, key, err)
	}
	content = new(T)
	if err := json.Unmarshal(text, content); err != nil {
		return nil, "", fmt.Errorf("read s3://%s/%s: %w: %s", bucket, key, errNotJSON, limit(printable.Line(err.Error()), maxReportText))
	}
	return content, aws.ToString(out.ETag), nil
}
