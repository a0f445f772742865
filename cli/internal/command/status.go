package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/xeroops/xeroops/cli/internal/access"
	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/printable"
	"github.com/xeroops/xeroops/internal/registry"
)

// clusterStatus is the output of `status`.
type clusterStatus struct {
	Cluster      string              `json:"cluster"`
	Healthy      bool                `json:"healthy"`
	Registry     string              `json:"registry_error,omitempty"` // why the registry could not be read
	Nodes        []nodeStatus        `json:"nodes"`
	Applications []applicationStatus `json:"applications"`
}

type nodeStatus struct {
	Name    string              `json:"node"`
	Role    cluster.Role        `json:"role"`
	Address string              `json:"address"`
	State   string              `json:"state"` // of its heartbeat; without one: absent
	Problem string              `json:"problem,omitempty"`
	Entry   *registry.Node      `json:"entry,omitempty"`
	Boot    *cluster.BootReport `json:"boot,omitempty"`
}

type applicationStatus struct {
	Name        string            `json:"application"`
	Desired     string            `json:"desired"`
	PublishedAt string            `json:"published_at"`
	PublishedBy string            `json:"published_by"`
	Running     map[string]string `json:"running"` // version by app node
}

const stateAbsent = "absent" // no heartbeat

func (a *app) status() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the state of the cluster's nodes and applications",
		Long: `Show the state of the cluster's nodes and applications, from each node's heartbeat
in the registry, or without one from its boot report in S3. If the registry is
unreachable, only boot reports are shown, and the exit code is 3.`,
		Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			to, err := access.Open(c.Context(), a.settings)
			if err != nil {
				return err
			}
			s, err := readStatus(c.Context(), to)
			if c.Context().Err() != nil {
				return err
			}
			if !a.json {
				s.print(c.OutOrStdout())
				return err
			}
			return errors.Join(err, printJSON(c.OutOrStdout(), s))
		},
	}
}

// readStatus returns the part of the status that it could read, even with an error.
func readStatus(ctx context.Context, to *access.Access) (clusterStatus, error) {
	s := clusterStatus{Cluster: to.Cluster, Nodes: []nodeStatus{}, Applications: []applicationStatus{}}
	reports := to.Reports(ctx)
	var names []string
	for _, n := range to.Topology.Nodes {
		names = append(names, n.Name)
	}
	entries, err := s.readRegistry(ctx, to, names)
	if err != nil {
		s.Registry = err.Error()
	}
	s.Healthy = err == nil
	for _, n := range to.Topology.Nodes {
		status := nodeStatus{Name: n.Name, Role: n.Role, Address: n.Address, State: stateAbsent}
		if r, there := reports[n.Name]; there {
			status.Boot = &r
		}
		if e, there := entries[n.Name]; there {
			status.Entry, status.State = &e, string(e.State)
		}
		status.Problem = status.problem()
		s.Healthy = s.Healthy && status.State == string(registry.NodeReady)
		s.Nodes = append(s.Nodes, status)
	}
	return s, err
}

func (s *clusterStatus) readRegistry(ctx context.Context, to *access.Access, names []string) (map[string]registry.Node, error) {
	client, err := to.Registry(ctx, registry.UserStatus)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	entries, err := registry.ReadNodes(ctx, client, names)
	if err != nil {
		return nil, err
	}
	applications, err := registry.ReadApplications(ctx, client)
	if err != nil {
		return entries, err
	}
	for _, name := range applications {
		desired, err := registry.ReadDesired(ctx, client, name)
		if err != nil {
			return entries, err
		}
		status := applicationStatus{Name: name, Desired: desired.Version, PublishedAt: desired.PublishedAt, PublishedBy: desired.PublishedBy, Running: map[string]string{}}
		for node, entry := range entries {
			for _, running := range entry.Applications {
				if running.Name == name {
					status.Running[node] = running.Version
				}
			}
		}
		s.Applications = append(s.Applications, status)
	}
	return entries, nil
}

// problem returns the node's problems in one line.
func (n nodeStatus) problem() string {
	if n.Entry == nil {
		switch {
		case n.Boot == nil:
			return "no heartbeat and no boot report"
		case n.Boot.Error != "":
			return "no heartbeat; its boot report: " + n.Boot.Error
		}
		return "no heartbeat; its last boot report is " + string(n.Boot.State)
	}
	var problems []string
	for _, s := range n.Entry.Services {
		if !s.Healthy {
			problems = append(problems, strings.TrimSpace(s.Name+" "+s.State+" "+s.Detail))
		}
	}
	for _, a := range n.Entry.Applications {
		if a.State == registry.AppFailed {
			problems = append(problems, a.Name+" "+a.Version+" failed")
		}
	}
	if n.Boot != nil {
		for _, s := range n.Boot.Services {
			if s.Name == cluster.CertificatesService {
				problems = append(problems, s.Detail)
			}
		}
	}
	return strings.Join(problems, "; ")
}

func (s clusterStatus) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tROLE\tADDRESS\tSTATE\tLOAD\tMEMORY\tDISK\tUP\tDETAIL")
	for _, n := range s.Nodes {
		load, memory, disk, up, detail := "-", "-", "-", "-", n.Problem
		if e := n.Entry; e != nil {
			r := e.Resources
			load = fmt.Sprintf("%.2f/%d", r.Load1, r.CPUs)
			memory, disk = used(r.MemoryBytes, r.MemoryAvailableBytes), used(r.DiskBytes, r.DiskAvailableBytes)
			up = (time.Duration(r.UptimeSeconds) * time.Second).String()
			if detail == "" {
				detail = detailOf(e)
			}
		}
		fmt.Fprintln(w, printable.Row(n.Name, n.Role, n.Address, n.State, load, memory, disk, up, detail))
	}
	_ = w.Flush() // an output that is gone cannot be handled
	if len(s.Applications) > 0 {
		fmt.Fprintln(out)
		w = tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "APPLICATION\tDESIRED\tRUNNING\tPUBLISHED\tBY")
		for _, a := range s.Applications {
			fmt.Fprintln(w, printable.Row(a.Name, a.Desired, a.running(s.Nodes), localTime(a.PublishedAt), a.PublishedBy))
		}
		_ = w.Flush()
	}
}

// running lists the running version of each app node.
func (a applicationStatus) running(nodes []nodeStatus) string {
	var all []string
	for _, n := range nodes {
		if n.Role != cluster.RoleApp {
			continue
		}
		all = append(all, n.Name+" "+cmp.Or(a.Running[n.Name], "none"))
	}
	return strings.Join(all, ", ")
}

// localTime formats a time of the registry in the local time zone.
func localTime(written string) string {
	t, err := time.Parse(time.RFC3339, written)
	if err != nil {
		return written
	}
	return t.Local().Format(time.DateTime)
}

// used returns the used share in percent.
func used(total, free uint64) string {
	if total == 0 || free > total {
		return "-"
	}
	return fmt.Sprintf("%d%%", (total-free)*100/total)
}

// detailOf returns the detail that is shown for a healthy node: the role of its PostgreSQL.
func detailOf(e *registry.Node) string {
	for _, s := range e.Services {
		if s.Name == "postgresql" {
			return s.Detail
		}
	}
	return ""
}
