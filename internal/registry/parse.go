package registry

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/internal/cluster"
)

// maxEntryBytes bounds an entry: that of a node with 100 applications has 20 kB,
// and an error has the end of a program's output.
const maxEntryBytes = 256 << 10

// parseNode parses the entry of a node. An entry counts for its own node only.
func parseNode(name, text string) (Node, error) {
	n, err := parseEntry[Node](text)
	if err != nil {
		return Node{}, err
	}
	if n.Name != name {
		return Node{}, fmt.Errorf("it is of node %q", n.Name)
	}
	if _, err := cluster.ParseRole(string(n.Role)); err != nil {
		return Node{}, err
	}
	if err := known(n.State, NodeReady, NodeDegraded, NodeDraining); err != nil {
		return Node{}, err
	}
	for _, a := range n.Applications {
		if err := known(a.State, AppRunning, AppFailed); err != nil {
			return Node{}, fmt.Errorf("application %q: %w", a.Name, err)
		}
	}
	return n, nil
}

// parseProgress parses a node's progress with a version.
func parseProgress(node, text string) (Progress, error) {
	p, err := parseEntry[Progress](text)
	if err != nil {
		return Progress{}, err
	}
	if p.Node != node {
		return Progress{}, fmt.Errorf("it is of node %q", p.Node)
	}
	if err := known(p.Phase, PhaseDownloading, PhaseInstalling, PhaseTrying, PhaseSwitching, PhaseHealthy, PhaseFailed); err != nil {
		return Progress{}, err
	}
	if p.Running != "" {
		if err := bundle.CheckVersion(p.Running); err != nil {
			return Progress{}, err
		}
	}
	return p, nil
}

func parseEntry[T any](text string) (entry T, err error) {
	if len(text) > maxEntryBytes {
		return entry, fmt.Errorf("it has %d bytes, more than the limit of %d", len(text), maxEntryBytes)
	}
	err = json.Unmarshal([]byte(text), &entry)
	return entry, err
}

// known returns an error if all does not contain value.
func known[T ~string](value T, all ...T) error {
	if !slices.Contains(all, value) {
		return fmt.Errorf("unknown value %.40q; valid values: %q", value, all)
	}
	return nil
}
