package ebs

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/packer-plugin-sdk/multistep"
)

// stepStopInstance stops the instance, so that the image's file systems are
// consistent. A spot instance can't be stopped; CreateImage shuts it down while
// it takes the snapshot.
type stepStopInstance struct{ noCleanup }

// Run implements multistep.Step.
func (s *stepStopInstance) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	return run(ctx, state, "stop the instance", func(ctx context.Context, b *build) error {
		if b.config.SpotPrice != "" {
			return nil
		}
		id := keyInstanceID.get(state)
		b.say("Stopping %s", id)
		if _, err := mutate(ctx, b.aws.EC2.StopInstances, &ec2.StopInstancesInput{InstanceIds: []string{id}}); err != nil {
			return err
		}
		return awaitInstance(ctx, b, state, types.InstanceStateNameStopped, nil)
	})
}
