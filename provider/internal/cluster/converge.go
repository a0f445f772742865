package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-log/tflog"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

// converge brings the cluster from whatever exists to the specification. It
// checks before it changes anything. After an error, the next converge finds
// everything that this one created.
func (op *operation) converge(ctx context.Context) error {
	if !op.observed {
		if err := op.observe(ctx, op.observeVPC, op.observeDependencies); err != nil {
			return err
		}
	}
	if err := op.check(ctx); err != nil {
		return err
	}
	if err := op.adopt(ctx); err != nil {
		return err
	}
	op.changed = true
	if err := base.ParallelAll(ctx, op.groups.Ensure, op.roles.Ensure, op.objects.Ensure); err != nil { // what instances need to boot
		return err
	}
	if err := op.endpoint.Ensure(ctx); err != nil {
		return err
	}
	if err := op.removeNodes(ctx); err != nil {
		return err
	}
	if err := op.launchMissing(ctx); err != nil {
		return err
	}
	if err := op.replaceChanged(ctx); err != nil {
		return err
	}
	return base.ParallelAll(ctx, op.endpoint.Await, op.roles.DeleteUnused, op.setRootVolumes, func(ctx context.Context) error {
		if err := op.endpoint.DeleteUnused(ctx); err != nil { // it uses its group
			return err
		}
		return op.groups.DeleteUnused(ctx)
	})
}

// launchMissing launches all nodes without an instance in parallel: those of a
// first create, added ones and lost ones, except those that wait for a data volume.
func (op *operation) launchMissing(ctx context.Context) error {
	var missing, stopped []clusterspec.Node
	for _, n := range op.spec.SortedNodes() {
		i, lives := op.actual.live[n.Name]
		switch {
		case op.toBeLaunchedLater(n):
		case !lives:
			missing = append(missing, n)
		case i.state() == ec2types.InstanceStateNameStopped && !op.toBeReplaced(n) && !op.toBeRestarted(n):
			stopped = append(stopped, n)
		}
	}
	if err := op.launch(ctx, missing); err != nil {
		return err
	}
	if err := op.attachResources(ctx); err != nil { // also starts the stopped ones
		return err
	}
	if len(stopped) > 0 {
		if err := op.waitRunning(ctx, stopped); err != nil {
			return err
		}
	}
	return op.waitReady(ctx, op.nodesToVerify(append(missing, stopped...)))
}

// needsVerification reports whether a cluster with that status is waited for
// also if nothing is launched: it is incomplete, or its readiness was not
// verified before and now has to be.
func needsVerification(status, onReadyTimeout string) bool {
	return status == statusIncomplete || status == statusUnverified && onReadyTimeout == onTimeoutError
}

// nodesToVerify returns the nodes whose readiness is waited for: the launched
// ones or, where needsVerification, all that are not going to be replaced.
func (op *operation) nodesToVerify(launched []clusterspec.Node) []clusterspec.Node {
	if !needsVerification(op.priorStatus, op.spec.OnReadyTimeout) {
		return launched
	}
	var nodes []clusterspec.Node
	for _, n := range op.spec.SortedNodes() {
		if !op.toBeReplaced(n) && !op.toBeRestarted(n) && !op.toBeLaunchedLater(n) {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// replaceChanged replaces the nodes whose instance cannot be changed, and restarts
// those that can be changed while they are stopped, one at a time. Each has to
// report ready before the next, so that a bad image costs one node.
func (op *operation) replaceChanged(ctx context.Context) error {
	changed, err := op.rolloutOrder(ctx)
	if err != nil {
		return err
	}
	if err := op.dryRun(ctx, changed); err != nil {
		return err
	}
	for n, node := range changed {
		how, change := op.howToChange(node)
		tflog.Info(ctx, "changing node", map[string]any{"node": node.Name, "how": how, "number": n + 1, "of": len(changed)})
		if err := op.apply(ctx, node, change); err != nil {
			return fmt.Errorf("%s node %s (%d of %d; %s): %w", how, node.Name, n+1, len(changed), op.stateOfOthers(node), err)
		}
	}
	return nil
}

// howToChange returns how a node of the rollout is changed, for messages, and the
// function that does it.
func (op *operation) howToChange(n clusterspec.Node) (string, func(context.Context, clusterspec.Node) error) {
	switch {
	case op.toBeRestarted(n):
		return "restart", op.restart
	case op.toBeReplaced(n):
		return "replace", op.replace
	}
	return "launch", func(ctx context.Context, n clusterspec.Node) error { return op.launch(ctx, []clusterspec.Node{n}) }
}

// stateOfOthers describes the nodes that a rollout has not reached when it ends at n.
func (op *operation) stateOfOthers(n clusterspec.Node) string {
	for _, name := range slices.Sorted(maps.Keys(op.stopped)) {
		if name != n.Name {
			return "node " + name + " is stopped until the next apply, because the two exchange their data volumes"
		}
	}
	return "the others are unchanged"
}

// replace replaces the node's instance. If the new one has another address, the
// former one runs until the new one does, and so survives a lack of capacity.
func (op *operation) replace(ctx context.Context, node clusterspec.Node) error {
	former := op.actual.live[node.Name]
	if op.isMoved(node) {
		if err := op.launchSuccessor(ctx, node, former); err != nil {
			return err
		}
		if err := op.terminate(ctx, []instance{former}); err != nil {
			return err
		}
		return op.releaseVolume(ctx, node)
	}
	if err := op.terminate(ctx, []instance{former}); err != nil {
		return err
	}
	if err := op.launch(ctx, []clusterspec.Node{node}); err != nil {
		return fmt.Errorf("the node has no instance, because its address is that of the terminated %s: %w", former.id(), err)
	}
	return op.releaseVolume(ctx, node)
}

// launchSuccessor launches the new instance of a node beside the former one. A former
// database node is stopped meanwhile: while both run, the new member of Patroni's
// cluster takes the leader key, which has the node's name, for its own, and keeps it
// although it has no database.
func (op *operation) launchSuccessor(ctx context.Context, node clusterspec.Node, former instance) error {
	if node.Role == model.RoleDB {
		if err := op.stop(ctx, former); err != nil {
			return err
		}
	}
	err := op.launch(ctx, []clusterspec.Node{node})
	if node.Role != model.RoleDB {
		if err != nil {
			err = fmt.Errorf("instance %s keeps running: %w", former.id(), err)
		}
		return err
	}
	if err == nil {
		delete(op.stopped, node.Name) // the new one runs
		return nil
	}
	if op.actual.live[node.Name].id() != former.id() {
		return err // launched, and not running yet: the next apply continues
	}
	if back := op.start(ctx, node); back != nil {
		return errors.Join(err, back)
	}
	return fmt.Errorf("instance %s runs again: %w", former.id(), err)
}

// apply changes a node's instance and waits until the node is ready.
func (op *operation) apply(ctx context.Context, node clusterspec.Node, change func(context.Context, clusterspec.Node) error) error {
	if err := change(ctx, node); err != nil {
		return err
	}
	if err := op.attachResources(ctx); err != nil {
		return err
	}
	if err := op.waitReady(ctx, []clusterspec.Node{node}); err != nil || len(op.unready) == 0 {
		return err
	}
	// A rollout stops at a node that is not ready, also if on_ready_timeout is warn.
	return unreadyError(op.unready, op.spec.ReadyTimeout)
}
