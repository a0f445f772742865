package storage_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/provider/internal/acctest"
)

// hasPolicy returns a check that the bucket's policy has all parts.
func (a account) hasPolicy(bucket string, parts ...string) resource.TestCheckFunc {
	return acctest.Check(func(ctx context.Context) error {
		out, err := a.S3.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: &bucket})
		if err != nil {
			return err
		}
		for _, part := range parts {
			if !strings.Contains(*out.Policy, part) {
				err = errors.Join(err, fmt.Errorf("the policy lacks %s: %s", part, *out.Policy))
			}
		}
		return err
	})
}

const readers = `policy = jsonencode({ Version = "2012-10-17", Statement = [
    { Effect = "Allow", Principal = { AWS = "arn:aws:iam::111122223333:root" }, Action = ["s3:ListBucket", "s3:GetObject"] },
  ] })`

func TestBucketPolicyIsMergedImportedAndReverted(t *testing.T) {
	a := newAccount(t)
	update, none := expect(bucket, plancheck.ResourceActionUpdate), expect(bucket, plancheck.ResourceActionNoop)
	merged := a.hasPolicy(uploads, "111122223333", "aws:SecureTransport", "aws:PrincipalAccount", `"123456789012"`)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: bucketConfig(readers), Check: merged},
		{Config: bucketConfig(readers), ConfigPlanChecks: none},
		{ResourceName: bucket, ImportState: true, ImportStateVerify: true, ImportStateVerifyIgnore: []string{"policy"}},
		{
			PreConfig: a.behindTerraform(func(ctx context.Context) error {
				_, err := a.S3.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: aws.String(uploads), Policy: aws.String(`{"Version":"2012-10-17","Statement":[` +
					`{"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::` + uploads + `/*"}]}`)})
				return err
			}),
			Config: bucketConfig(readers), ConfigPlanChecks: update, Check: merged,
		},
		{Config: bucketConfig(""), ConfigPlanChecks: update, Check: resource.ComposeTestCheckFunc(a.hasPolicy(uploads, `"aws:PrincipalAccount":"123456789012"`), resource.TestCheckNoResourceAttr(bucket, "policy"))},
	}})
}

func TestBucketTransitions(t *testing.T) {
	a := newAccount(t)
	rules := `lifecycle_rules = [
    { prefix = "dumps/", expire_days = 365, transitions = [{ days = 30, storage_class = "STANDARD_IA" }, { days = 90, storage_class = "GLACIER" }] },
    { noncurrent_expire_days = 30, noncurrent_transitions = [{ days = %d, storage_class = "GLACIER_IR" }] },
  ]`
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: bucketConfig(fmt.Sprintf(rules, 1)), Check: a.rulesAre("xeroops-abort-uploads", "xeroops-rule-0000", "xeroops-rule-0001")},
		{ResourceName: bucket, ImportState: true, ImportStateVerify: true},
		{Config: bucketConfig(fmt.Sprintf(rules, 2)), ConfigPlanChecks: expect(bucket, plancheck.ResourceActionUpdate)},
		{
			PreConfig: a.behindTerraform(func(ctx context.Context) error {
				_, err := a.S3.PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{Bucket: aws.String(uploads), LifecycleConfiguration: &s3types.BucketLifecycleConfiguration{
					Rules: []s3types.LifecycleRule{{ID: aws.String("all"), Status: s3types.ExpirationStatusEnabled, Filter: &s3types.LifecycleRuleFilter{Prefix: aws.String("")},
						Expiration: &s3types.LifecycleExpiration{Days: aws.Int32(1)}}}}})
				return err
			}),
			Config: bucketConfig(fmt.Sprintf(rules, 2)), ConfigPlanChecks: expect(bucket, plancheck.ResourceActionUpdate),
			Check: a.rulesAre("xeroops-abort-uploads", "xeroops-rule-0000", "xeroops-rule-0001"),
		},
	}})
}

const receiver = `
resource "xeroops_bucket" "logs" {
  prefix              = "access"
  receive_access_logs = true
  force_destroy       = true # the records
}
`

func (a account) logsTo(target, prefix string) resource.TestCheckFunc {
	return acctest.Check(func(ctx context.Context) error {
		out, err := a.S3.GetBucketLogging(ctx, &s3.GetBucketLoggingInput{Bucket: aws.String(uploads)})
		if err != nil {
			return err
		}
		got := "/"
		if e := out.LoggingEnabled; e != nil {
			got = aws.ToString(e.TargetBucket) + "/" + aws.ToString(e.TargetPrefix)
		}
		if got != target+"/"+prefix {
			return fmt.Errorf("the bucket logs to %s", got)
		}
		return nil
	})
}

