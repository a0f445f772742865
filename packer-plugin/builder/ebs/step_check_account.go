package ebs

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/hashicorp/packer-plugin-sdk/multistep"

	"github.com/xeroops/xeroops/internal/awswait"
)

// stepCheckAccount checks, before anything is created, what would fail later: the
// instance profile, and whether the account's settings permit the image to be shared.
// What the credentials may not read is not checked.
type stepCheckAccount struct{ noCleanup }

// Run implements multistep.Step.
func (s *stepCheckAccount) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	return run(ctx, state, "check the account", func(ctx context.Context, b *build) error {
		if err := checkProfile(ctx, b); err != nil {
			return err
		}
		if b.config.SkipCreateAMI || !b.config.shared() || b.config.encryptsAny() {
			return nil // with encryption, the configuration names the keys
		}
		for _, region := range b.regions() {
			if err := checkDefaultEncryption(ctx, keyImages.get(state)[region]); err != nil {
				return err
			}
		}
		return nil
	})
}

func mayNotRead(err error) bool {
	return awswait.HasCode(err, "UnauthorizedOperation", "AccessDenied", "AccessDeniedException")
}

// checkProfile checks that the instance profile exists and has a role. EC2 reports
// neither before the launch.
func checkProfile(ctx context.Context, b *build) error {
	name := b.config.IAMInstanceProfile
	if name == "" {
		return nil
	}
	out, err := b.aws.IAM.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: aws.String(name)})
	switch {
	case awswait.IsNotFound(err):
		return fmt.Errorf("iam_instance_profile: there is no instance profile %q in the account; use the name of one, not its ARN and not a role's name", name)
	case err != nil:
		return awswait.Ignore(err, mayNotRead)
	case len(out.InstanceProfile.Roles) == 0:
		return fmt.Errorf("iam_instance_profile: instance profile %q has no role; add one, or use another profile", name)
	}
	return nil
}

var errDefaultKey = errors.New("ami_users and ami_org_arns: the account encrypts all new volumes with the key that AWS manages, although encrypt_boot is false, and what that key encrypts can't be shared; " +
	"remove encrypt_boot and set kms_key_id (for copies: region_kms_key_ids) to a key that the other accounts may use, or change the default key with aws ec2 modify-ebs-default-kms-key-id")

// checkDefaultEncryption refuses to share an image that the account's settings encrypt
// with a key that AWS manages.
func checkDefaultEncryption(ctx context.Context, i *image) error {
	enabled, err := i.ec2.GetEbsEncryptionByDefault(ctx, &ec2.GetEbsEncryptionByDefaultInput{})
	if err != nil || !aws.ToBool(enabled.EbsEncryptionByDefault) {
		return awswait.Ignore(err, mayNotRead)
	}
	key, err := i.ec2.GetEbsDefaultKmsKeyId(ctx, &ec2.GetEbsDefaultKmsKeyIdInput{})
	if err != nil {
		return awswait.Ignore(err, mayNotRead)
	}
	if isDefaultKey(aws.ToString(key.KmsKeyId)) {
		return fmt.Errorf("in %s: %w", i.region, errDefaultKey)
	}
	return nil
}
