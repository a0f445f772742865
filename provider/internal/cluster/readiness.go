package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-log/tflog"

	"github.com/xeroops/xeroops/internal/awswait"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

// nodeReport is a node's boot report, which may be missing.
type nodeReport struct {
	model.BootReport
	missing    bool  // the node has not reported since its last start
	unreadable error // why its report object counts as missing, or nil
}

// state returns the report's state for logs.
func (r nodeReport) state() string {
	if r.missing {
		return "no report"
	}
	return string(r.State)
}

// describe returns the node's state and error in sentences.
func (r nodeReport) describe() string {
	if r.unreadable != nil {
		return r.unreadable.Error()
	}
	if r.missing {
		return "no boot report since its launch; check its console output, and whether its image was built by XeroOps"
	}
	text := fmt.Sprintf("boot state is %s", r.State)
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

// waitReady waits for the boot reports of launched nodes. It stops early when
// all nodes have reported ready or failed.
func (op *operation) waitReady(ctx context.Context, nodes []clusterspec.Node) error {
	op.launched = op.launched || len(nodes) > 0
	if op.spec.OnReadyTimeout == onTimeoutSkip || len(nodes) == 0 {
		return nil
	}
	op.readinessVerified = true
	progress := bootProgress{began: time.Now(), states: map[string]string{}}
	var last []nodeReport
	err := awswait.Until(ctx, op.spec.ReadyTimeout, func(ctx context.Context) (bool, string, error) {
		reports, err := op.readReports(ctx, nodes)
		if err != nil {
			return false, "", err
		}
		if err := deniedReport(reports); err != nil {
			return false, "", err
		}
		last = reports
		progress.log(ctx, reports)
		return allFinal(reports), "booting", nil
	})
	var timedOut *awswait.TimeoutError
	if err != nil && !errors.As(err, &timedOut) {
		return err
	}
	return op.checkReports(last)
}

// allFinal reports whether no node is still booting.
func allFinal(reports []nodeReport) bool {
	for _, r := range reports {
		if r.missing || r.State == model.BootBooting {
			return false
		}
	}
	return true
}

// checkReports records the nodes that are not ready, and returns an error if
// on_ready_timeout is error.
func (op *operation) checkReports(reports []nodeReport) error {
	var unready []nodeReport
	for _, r := range reports {
		if r.missing || r.State != model.BootReady {
			unready = append(unready, r)
		}
	}
	op.unready = append(op.unready, unready...)
	if len(unready) == 0 || op.spec.OnReadyTimeout == onTimeoutWarn {
		return nil
	}
	return unreadyError(unready, op.spec.ReadyTimeout)
}

func unreadyError(unready []nodeReport, waited time.Duration) error {
	var lines []string
	for _, r := range unready {
		lines = append(lines, fmt.Sprintf("node %s: %s", r.Node, r.describe()))
	}
	return fmt.Errorf("%w after %s:\n%s", errNotReady, waited, strings.Join(lines, "\n"))
}

// bootProgress logs each change of a node's boot state.
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
		tflog.Info(ctx, "boot state changed", map[string]any{"node": r.Node, "state": r.state(), "error": r.Error,
			"elapsed": time.Since(p.began).Round(time.Second).String()})
	}
}

// allReady reports whether every node with an instance is ready according to its
// boot report. It reads only reports that have changed.
func (op *operation) allReady(ctx context.Context) (bool, error) {
	var changed []clusterspec.Node
	for _, n := range op.spec.SortedNodes() {
		i, lives := op.actual.live[n.Name]
		if lives && !op.reports.isReady(n.Name, op.objects.ETag(op.layout().Report(n.Name)), i) {
			changed = append(changed, n)
		}
	}
	reports, err := op.readReports(ctx, changed)
	for _, r := range reports {
		if r.missing || r.State != model.BootReady {
			return false, err
		}
	}
	return true, err
}
