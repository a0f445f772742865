package ebs

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/packer-plugin-sdk/multistep"
	"golang.org/x/crypto/ssh"
)

// stepMakeHostKey generates the instance's SSH host key.
type stepMakeHostKey struct{ noCleanup }

// Run implements multistep.Step.
func (s *stepMakeHostKey) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	return run(ctx, state, "generate the host key", func(context.Context, *build) error {
		key, err := newHostKey()
		keyHostKey.put(state, key)
		return err
	})
}

func newHostKey() (*hostKey, error) {
	private, authorized, err := generateKey("")
	if err != nil {
		return nil, err
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(authorized)
	if err != nil {
		return nil, fmt.Errorf("parse the host key: %w", err)
	}
	return &hostKey{string(private), strings.TrimSpace(string(authorized)), public, new(atomic.Bool)}, nil
}