func TestAccessLog(t *testing.T) {
	a := newAccount(t)
	logged := receiver + bucketConfig(`access_log = { bucket = xeroops_bucket.logs.id, prefix = "uploads/" }`)
	update := expect(bucket, plancheck.ResourceActionUpdate)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: logged, Check: resource.ComposeTestCheckFunc(a.logsTo("access-123456789012", "uploads/"),
			a.hasPolicy("access-123456789012", "logging.s3.amazonaws.com", `"aws:SourceAccount":"123456789012"`, "aws:SecureTransport"))},
		{ResourceName: bucket, ImportState: true, ImportStateVerify: true},
		{ResourceName: "xeroops_bucket.logs", ImportState: true, ImportStateVerify: true, ImportStateVerifyIgnore: []string{"force_destroy"}},
		{
			PreConfig: a.behindTerraform(func(ctx context.Context) error {
				_, err := a.S3.PutBucketLogging(ctx, &s3.PutBucketLoggingInput{Bucket: aws.String(uploads), BucketLoggingStatus: &s3types.BucketLoggingStatus{}})
				return err
			}),
			Config: logged, ConfigPlanChecks: update, Check: a.logsTo("access-123456789012", "uploads/"),
		},
		{Config: receiver + bucketConfig(""), ConfigPlanChecks: update, Check: a.logsTo("", "")},
	}})
}

func TestAccessLogIntoAForeignBucketIsExplained(t *testing.T) {
	a := newAccount(t)
	a.Test(resource.TestCase{Steps: []resource.TestStep{{
		Config: bucketConfig(`access_log = { bucket = "no-such-bucket" }`), ExpectError: matching(`set access log: [^$]*InvalidTargetBucketForLogging`)}}})
}

func (a account) lockIs(want string) resource.TestCheckFunc {
	return acctest.Check(func(ctx context.Context) error {
		out, err := a.S3.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: aws.String(uploads)})
		if err != nil {
			return err
		}
		got := string(out.ObjectLockConfiguration.ObjectLockEnabled)
		if rule := out.ObjectLockConfiguration.Rule; rule != nil {
			got += fmt.Sprint(" ", rule.DefaultRetention.Mode, " ", aws.ToInt32(rule.DefaultRetention.Days), " ", aws.ToInt32(rule.DefaultRetention.Years))
		}
		if got != want {
			return fmt.Errorf("Object Lock is %s, want %s", got, want)
		}
		return nil
	})
}

func TestObjectLock(t *testing.T) {
	a := newAccount(t)
	locked := func(retention string) string { return bucketConfig("object_lock = {" + retention + "}") }
	update := expect(bucket, plancheck.ResourceActionUpdate)
	governance := `mode = "GOVERNANCE", days = 7`
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: locked(governance), Check: resource.ComposeTestCheckFunc(a.lockIs("Enabled GOVERNANCE 7 0"), acctest.Check(a.isClosed))},
		{ResourceName: bucket, ImportState: true, ImportStateVerify: true},
		{Config: locked(`mode = "COMPLIANCE", years = 1`), ConfigPlanChecks: update, Check: a.lockIs("Enabled COMPLIANCE 0 1")},
		{
			PreConfig: a.behindTerraform(func(ctx context.Context) error {
				_, err := a.S3.PutObjectLockConfiguration(ctx, &s3.PutObjectLockConfigurationInput{Bucket: aws.String(uploads),
					ObjectLockConfiguration: &s3types.ObjectLockConfiguration{ObjectLockEnabled: s3types.ObjectLockEnabledEnabled, Rule: &s3types.ObjectLockRule{
						DefaultRetention: &s3types.DefaultRetention{Mode: s3types.ObjectLockRetentionModeGovernance, Days: aws.Int32(1)}}}})
				return err
			}),
			Config: locked(governance), ConfigPlanChecks: update, Check: a.lockIs("Enabled GOVERNANCE 7 0"),
		},
		{Config: bucketConfig(""), PlanOnly: true, ExpectError: matching(`S3 does not disable Object Lock`)},
		{Config: locked(governance), ConfigPlanChecks: expect(bucket, plancheck.ResourceActionNoop)},
	}})
}

func TestObjectLockIsNotEnabledLater(t *testing.T) {
	a := newAccount(t)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: bucketConfig("")},
		{Config: bucketConfig("object_lock = {}"), PlanOnly: true, ExpectError: matching(`enables Object Lock only when it creates a bucket`)},
	}})
}

