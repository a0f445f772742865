package vpn

import (
	"crypto/ecdh"
	"encoding/base64"
	"fmt"
	"io"
)

// keySize is the length of a WireGuard key in bytes (RFC 7748, X25519).
const keySize = 32

// keyPair is a WireGuard key pair, each in base64 as `wg genkey` and `wg pubkey`
// print them.
type keyPair struct {
	private, public string
}

func newKeyPair(random io.Reader) (keyPair, error) {
	scalar := make([]byte, keySize)
	if _, err := io.ReadFull(random, scalar); err != nil {
		return keyPair{}, fmt.Errorf("read random bytes: %w", err)
	}
	// Clamped (RFC 7748 §5) like the output of `wg genkey`; X25519 itself also clamps.
	scalar[0] &= 248
	scalar[31] = scalar[31]&127 | 64
	private, err := ecdh.X25519().NewPrivateKey(scalar)
	if err != nil {
		return keyPair{}, fmt.Errorf("generate an X25519 key: %w", err)
	}
	return keyPair{
		private: base64.StdEncoding.EncodeToString(private.Bytes()),
		public:  base64.StdEncoding.EncodeToString(private.PublicKey().Bytes()),
	}, nil
}

// checkKey returns an error if s is not a WireGuard public key. The error does not
// contain s, which may be a private key by mistake.
func checkKey(s string) error {
	key, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(key) != keySize || len(s) != base64.StdEncoding.EncodedLen(keySize) { // a decoder skips line ends
		return fmt.Errorf("a WireGuard public key is %d bytes in base64, 44 characters as `wg pubkey` prints them", keySize)
	}
	if [keySize]byte(key) == [keySize]byte{} {
		return fmt.Errorf("the key is all zeros, which is not a public key")
	}
	return nil
}
