package ebs

import (
	"context"
	"fmt"

	"github.com/hashicorp/packer-plugin-sdk/multistep"
)

// cloudInitDegraded is cloud-init's exit status after recoverable errors
// (cloud-init's documentation, "Return codes").
const cloudInitDegraded = 2

// stepWaitForCloudInit waits until cloud-init is done, if the image has it.
type stepWaitForCloudInit struct{ noCleanup }

// Run implements multistep.Step.
func (s *stepWaitForCloudInit) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	return run(ctx, state, "wait for cloud-init", func(ctx context.Context, b *build) error {
		status, output, err := runRemote(ctx, state, "if command -v cloud-init >/dev/null; then cloud-init status --wait --long; fi")
		switch {
		case err != nil:
			return err
		case status == cloudInitDegraded:
			b.say("cloud-init reports recoverable errors:\n%s", output)
			return nil
		case status != 0:
			return fmt.Errorf("cloud-init failed with exit status %d: %s", status, output)
		}
		return nil
	})
}
