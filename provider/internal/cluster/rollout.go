package cluster

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	model "github.com/xeroops/xeroops/internal/cluster"
)

// toBeReplaced says whether a node's instance cannot become what is wanted.
func (w *work) toBeReplaced(n nodeSpec) bool {
	i, lives := w.seen.live[n.Name]
	return lives && (i.role != n.Role || string(i.InstanceType) != n.InstanceType || aws.ToString(i.ImageId) != n.ImageID ||
		aws.ToString(i.SubnetId) != n.SubnetID || aws.ToString(i.PrivateIpAddress) != n.Address)
}

// rolloutOrder returns the nodes to replace, in a safe order: role by role as
// model.Roles has them, and a database's primary after its replicas, so that
// the data changes hands once.
func (w *work) rolloutOrder(ctx context.Context) ([]nodeSpec, error) {
	var changed []nodeSpec
	for _, n := range w.spec.nodes() {
		if w.toBeReplaced(n) {
			changed = append(changed, n)
		}
	}
	if len(changed) == 0 {
		return nil, nil
	}
	primary, err := w.primary(ctx)
	if err != nil {
		return nil, err
	}
	roles := model.Roles()
	slices.SortStableFunc(changed, func(a, b nodeSpec) int {
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
	return changed, nil
}

// primary is the node that reports to run the primary database. Where none
// does, it is the first by name: the one that a new cluster starts with.
func (w *work) primary(ctx context.Context) (string, error) {
	databases := w.spec.nodesOf(model.RoleDB)
	reports, err := w.readReports(ctx, databases)
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
