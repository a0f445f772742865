package ebs

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
)

// hostKey is the SSH host key of the build instance. It is made here and given
// to the instance in its user-data, so the build knows whom it talks to; it is
// worth nothing once the instance is gone.
type hostKey struct {
	private, authorized string
	public              ssh.PublicKey
	other               *atomic.Bool // another key was shown
}

func (b *build) makeHostKey(context.Context) error {
	private, authorized, err := newKey("")
	if err != nil {
		return err
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(authorized)
	if err != nil {
		return fmt.Errorf("read the host key back: %w", err)
	}
	b.hostKey = hostKey{string(private), strings.TrimSpace(string(authorized)), public, new(atomic.Bool)}
	return nil
}

// userData is what cloud-init reads: JSON is YAML, and needs no care for the
// key's line breaks.
func (k hostKey) userData() (string, error) {
	config, err := json.Marshal(map[string]any{
		"ssh_deletekeys": true,
		"ssh_keys":       map[string]string{"ed25519_private": k.private, "ed25519_public": k.authorized},
	})
	if err != nil {
		return "", fmt.Errorf("encode user-data: %w", err)
	}
	return base64.StdEncoding.EncodeToString(append([]byte("#cloud-config\n"), config...)), nil
}

var errOtherHost = errors.New("the machine that answered has another SSH host key than the build instance was given")

// check is an ssh.HostKeyCallback.
func (k hostKey) check(host string, _ net.Addr, shown ssh.PublicKey) error {
	if bytes.Equal(shown.Marshal(), k.public.Marshal()) {
		return nil
	}
	k.other.Store(true)
	return fmt.Errorf("%w (%s)", errOtherHost, host)
}
