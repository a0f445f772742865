package cluster

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

// toBeReplaced reports whether a node's instance cannot be changed in place.
func (op *operation) toBeReplaced(n clusterspec.Node) bool {
	i, lives := op.actual.live[n.Name]
	if lives && (i.isSpot() != n.Spot || n.Spot && i.hardware() != op.wantedHardware(n)) {
		return true // a Spot Instance of a one-time request cannot be stopped
	}
	return lives && (i.role != n.Role || aws.ToString(i.ImageId) != n.ImageID || op.isMoved(n))
}

// isMoved reports whether the node's instance is at another address than the
// configuration has, so that its successor can run beside it.
func (op *operation) isMoved(n clusterspec.Node) bool {
	i, lives := op.actual.live[n.Name]
	return lives && i.location() != location(n.SubnetID, n.Address)
}

// toBeRestarted reports whether a node's instance has to be stopped to be changed:
// it gets another type, tenancy, placement group or IPv6 address, or gives up a data volume, or this run has stopped it.
func (op *operation) toBeRestarted(n clusterspec.Node) bool {
	i, lives := op.actual.live[n.Name]
	if !lives || op.toBeReplaced(n) {
		return false
	}
	attached := i.volumeAt(dataDevice)
	return i.hardware() != op.wantedHardware(n) || attached != "" && attached != n.VolumeID || op.ipv6Differs(n, i) || op.stopped[n.Name]
}

// volumeHolder returns another node whose instance has the node's data volume, or "".
func (op *operation) volumeHolder(n clusterspec.Node) string {
	for name, i := range op.actual.live {
		if name != n.Name && n.VolumeID != "" && i.volumeAt(dataDevice) == n.VolumeID {
			return name
		}
	}
	return ""
}

// toBeLaunchedLater reports whether a node without an instance needs a data volume
// that another node's instance gives up in the rollout.
func (op *operation) toBeLaunchedLater(n clusterspec.Node) bool {
	_, lives := op.actual.live[n.Name]
	return !lives && op.volumeHolder(n) != ""
}

// rolloutOrder returns the nodes to replace, to restart or to launch later, in a safe
// order: role by role in the order of model.Roles, and the primary database after its
// replicas, so that there is one failover. But a node that gives up a data volume is
// before the one that gets it.
func (op *operation) rolloutOrder(ctx context.Context) ([]clusterspec.Node, error) {
	var changed []clusterspec.Node
	for _, n := range op.spec.SortedNodes() {
		if op.toBeReplaced(n) || op.toBeRestarted(n) || op.toBeLaunchedLater(n) {
			changed = append(changed, n)
		}
	}
	if len(changed) == 0 {
		return nil, nil
	}
	primary, err := op.primary(ctx)
	if err != nil {
		return nil, err
	}
	roles := model.Roles()
	slices.SortStableFunc(changed, func(a, b clusterspec.Node) int {
		if byRole := slices.Index(roles, a.Role) - slices.Index(roles, b.Role); byRole != 0 {
			return byRole
		}
		if a.Role == model.RoleDB && (a.Name == primary) != (b.Name == primary) {
			if a.Name == primary {
				return 1
			}
			return -1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return op.holdersFirst(changed), nil
}

// holdersFirst returns the nodes in the same order, except that each is after the one
// that has its data volume. Where nodes exchange volumes in a circle, the first stays
// first.
func (op *operation) holdersFirst(nodes []clusterspec.Node) []clusterspec.Node {
	rest, ordered := slices.Clone(nodes), []clusterspec.Node(nil)
	for len(rest) > 0 {
		next := slices.IndexFunc(rest, func(n clusterspec.Node) bool {
			holder := op.volumeHolder(n)
			return !slices.ContainsFunc(rest, func(other clusterspec.Node) bool { return other.Name == holder })
		})
		next = max(next, 0)
		ordered = append(ordered, rest[next])
		rest = slices.Delete(rest, next, next+1)
	}
	return ordered
}

// primary returns the node that reports to run the primary database. If none
// does, it returns the first by name, with which a new cluster starts.
func (op *operation) primary(ctx context.Context) (string, error) {
	databases := op.spec.NodesOf(model.RoleDB)
	reports, err := op.readReports(ctx, databases)
	if err != nil {
		return "", err
	}
	for _, report := range reports {
		for _, s := range report.Services {
			if s.Name == "postgresql" && s.Detail == "primary" {
				return report.Node, nil
			}
		}
	}
	if len(databases) == 0 {
		return "", nil
	}
	return databases[0].Name, nil
}
