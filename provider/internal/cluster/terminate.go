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
	"github.com/xeroops/xeroops/provider/internal/base"
)

// removeNodes terminates the instances of removed nodes and surplus instances.
func (op *operation) removeNodes(ctx context.Context) error {
	unwanted := slices.Clone(op.actual.surplus)
	for name, i := range op.actual.live {
		if _, wanted := op.spec.Nodes[name]; !wanted {
			unwanted = append(unwanted, i)
		}
	}
	return op.terminate(ctx, unwanted)
}

// terminate terminates instances and waits until they are terminated; their
// addresses are free some time after (see runInstances). It removes their termination protection first.
func (op *operation) terminate(ctx context.Context, instances []instance) error {
	if len(instances) == 0 {
		return nil
	}
	if op.spec.TerminationProtection || op.setProtection {
		err := base.ParallelAll(ctx, base.StepsFor(instances, func(ctx context.Context, _ int, i instance) error {
			return awswait.Ignore(op.protect(ctx, i, false), awswait.IsNotFound)
		})...)
		if err != nil {
			return err
		}
	}
	ids := make([]string, len(instances))
	for n, i := range instances {
		ids[n] = i.id()
		op.actual.terminated[i.interfaceID()] = true
	}
	_, err := op.Client.EC2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: ids})
	if awswait.HasCode(err, "OperationNotPermitted") {
		return base.AtAttribute(path.Root("termination_protection"),
			fmt.Errorf("an instance of %s has termination protection although termination_protection is false; disable it on the instance first: %w", strings.Join(ids, ", "), err))
	}
	if err = awswait.Ignore(err, awswait.IsNotFound); err != nil {
		return fmt.Errorf("terminate %s: %w", strings.Join(ids, ", "), err)
	}
	return op.waitTerminated(ctx, ids)
}

// protect sets the termination protection of an instance, which Spot Instances do not
// have.
func (op *operation) protect(ctx context.Context, i instance, on bool) error {
	if i.isSpot() {
		return nil
	}
	_, err := op.Client.EC2.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: i.InstanceId,
		DisableApiTermination: &ec2types.AttributeBooleanValue{Value: aws.Bool(on)}})
	return err
}

// observeProtectedInstances observes the instances with their CPU credits and root volumes and, if they
// should have termination protection, whether they have it. That costs a call per instance,
// and is skipped where protection is going to be set anyway.
func (op *operation) observeProtectedInstances(ctx context.Context) error {
	if err := op.observeInstances(ctx); err != nil {
		return err
	}
	if err := base.Parallel(ctx, op.observeCredits, op.observeRootVolumes); err != nil || !op.spec.TerminationProtection || op.setProtection || op.creating {
		return err
	}
	live := slices.DeleteFunc(slices.Collect(maps.Values(op.actual.live)), instance.isSpot)
	unprotected := make([]bool, len(live))
	err := base.Parallel(ctx, base.StepsFor(live, func(ctx context.Context, n int, i instance) error {
		out, err := op.Client.EC2.DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{InstanceId: i.InstanceId,
			Attribute: ec2types.InstanceAttributeNameDisableApiTermination})
		if err != nil {
			return awswait.Ignore(err, awswait.IsNotFound)
		}
		unprotected[n] = out.DisableApiTermination != nil && !aws.ToBool(out.DisableApiTermination.Value)
		return nil
	})...)
	op.actual.unprotected = map[string]bool{}
	for n, i := range live {
		op.actual.unprotected[i.id()] = unprotected[n]
	}
	return err
}

func (op *operation) waitTerminated(ctx context.Context, ids []string) error {
	return awswait.Until(ctx, awswait.DependencyRelease, func(ctx context.Context) (bool, string, error) {
		if err := op.observeInstances(ctx); err != nil {
			return false, "", err
		}
		var waiting []string
		for _, i := range op.actual.all() {
			if slices.Contains(ids, i.id()) && i.state() != ec2types.InstanceStateNameTerminated {
				waiting = append(waiting, fmt.Sprintf("%s (%s)", i.node, i.id()))
			}
		}
		return len(waiting) == 0, "waiting for " + strings.Join(waiting, ", ") + " to terminate", nil
	})
}

// all returns every observed instance.
func (a *actualState) all() []instance {
	all := slices.Concat(a.surplus, a.ended)
	for _, i := range a.live {
		all = append(all, i)
	}
	return all
}

var errProtected = errors.New("termination_protection is enabled; set it to false and apply before you destroy the cluster")

// destroy deletes all of the cluster, found by tag and name. It needs no node to
// respond, and ignores what does not exist any more.
func (op *operation) destroy(ctx context.Context) error {
	if op.spec.TerminationProtection {
		return base.AtAttribute(path.Root("termination_protection"), errProtected)
	}
	if err := op.observe(ctx); err != nil {
		return err
	}
	if err := op.checkGroupsUnused(); err != nil {
		return err
	}
	instances := slices.Concat(slices.Collect(maps.Values(op.actual.live)), op.actual.surplus)
	err := base.ParallelAll(ctx, op.routes.Delete, op.endpoint.Delete,
		func(ctx context.Context) error { return op.terminate(ctx, instances) })
	if err != nil {
		return err
	}
	return base.ParallelAll(ctx, op.groups.Delete, op.roles.Delete, op.objects.Delete)
}

// checkGroupsUnused returns an error if a copy of a node is in one of the cluster's
// security groups, which therefore could not be deleted.
func (op *operation) checkGroupsUnused() error {
	for _, i := range op.actual.copies {
		for _, g := range i.SecurityGroups {
			if id := aws.ToString(g.GroupId); op.groups.Owns(id) {
				return fmt.Errorf("instance %s carries the tags of node %s but is not part of the cluster, and is in its security group %s; "+
					"take it out of the group or terminate it first", i.id(), i.node, id)
			}
		}
	}
	return nil
}
