package ebs

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
)

// hostKey is the SSH host key of the build instance. The builder generates it
// and passes it in user-data, so that it can authenticate the instance; the key
// is worthless once the instance is terminated.
type hostKey struct {
	private, authorized string
	public              ssh.PublicKey
	mismatch            *atomic.Bool // a machine presented another key
}

// userData returns the cloud-init configuration that installs the key. It is
// JSON, which is valid YAML, because that escapes the key's line breaks.
func (k *hostKey) userData() (string, error) {
	config, err := json.Marshal(map[string]any{
		"ssh_deletekeys": true,
		"ssh_keys":       map[string]string{"ed25519_private": k.private, "ed25519_public": k.authorized},
	})
	if err != nil {
		return "", fmt.Errorf("encode user-data: %w", err)
	}
	return base64.StdEncoding.EncodeToString(append([]byte("#cloud-config\n"), config...)), nil
}

var errHostKeyMismatch = errors.New("the machine that answered does not have the host key of the build instance")

// check implements ssh.HostKeyCallback.
func (k *hostKey) check(host string, _ net.Addr, shown ssh.PublicKey) error {
	if bytes.Equal(shown.Marshal(), k.public.Marshal()) {
		return nil
	}
	k.mismatch.Store(true)
	return fmt.Errorf("%w (%s)", errHostKeyMismatch, host)
}
