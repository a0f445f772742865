package ebs

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/packer-plugin-sdk/multistep"
	"golang.org/x/crypto/ssh"

	"github.com/xeroops/xeroops/internal/awswait"
)

// keyPair is the temporary key pair that the build logs in with.
type keyPair struct {
	name      string
	publicKey []byte // a line of authorized_keys
}

// stepImportKeyPair generates the build's key pair and gives EC2 its public
// half, unless the user brings a key.
type stepImportKeyPair struct{}

// Run implements multistep.Step.
func (s *stepImportKeyPair) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	return run(ctx, state, "import the key pair", func(ctx context.Context, b *build) error {
		if !b.config.makesKeyPair() {
			return nil
		}
		pair := keyKeyPair.get(state)
		if pair == nil {
			private, public, err := generateKey("packer")
			if err != nil {
				return err
			}
			b.config.Comm.SSHPrivateKey = private
			pair = &keyPair{name: b.name(), publicKey: public}
			keyKeyPair.put(state, pair)
		}
		_, err := mutate(ctx, b.aws.EC2.ImportKeyPair, &ec2.ImportKeyPairInput{
			KeyName: aws.String(pair.name), PublicKeyMaterial: pair.publicKey, TagSpecifications: b.tags(types.ResourceTypeKeyPair),
		})
		// The name is unique to the build, so a duplicate was imported by an
		// earlier attempt of this call.
		return awswait.Ignore(err, func(err error) bool { return awswait.HasCode(err, "InvalidKeyPair.Duplicate") })
	})
}

// Cleanup deletes the key pair.
func (s *stepImportKeyPair) Cleanup(state multistep.StateBag) {
	cleanUp(state, func(ctx context.Context, b *build) error {
		pair := keyKeyPair.get(state)
		if pair == nil {
			return nil
		}
		return remove(ctx, b.aws.EC2.DeleteKeyPair, &ec2.DeleteKeyPairInput{KeyName: aws.String(pair.name)})
	})
}

// generateKey generates an ed25519 key pair in OpenSSH's formats.
func generateKey(comment string) (private, public []byte, err error) {
	publicKey, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generate an SSH key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(key, comment)
	if err != nil {
		return nil, nil, fmt.Errorf("encode an SSH key: %w", err)
	}
	sshPublic, err := ssh.NewPublicKey(publicKey)
	if err != nil {
		return nil, nil, fmt.Errorf("encode an SSH key: %w", err)
	}
	return pem.EncodeToMemory(block), ssh.MarshalAuthorizedKey(sshPublic), nil
}
