package command

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/xeroops/xeroops/cli/internal/access"
	"github.com/xeroops/xeroops/cli/internal/publish"
	"github.com/xeroops/xeroops/cli/internal/rollout"
	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/printable"
	"github.com/xeroops/xeroops/internal/registry"
)

// version is a version of an application in the output of `deployments`.
type version struct {
	Application string                       `json:"application"`
	Version     string                       `json:"version"`
	CreatedAt   time.Time                    `json:"created_at"`
	CreatedBy   string                       `json:"created_by,omitempty"`
	Wheels      int                          `json:"wheels"`
	Bytes       int64                        `json:"bytes"`
	Desired     bool                         `json:"desired"`
	Previous    bool                         `json:"previous"` // the version that rollback returns to
	PublishedAt string                       `json:"published_at,omitempty"`
	PublishedBy string                       `json:"published_by,omitempty"`
	Running     []string                     `json:"running,omitempty"` // nodes on which it runs now
	Nodes       map[string]registry.Progress `json:"nodes,omitempty"`   // progress; of a version that is not desired, failures only
}

func (a *app) deployments() *cobra.Command {
	return &cobra.Command{
		Use:   "deployments [APP]",
		Short: "List the versions of applications, and their state on each node",
		Args:  args(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, given []string) error {
			if len(given) == 1 {
				if err := bundle.CheckName(given[0]); err != nil {
					return fmt.Errorf("%w: %w", errUsage, err)
				}
			}
			to, err := access.Open(c.Context(), a.settings)
			if err != nil {
				return err
			}
			client, err := to.Registry(c.Context(), registry.UserDeploy)
			if err != nil {
				return err
			}
			defer client.Close()
			applications := given
			if len(given) == 0 {
				if applications, err = registry.ReadApplications(c.Context(), client); err != nil {
					return err
				}
			}
			nodes, err := registry.ReadNodes(c.Context(), client, to.NodesOf(cluster.RoleApp))
			if err != nil {
				return err
			}
			all := []version{}
			for _, name := range applications {
				versions, err := versionsOf(c.Context(), to, client, name, nodes)
				if err != nil {
					return err
				}
				all = append(all, versions...)
			}
			switch {
			case a.json:
				return printJSON(c.OutOrStdout(), all)
			case len(all) == 0 && len(given) == 1:
				fmt.Fprintf(c.OutOrStdout(), "%s has no versions; xeroops deployments lists the applications\n", given[0])
				return nil
			}
			return printVersions(c.OutOrStdout(), all)
		},
	}
}

func versionsOf(ctx context.Context, to *access.Access, client *redis.Client, application string, nodes map[string]registry.Node) ([]version, error) {
	desired, err := registry.ReadDesired(ctx, client, application)
	if err != nil {
		return nil, err
	}
	published, err := publish.Versions(ctx, to, application)
	if err != nil {
		return nil, err
	}
	var all []version
	for _, p := range published {
		v := version{
			Application: application, Version: p.Manifest.Version, CreatedAt: p.Manifest.CreatedAt, CreatedBy: p.Manifest.CreatedBy,
			Wheels: len(p.Manifest.Wheels), Desired: p.Manifest.Version == desired.Version, Previous: p.Manifest.Version == desired.Previous,
		}
		for _, w := range p.Manifest.Wheels {
			v.Bytes += w.Size
		}
		if v.Desired {
			v.PublishedAt, v.PublishedBy = desired.PublishedAt, desired.PublishedBy
		}
		if v.Nodes, err = registry.ReadProgress(ctx, client, application, v.Version); err != nil {
			return nil, err
		}
		v.Running = runningOn(nodes, application, v.Version)
		// A former version was healthy once; only its failures are still of interest.
		maps.DeleteFunc(v.Nodes, func(_ string, p registry.Progress) bool { return !v.Desired && p.Phase != registry.PhaseFailed })
		all = append(all, v)
	}
	return all, nil
}

// runningOn returns the nodes that run a version now.
func runningOn(nodes map[string]registry.Node, application, version string) (names []string) {
	for _, node := range slices.Sorted(maps.Keys(nodes)) {
		if slices.ContainsFunc(nodes[node].Applications, func(a registry.Application) bool {
			return a.Name == application && a.Version == version && a.State == registry.AppRunning
		}) {
			names = append(names, node)
		}
	}
	return names
}

func printVersions(out io.Writer, all []version) error {
	if len(all) == 0 {
		fmt.Fprintln(out, "no applications are deployed; see xeroops deploy --help")
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "APPLICATION\tVERSION\tDESIRED\tCREATED\tBY\tNODES")
	for _, v := range all {
		mark := ""
		if v.Desired {
			mark = "desired"
		} else if v.Previous {
			mark = "previous"
		}
		var nodes []string
		for _, node := range v.Running {
			if v.Nodes[node].Phase.Ended() || v.Nodes[node].Phase == "" {
				nodes = append(nodes, node+" running")
			}
		}
		for _, node := range slices.Sorted(maps.Keys(v.Nodes)) {
			text := node + " " + string(v.Nodes[node].Phase)
			if v.Nodes[node].Phase == registry.PhaseHealthy {
				if slices.Contains(v.Running, node) {
					continue
				}
				text = node + " deployed, not running"
			}
			if v.Nodes[node].Error != "" {
				text += " (" + rollout.Summary(v.Nodes[node].Error) + ")"
			}
			nodes = append(nodes, text)
		}
		fmt.Fprintln(w, printable.Row(v.Application, v.Version, mark,
			v.CreatedAt.Local().Format(time.DateTime), v.CreatedBy, strings.Join(nodes, ", ")))
	}
	return w.Flush()
}
