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
	"golang.org/x/crypto/ssh"

	"github.com/xeroops/xeroops/internal/awswait"
)

// importKeyPair makes the key pair that the build logs in with. It is made
// here and only its public half is given to AWS.
func (b *build) importKeyPair(ctx context.Context) error {
	if c := b.config.Comm; c.SSHKeyPairName != "" || c.SSHPrivateKeyFile != "" || c.SSHAgentAuth {
		return nil
	}
	private, public, err := newKey("packer")
	if err != nil {
		return err
	}
	b.config.Comm.SSHPrivateKey = private
	b.keyImported, b.publicKey = true, public
	_, err = change(ctx, b.aws.EC2.ImportKeyPair, &ec2.ImportKeyPairInput{
		KeyName: aws.String(b.name()), PublicKeyMaterial: public, TagSpecifications: b.tagged(types.ResourceTypeKeyPair),
	})
	// The name is the build's own: who has it but an earlier try of this call?
	return awswait.Ignore(err, func(err error) bool { return awswait.HasCode(err, "InvalidKeyPair.Duplicate") })
}

func (b *build) deleteKeyPair(ctx context.Context) error {
	if !b.keyImported {
		return nil
	}
	return remove(ctx, b.aws.EC2.DeleteKeyPair, &ec2.DeleteKeyPairInput{KeyName: aws.String(b.name())})
}

// newKey makes an ed25519 key pair in OpenSSH's formats.
func newKey(comment string) (private, public []byte, err error) {
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
