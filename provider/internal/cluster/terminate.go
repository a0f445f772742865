package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/xeroops/xeroops/internal/awswait"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// removeNodes terminates the instances of nodes that are not wanted any more,
// and those that a node has too many.
func (w *work) removeNodes(ctx context.Context) error {
	unwanted := slices.Clone(w.seen.surplus)
	for name, i := range w.seen.live {
		if _, wanted := w.spec.Nodes[name]; !wanted {
			unwanted = append(unwanted, i)
		}
	}
	return w.terminate(ctx, unwanted)
}

// terminate ends instances and waits until they are gone, and their addresses
// with them. It lifts the protection of those that it ends.
func (w *work) terminate(ctx context.Context, instances []instance) error {
	if len(instances) == 0 {
		return nil
	}
	if w.spec.TerminationProtection || w.setProtection {
		err := base.ParallelAll(ctx, stepsFor(instances, func(ctx context.Context, _ int, i instance) error {
			return awswait.Ignore(w.protect(ctx, i, false), awswait.IsNotFound)
		})...)
		if err != nil {
			return err
		}
	}
	ids := make([]string, len(instances))
	for n, i := range instances {
		ids[n] = i.id()
	}
	_, err := w.Client.EC2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: ids})
	if awswait.HasCode(err, "OperationNotPermitted") {
		return base.AtAttribute(path.Root("termination_protection"),
			fmt.Errorf("an instance of %s is protected against termination, which termination_protection does not say; lift that protection first: %w", strings.Join(ids, ", "), err))
	}
	if err = awswait.Ignore(err, awswait.IsNotFound); err != nil {
		return fmt.Errorf("terminate %s: %w", strings.Join(ids, ", "), err)
	}
	return w.waitTerminated(ctx, ids)
}

func (w *work) protect(ctx context.Context, i instance, on bool) error {
	_, err := w.Client.EC2.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: i.InstanceId,
		DisableApiTermination: &ec2types.AttributeBooleanValue{Value: aws.Bool(on)}})
	return err
}

// observeProtectedInstances observes the instances, and where they should be
// protected against termination, whether they are. That costs a call for each,
// and is left out where protection is set anew anyway.
func (w *work) observeProtectedInstances(ctx context.Context) error {
	if err := w.observeInstances(ctx); err != nil || !w.spec.TerminationProtection || w.setProtection || w.first {
		return err
	}
	live := slices.Collect(maps.Values(w.seen.live))
	exposed := make([]bool, len(live))
	err := base.Parallel(ctx, stepsFor(live, func(ctx context.Context, n int, i instance) error {
		out, err := w.Client.EC2.DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{InstanceId: i.InstanceId,
			Attribute: ec2types.InstanceAttributeNameDisableApiTermination})
		if err != nil {
			return awswait.Ignore(err, awswait.IsNotFound)
		}
		exposed[n] = out.DisableApiTermination != nil && !aws.ToBool(out.DisableApiTermination.Value)
		return nil
	})...)
	w.seen.exposed = map[string]bool{}
	for n, i := range live {
		w.seen.exposed[i.id()] = exposed[n]
	}
	return err
}

func (w *work) waitTerminated(ctx context.Context, ids []string) error {
	return awswait.Until(ctx, awswait.DependencyRelease, func(ctx context.Context) (bool, string, error) {
		if err := w.observeInstances(ctx); err != nil {
			return false, "", err
		}
		var waiting []string
		for _, i := range w.seen.all() {
			if slices.Contains(ids, i.id()) && i.state() != ec2types.InstanceStateNameTerminated {
				waiting = append(waiting, fmt.Sprintf("%s (%s)", i.node, i.id()))
			}
		}
		return len(waiting) == 0, "waiting for " + strings.Join(waiting, ", ") + " to terminate", nil
	})
}

// all returns every instance that AWS shows.
func (o *observed) all() []instance {
	all := slices.Concat(o.surplus, o.ended)
	for _, i := range o.live {
		all = append(all, i)
	}
	return all
}

// removeUnusedRoles removes groups and IAM roles of roles without a node.
func (w *work) removeUnusedRoles(ctx context.Context) error {
	var groups, roles []model.Role
	for _, role := range model.Roles() {
		_, hasGroup := w.seen.groups[role]
		_, hasRole := w.seen.roles[role]
		_, hasProfile := w.seen.profiles[role]
		if hasGroup && !slices.Contains(w.spec.roles(), role) {
			groups = append(groups, role)
		}
		if (hasRole || hasProfile) && !slices.Contains(w.managedRoles(), role) {
			roles = append(roles, role)
		}
	}
	return base.ParallelAll(ctx,
		func(ctx context.Context) error { return w.deleteGroups(ctx, groups) },
		func(ctx context.Context) error { return w.deleteRoles(ctx, roles) },
	)
}

var errProtected = errors.New("termination_protection is on; set it to false and apply before you destroy the cluster")

// destroy removes all of the cluster, found by tag and name: no node has to
// answer, and what is gone already is fine.
func (w *work) destroy(ctx context.Context) error {
	if w.spec.TerminationProtection {
		return base.AtAttribute(path.Root("termination_protection"), errProtected)
	}
	if err := w.observe(ctx); err != nil {
		return err
	}
	var live []instance
	for _, i := range w.seen.live {
		live = append(live, i)
	}
	err := base.ParallelAll(ctx,
		w.deleteRoutes,
		func(ctx context.Context) error { return w.terminate(ctx, append(live, w.seen.surplus...)) },
	)
	if err != nil {
		return err
	}
	w.spec.Nodes = nil // no role is in use any more
	return base.ParallelAll(ctx, w.removeUnusedRoles, w.purgeObjects)
}
