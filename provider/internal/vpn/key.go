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
	// Clamped as RFC 7748 §5 says. X25519 does so itself when it computes; it is
	// done here so that the key is byte for byte one that `wg genkey` could print.
	scalar[0] &= 248
	scalar[31] = scalar[31]&127 | 64
	private, err := ecdh.X25519().NewPrivateKey(scalar)
	if err != nil {
		return keyPair{}, fmt.Errorf("make an X25519 key: %w", err)
	}
	return keyPair{
		private: base64.StdEncoding.EncodeToString(private.Bytes()),
		public:  base64.StdEncoding.EncodeToString(private.PublicKey().Bytes()),
	}, nil
}

// checkKey says why s is no WireGuard key. The key itself is not in the error:
// somebody may have given the private one.
func checkKey(s string) error {
	key, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(key) != keySize || len(s) != base64.StdEncoding.EncodedLen(keySize) { // a decoder skips line ends
		return fmt.Errorf("a WireGuard public key is %d bytes in base64, 44 characters as `wg pubkey` prints them", keySize)
	}
	if [keySize]byte(key) == [keySize]byte{} {
		return fmt.Errorf("the key is all zeros, which is no public key")
	}
	return nil
}
