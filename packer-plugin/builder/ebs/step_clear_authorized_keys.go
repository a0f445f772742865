package ebs

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/packer-plugin-sdk/multistep"
)

// stepClearAuthorizedKeys removes the build's key from the users' authorized
// keys if ssh_clear_authorized_keys is set.
type stepClearAuthorizedKeys struct{ noCleanup }

// Run implements multistep.Step.
func (s *stepClearAuthorizedKeys) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	return run(ctx, state, "clear the authorized keys", func(ctx context.Context, b *build) error {
		pair := keyKeyPair.get(state)
		if pair == nil || !b.config.Comm.SSHClearAuthorizedKeys {
			return nil
		}
		key := strings.Fields(string(pair.publicKey))[1]
		command := fmt.Sprintf("for f in ~/.ssh/authorized_keys /root/.ssh/authorized_keys; do "+
			"if sudo -n test -e $f; then sudo -n sed -i '\\|%s|d' $f; fi; done", key)
		status, _, err := runRemote(ctx, state, command)
		if err == nil && status != 0 {
			err = fmt.Errorf("sed: exit status %d", status)
		}
		return err
	})
}