func TestDestroyOfALockedBucketIsExplained(t *testing.T) {
	a := newAccount(t)
	locked := bucketConfig("object_lock = { mode = \"GOVERNANCE\", days = 1 }\n force_destroy = true")
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: locked},
		{
			PreConfig: a.behindTerraform(func(ctx context.Context) error { return a.put(ctx, "kept") }),
			Config:    locked, Destroy: true, ExpectError: matching(`S3 did not delete 1 objects[^$]*The bucket has Object Lock[^$]*bypass-governance-retention`),
		},
		{
			PreConfig: a.behindTerraform(func(ctx context.Context) error {
				out, err := a.S3.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: aws.String(uploads)})
				if err != nil {
					return err
				}
				_, err = a.S3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(uploads), Key: aws.String("kept"), VersionId: out.Versions[0].VersionId, BypassGovernanceRetention: aws.Bool(true)})
				return err
			}),
			Config: locked, Destroy: true,
		},
	}})
}

// The plain bucket's calls are those of README's passage on the cost of a plan.
func TestRefreshReadsOnlyWhatABucketUses(t *testing.T) {
	a := newAccount(t)
	reads := func() (actions []string) {
		for _, c := range a.Front.Calls() {
			if strings.HasPrefix(c.Action, "Get") && c.Service == fakeaws.S3 {
				actions = append(actions, c.Action)
			}
		}
		return actions
	}
	count := func(config string, want int, with ...string) []resource.TestStep {
		return []resource.TestStep{
			{Config: config},
			{PreConfig: a.Front.ClearCalls, RefreshState: true, Check: acctest.Check(func(context.Context) error {
				got := reads()
				for _, action := range with {
					if !strings.Contains(strings.Join(got, " "), action) {
						return fmt.Errorf("%s is missing in %v", action, got)
					}
				}
				if len(got) != want {
					return fmt.Errorf("%d calls, want %d: %v", len(got), want, got)
				}
				return nil
			})},
		}
	}
	steps := count(bucketConfig(""), 6, "GetBucketVersioning", "GetBucketPolicy", "GetPublicAccessBlock", "GetBucketEncryption", "GetBucketLifecycleConfiguration", "GetBucketTagging")
	steps = append(steps, count(bucketConfig(readers), 7, "GetBucketOwnershipControls")...)
	a.Test(resource.TestCase{Steps: steps})
	a = newAccount(t)
	a.Test(resource.TestCase{Steps: count(bucketConfig("object_lock = {}"), 6, "GetObjectLockConfiguration")})
}

func TestNewBucketSettingsSurviveLostResponses(t *testing.T) {
	for _, effect := range []fakeaws.Effect{fakeaws.DropAfter, fakeaws.ServerError} {
		t.Run(string(effect), func(t *testing.T) {
			a := newAccount(t)
			for _, action := range []string{"CreateBucket", "PutBucketLogging", "GetBucketLogging", "PutObjectLockConfiguration", "GetObjectLockConfiguration", "PutBucketPolicy"} {
				if err := a.Front.Inject(fakeaws.Fault{Action: action, Nth: 1, Effect: effect}); err != nil {
					t.Fatal(err)
				}
			}
			config := receiver + bucketConfig(readers+"\n access_log = { bucket = xeroops_bucket.logs.id }\n object_lock = { mode = \"GOVERNANCE\", days = 1 }")
			a.Test(resource.TestCase{Steps: []resource.TestStep{
				{Config: config, Check: resource.ComposeTestCheckFunc(a.logsTo("access-123456789012", ""), a.lockIs("Enabled GOVERNANCE 1 0"), a.hasPolicy(uploads, "111122223333"))},
				{Config: config, ConfigPlanChecks: expect(bucket, plancheck.ResourceActionNoop)},
			}})
		})
	}
}

func TestBucketReceivesFlowLogs(t *testing.T) {
	a := newAccount(t)
	receives := bucketConfig("receive_flow_logs = true")
	allowed := a.hasPolicy(uploads, "AWSLogDeliveryWrite", "AWSLogDeliveryAclCheck", "delivery.logs.amazonaws.com", "arn:aws:logs:eu-west-1:123456789012:*", "aws:SecureTransport")
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: bucketConfig("")},
		{Config: receives, ConfigPlanChecks: expect(bucket, plancheck.ResourceActionUpdate), Check: allowed},
		{ResourceName: bucket, ImportState: true, ImportStateVerify: true},
		{ // a VPC's flow log is accepted, and AWS does not replace the policy
			Config: receives + `
resource "xeroops_vpc" "main" {
  name = "production"
  cidr = "10.0.0.0/16"
}

resource "xeroops_flow_log" "main" {
  name   = "production"
  vpc_id = xeroops_vpc.main.id
  bucket = xeroops_bucket.uploads.id
}
`,
			Check: allowed,
		},
		{Config: bucketConfig(""), ConfigPlanChecks: expect(bucket, plancheck.ResourceActionUpdate), Check: a.hasPolicy(uploads, "aws:SecureTransport")},
	}})
}
