package command

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/xeroops/xeroops/cli/internal/access"
	"github.com/xeroops/xeroops/cli/internal/publish"
	"github.com/xeroops/xeroops/cli/internal/rollout"
	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/printable"
	"github.com/xeroops/xeroops/internal/registry"
)

// outcome is the output of a deployment with --json.
type outcome struct {
	Application string         `json:"application"`
	Version     string         `json:"version"`
	Previous    string         `json:"previous,omitempty"`
	SHA256      string         `json:"sha256"`
	Healthy     bool           `json:"healthy"` // on every app node
	ElapsedMS   int64          `json:"elapsed_ms"`
	Nodes       []rollout.Node `json:"nodes"`
}

// rollOut makes a version the desired one and follows the app nodes.
func (d *deployment) rollOut(ctx context.Context, p publish.Published) error {
	name, version := p.Manifest.Application, p.Manifest.Version
	started := time.Now()
	desired, err := registry.Publish(ctx, d.client, name, registry.Desired{
		Version: version, SHA256: p.SHA256, PublishedAt: started.UTC().Format(time.RFC3339Nano), PublishedBy: d.access.Operator,
	})
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted: %s %s is uploaded, and may be published; see xeroops deployments %s; run the same command again to continue", name, version, name)
		}
		return fmt.Errorf("%w: %w; %s is uploaded; run the same command again", access.ErrUnreachable, err, version)
	}
	fmt.Fprintf(d.log, "published %s %s; previous version: %s\n", name, version, cmp.Or(desired.Previous, "none"))
	waiting, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	status := rollout.Follow(waiting, d.client, p.Manifest, d.access.NodesOf(cluster.RoleApp), rollout.NewScreen(d.log).Show)
	elapsed := time.Since(started)
	if d.app.json {
		if err := printJSON(d.out, outcome{name, version, desired.Previous, p.SHA256, status.Healthy(), elapsed.Milliseconds(), status.Nodes}); err != nil {
			return err
		}
	}
	return d.verdict(ctx, name, version, status, elapsed)
}

// verdict returns nil if the version runs on every app node, and otherwise an error
// with each node's reason.
func (d *deployment) verdict(ctx context.Context, name, version string, status rollout.Status, elapsed time.Duration) error {
	switch {
	case status.Healthy():
		fmt.Fprintf(d.log, "%s %s runs on %d nodes, %s after it was published\n", name, version, len(status.Nodes), elapsed.Round(100*time.Millisecond))
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted: %s %s is published, and the nodes continue with it; see xeroops deployments %s, or revert it with xeroops rollback %s", name, version, name, name)
	case status.Superseded.Version != "":
		return fmt.Errorf("%w: %s published version %s of %s in the meantime; the nodes deploy that version", errIncomplete, printable.Line(status.Superseded.PublishedBy), printable.Line(status.Superseded.Version), name)
	case len(status.Nodes) == 0:
		return fmt.Errorf("%w: %s %s is published, but cluster %s has no app node", errIncomplete, name, version, d.access.Cluster)
	}
	var problems []string
	for _, n := range status.Nodes {
		switch n.State {
		case rollout.State(registry.PhaseHealthy):
		case rollout.State(registry.PhaseFailed):
			problems = append(problems, fmt.Sprintf("%s runs %s: %s", n.Name, cmp.Or(printable.Line(n.Running), "none"), strings.ReplaceAll(strings.TrimSpace(n.Error), "\n", "\n    ")))
		case rollout.StateAbsent:
			problems = append(problems, n.Name+" has no heartbeat; it deploys the version when it returns")
		default:
			problems = append(problems, fmt.Sprintf("%s did not finish within %s: %s; it continues", n.Name, d.timeout, n.Error))
		}
	}
	if status.Problem != nil {
		problems = append(problems, "the registry: "+status.Problem.Error())
	}
	return fmt.Errorf("%w: %s %s:\n  %s", errIncomplete, name, version, strings.Join(problems, "\n  "))
}
