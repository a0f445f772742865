package cluster_test

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"github.com/xeroops/xeroops/provider/internal/acctest"
)

const appRole = "xeroops-eu-west-1-production-app"

func TestAnIAMRoleOfSomebodyElseIsNeitherTakenNorDeleted(t *testing.T) {
	a := newAccount(t)
	_, err := a.IAM.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String(appRole), AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[]}`)})
	a.must(err)
	a.KeepBaseline()
	a.Test(resource.TestCase{
		Steps: []resource.TestStep{{Config: a.config(), ExpectError: regexp.MustCompile(`(?s)IAM\s+role\s+` + appRole + `\s+that\s+does\s+not\s+belong\s+to\s+this\s+cluster`)}},
		CheckDestroy: func(state *terraform.State) error {
			policies, err := a.IAM.ListRolePolicies(t.Context(), &iam.ListRolePoliciesInput{RoleName: aws.String(appRole)})
			a.must(err)
			if len(policies.PolicyNames) > 0 {
				t.Errorf("it got the policies %v", policies.PolicyNames)
			}
			return a.CheckDestroy(state)
		},
	})
}

// encrypt makes a KMS key the default of the uploads bucket.
func (a *account) encrypt(key string) {
	_, err := a.S3.PutBucketEncryption(a.t.Context(), &s3.PutBucketEncryptionInput{Bucket: &a.uploads,
		ServerSideEncryptionConfiguration: &s3types.ServerSideEncryptionConfiguration{Rules: []s3types.ServerSideEncryptionRule{{
			ApplyServerSideEncryptionByDefault: &s3types.ServerSideEncryptionByDefault{SSEAlgorithm: s3types.ServerSideEncryptionAwsKms, KMSMasterKeyID: &key}}}}})
	a.must(err)
}

// rolePolicy returns the inline policy of a role.
func (a *account) rolePolicy(role string) string {
	out, err := a.IAM.GetRolePolicy(a.t.Context(), &iam.GetRolePolicyInput{RoleName: &role, PolicyName: aws.String("xeroops")})
	a.must(err)
	document, err := url.PathUnescape(*out.PolicyDocument)
	a.must(err)
	return document
}

func TestRolesMayUseTheKeyOfTheUploadsBucketAndRootVolumesHaveTheClusters(t *testing.T) {
	const first, second = "arn:aws:kms:eu-west-1:123456789012:key/first", "arn:aws:kms:eu-west-1:123456789012:key/second"
	const root = "arn:aws:kms:eu-west-1:123456789012:key/root"
	a := newAccount(t)
	a.encrypt(first)
	a.extra = fmt.Sprintf("kms_key_id = %q", root)
	uses := func(key string) resource.TestCheckFunc {
		return check(func() error {
			if policy := a.rolePolicy(appRole); !strings.Contains(policy, key) || !strings.Contains(policy, "s3.eu-west-1.amazonaws.com") {
				return fmt.Errorf("the app nodes may not use the bucket's key: %s", policy)
			}
			return nil
		})
	}
	steps := []resource.TestStep{
		{Config: a.config(), Check: resource.ComposeTestCheckFunc(uses(first), check(func() error {
			volumes, err := a.EC2.DescribeVolumes(t.Context(), &ec2.DescribeVolumesInput{})
			a.must(err)
			for _, v := range volumes.Volumes {
				if !slices.Contains(a.volumes, *v.VolumeId) && aws.ToString(v.KmsKeyId) != root {
					return fmt.Errorf("root volume %s has the key %q", *v.VolumeId, aws.ToString(v.KmsKeyId))
				}
			}
			return nil
		}))},
		{Config: a.config(), ConfigPlanChecks: nothingToDo()},
	}
	steps = append(steps, acctest.Repairs(resourceName, a.config(), "policy of IAM role "+appRole, func() { a.encrypt(second) })...)
	a.Test(resource.TestCase{Steps: append(steps, resource.TestStep{Config: a.config(), ConfigPlanChecks: nothingToDo(), Check: uses(second)})})
}
