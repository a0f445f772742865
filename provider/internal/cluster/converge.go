package cluster

import (
	"context"
	"fmt"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-log/tflog"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// work is one run of an operation on a cluster: what is wanted, what is there,
// and what came of it.
type work struct {
	view
	spec               spec
	given              map[model.Role]map[string]string // credentials_wo
	rewriteCredentials bool                             // write given credentials again
	rotateInternal     bool                             // make new internal credentials
	setProtection      bool                             // termination_protection was changed
	setTags            bool                             // tags were changed: also of what a look at them costs a call
	first              bool                             // there is no state
	readPolicies       bool                             // look at the policies of IAM roles, instead of putting them anew

	vpnPublicKey string
	around       surroundings
	priorStatus  string       // before this run; "" if it is the first
	changed      bool         // something at AWS may have been changed
	mayRun       bool         // an instance may have been launched
	launched     bool         // some node is new, or was started anew
	unready      []nodeReport // nodes that did not report ready in time
	verified     bool         // readiness was waited for
}

func (r *clusterResource) newWork(m clusterModel, given map[model.Role]map[string]string) *work {
	s := m.spec()
	return &work{view: newView(r.ProviderData, s.Name, s.Buckets.Uploads), spec: s, given: given, vpnPublicKey: publicKeyOf(m.VPN)}
}

// converge makes the cluster what is wanted, from whatever is there. It checks
// before it changes anything, and an error leaves everything it had made where
// the next converge finds it.
func (w *work) converge(ctx context.Context) error {
	if err := w.observe(ctx, w.observeVPC, w.observeSurroundings); err != nil {
		return err
	}
	if err := w.check(); err != nil {
		return err
	}
	w.changed = true
	if err := w.foundation(ctx); err != nil {
		return err
	}
	if err := w.removeNodes(ctx); err != nil {
		return err
	}
	if err := w.launchMissing(ctx); err != nil {
		return err
	}
	if err := w.replaceChanged(ctx); err != nil {
		return err
	}
	return w.removeUnusedRoles(ctx)
}

// foundation makes what nodes boot on: groups, roles, objects. They do not
// depend on each other.
func (w *work) foundation(ctx context.Context) error {
	return base.ParallelAll(ctx, w.ensureGroups, w.ensureRoles, w.ensureObjects)
}

// launchMissing launches all nodes that are wanted and not there, side by side:
// a first create, an added node, a lost one.
func (w *work) launchMissing(ctx context.Context) error {
	var missing, stopped []nodeSpec
	for _, n := range w.spec.nodes() {
		i, lives := w.seen.live[n.Name]
		switch {
		case !lives:
			missing = append(missing, n)
		case i.state() == ec2types.InstanceStateNameStopped && !w.toBeReplaced(n):
			stopped = append(stopped, n)
		}
	}
	if err := w.launch(ctx, missing); err != nil {
		return err
	}
	if err := w.wire(ctx); err != nil { // which starts the stopped ones
		return err
	}
	if len(stopped) > 0 {
		if err := w.waitRunning(ctx, stopped); err != nil {
			return err
		}
	}
	return w.waitReady(ctx, w.unproven(append(missing, stopped...)))
}

// needsProof says whether a cluster of that status has to be waited for also if
// nothing is launched: it was left incomplete, or its readiness did not matter
// before and does now.
func needsProof(status, onReadyTimeout string) bool {
	return status == statusIncomplete || status == statusUnverified && onReadyTimeout == onTimeoutError
}

// unproven are the nodes whose readiness has to be waited for: the fresh ones,
// and after an incomplete run all that stay.
func (w *work) unproven(fresh []nodeSpec) []nodeSpec {
	if !needsProof(w.priorStatus, w.spec.OnReadyTimeout) {
		return fresh
	}
	var nodes []nodeSpec
	for _, n := range w.spec.nodes() {
		if !w.toBeReplaced(n) {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// replaceChanged replaces, one at a time, the nodes whose instance cannot
// become what is wanted. The next is not touched before the last one reported
// ready, so a bad image costs one node.
func (w *work) replaceChanged(ctx context.Context) error {
	changed, err := w.rolloutOrder(ctx)
	if err != nil {
		return err
	}
	for n, node := range changed {
		tflog.Info(ctx, "replacing node", map[string]any{"node": node.Name, "number": n + 1, "of": len(changed)})
		if err := w.replace(ctx, node); err != nil {
			return fmt.Errorf("replace node %s (%d of %d; the others are as they were): %w", node.Name, n+1, len(changed), err)
		}
	}
	return nil
}

func (w *work) replace(ctx context.Context, node nodeSpec) error {
	if err := w.terminate(ctx, []instance{w.seen.live[node.Name]}); err != nil {
		return err
	}
	if err := w.launch(ctx, []nodeSpec{node}); err != nil {
		return err
	}
	if err := w.wire(ctx); err != nil {
		return err
	}
	if err := w.waitReady(ctx, []nodeSpec{node}); err != nil || len(w.unready) == 0 {
		return err
	}
	// A rollout never goes past a node that is not ready, warn or not.
	return unreadyError(w.unready, w.spec.ReadyTimeout)
}

// status is the attribute status, after converge returned err.
func (w *work) status(err error) string {
	switch {
	case err != nil:
		return statusIncomplete
	case !w.launched && w.priorStatus != "" && w.priorStatus != statusIncomplete:
		return w.priorStatus
	case !w.verified || len(w.unready) > 0:
		return statusUnverified
	}
	return statusReady
}

// reportReadiness warns of nodes that are not ready, where that is no error.
func (w *work) reportReadiness(diags *diag.Diagnostics) {
	for _, n := range w.unready {
		diags.AddWarning(fmt.Sprintf("%s %s: node %s is not ready", kindCluster, w.spec.Name, n.Node), n.describe())
	}
}
