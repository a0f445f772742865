package ebs

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/packer-plugin-sdk/multistep"

	"github.com/xeroops/xeroops/internal/awswait"
)

// stepWaitForInstance waits until the instance is running.
type stepWaitForInstance struct{ noCleanup }

// Run implements multistep.Step.
func (s *stepWaitForInstance) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	return run(ctx, state, "wait for the instance", func(ctx context.Context, b *build) error {
		return awaitInstance(ctx, b, state, types.InstanceStateNameRunning, func(i types.Instance) error {
			switch i.State.Name {
			case types.InstanceStateNameShuttingDown, types.InstanceStateNameTerminated, types.InstanceStateNameStopped:
				reason := ""
				if i.StateReason != nil {
					reason = aws.ToString(i.StateReason.Message)
				}
				return fmt.Errorf("%s is %s: %s", aws.ToString(i.InstanceId), i.State.Name, reason)
			}
			return nil
		})
	})
}

// awaitInstance waits until the instance is in a state. An error of failed, if
// given, ends the wait.
func awaitInstance(ctx context.Context, b *build, state multistep.StateBag, want types.InstanceStateName, failed func(types.Instance) error) error {
	id := keyInstanceID.get(state)
	return b.await(ctx, fmt.Sprintf("%s to be %s", id, want), func(ctx context.Context) (bool, string, error) {
		out, err := b.aws.EC2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
		if awswait.IsNotFound(err) || err == nil && len(out.Reservations) == 0 {
			return false, "not listed", nil
		}
		if err != nil {
			return false, "", err
		}
		instance := out.Reservations[0].Instances[0]
		keyInstance.put(state, instance)
		if instance.State.Name == want {
			return true, "", nil
		}
		if failed != nil {
			err = failed(instance)
		}
		return false, string(instance.State.Name), err
	})
}
