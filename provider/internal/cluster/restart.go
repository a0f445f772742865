package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

// restart stops the node's instance, changes its data volume, IPv6 address, type and
// placement, and starts it again. If AWS refuses the new type or placement, it starts it
// with the former one.
func (op *operation) restart(ctx context.Context, n clusterspec.Node) error {
	former := op.actual.live[n.Name]
	if err := op.stop(ctx, former); err != nil {
		return err
	}
	if attached := former.volumeAt(dataDevice); attached != n.VolumeID {
		if err := op.exchangeVolume(ctx, n, former, attached); err != nil {
			return fmt.Errorf("node %s is stopped until the next apply: %w", n.Name, err)
		}
	}
	if err := op.setIPv6(ctx, n, former); err != nil {
		return errors.Join(fmt.Errorf("node %s: %w", n.Name, err), op.start(ctx, n))
	}
	was, wanted := former.hardware(), op.wantedHardware(n)
	err := op.setHardware(ctx, former, was, wanted)
	if err == nil {
		err = op.start(ctx, n)
	}
	if err == nil || was == wanted {
		return err
	}
	back := op.setHardware(ctx, former, wanted, was)
	started := op.start(ctx, n)
	if back == nil && started == nil {
		err = fmt.Errorf("the node runs as %s again: %w", was, err)
	}
	return errors.Join(op.launchError(n, err), back, started)
}

// stop stops an instance and waits until it is stopped.
func (op *operation) stop(ctx context.Context, i instance) error {
	if i.state() == ec2types.InstanceStateNameStopped {
		return nil
	}
	op.actual.mu.Lock()
	op.stopped[i.node] = true
	op.actual.mu.Unlock()
	_, err := awswait.Retry(ctx, awswait.StateChange, awswait.IsIncorrectState, func(ctx context.Context) (any, error) {
		return op.Client.EC2.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: []string{i.id()}})
	})
	if err != nil {
		return fmt.Errorf("stop %s: %w", i.id(), err)
	}
	return awswait.Until(ctx, awswait.InstanceStop, func(ctx context.Context) (bool, string, error) {
		state, err := op.stateOf(ctx, i)
		return state == ec2types.InstanceStateNameStopped, fmt.Sprintf("waiting for %s, which is %s, to stop", i.id(), state), err
	})
}

// stateOf describes one instance. Unlike observeInstances, it can be called while
// other nodes are changed in parallel.
func (op *operation) stateOf(ctx context.Context, i instance) (ec2types.InstanceStateName, error) {
	out, err := op.Client.EC2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{i.id()}})
	if err != nil {
		return "", err
	}
	for _, r := range out.Reservations {
		for _, found := range r.Instances {
			return found.State.Name, nil
		}
	}
	return "", fmt.Errorf("instance %s does not exist", i.id())
}

// setType sets the type of a stopped instance.
func (op *operation) setType(ctx context.Context, i instance, name string) error {
	_, err := op.Client.EC2.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: i.InstanceId,
		InstanceType: &ec2types.AttributeValue{Value: &name}})
	if err != nil {
		return fmt.Errorf("set the type of %s to %s: %w", i.id(), name, err)
	}
	return nil
}

// exchangeVolume replaces the data volume of a stopped instance, if it has one, by the
// node's, if it has one.
func (op *operation) exchangeVolume(ctx context.Context, n clusterspec.Node, i instance, attached string) error {
	if attached != "" {
		if err := op.detach(ctx, attached, i); err != nil {
			return fmt.Errorf("detach %s from %s: %w", attached, i.id(), err)
		}
	}
	if n.VolumeID == "" {
		return nil
	}
	if err := op.releaseVolume(ctx, n); err != nil {
		return err
	}
	if err := op.attachVolume(ctx, n, i); err != nil {
		return fmt.Errorf("attach %s to %s: %w", n.VolumeID, i.id(), err)
	}
	return nil
}

// releaseVolume takes the node's data volume from the node that has it and that gets
// another one: they exchange their volumes. That node stays stopped until its turn.
func (op *operation) releaseVolume(ctx context.Context, n clusterspec.Node) error {
	name := op.volumeHolder(n)
	if name == "" {
		return nil
	}
	holder := op.actual.live[name]
	if err := op.stop(ctx, holder); err != nil { // a running instance has it mounted
		return err
	}
	if err := op.detach(ctx, n.VolumeID, holder); err != nil {
		return fmt.Errorf("detach %s from %s: %w", n.VolumeID, holder.id(), err)
	}
	return op.observeInstances(ctx)
}

// start starts the node's stopped instance and waits until it is running.
func (op *operation) start(ctx context.Context, n clusterspec.Node) error {
	i := op.actual.live[n.Name]
	if err := op.forgetBoot(ctx, n); err != nil {
		return err
	}
	if _, err := op.Client.EC2.StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: []string{i.id()}}, failSoonWithoutCapacity); err != nil {
		return fmt.Errorf("start %s: %w", i.id(), err)
	}
	delete(op.stopped, n.Name)
	return op.waitRunning(ctx, []clusterspec.Node{n})
}
