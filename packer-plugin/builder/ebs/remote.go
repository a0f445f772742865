package ebs

import (
	"bytes"
	"context"
	"fmt"

	"github.com/hashicorp/packer-plugin-sdk/multistep"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

// runRemote runs a command on the instance.
func runRemote(ctx context.Context, state multistep.StateBag, command string) (status int, output string, err error) {
	var out bytes.Buffer
	cmd := &packersdk.RemoteCmd{Command: command, Stdout: &out}
	if err := keyCommunicator.get(state).Start(ctx, cmd); err != nil {
		return 0, "", fmt.Errorf("run %q: %w", command, err)
	}
	exited := make(chan int, 1)
	go func() { exited <- cmd.Wait() }()
	select {
	case <-ctx.Done():
		return 0, "", ctx.Err()
	case status = <-exited:
		return status, out.String(), nil
	}
}
