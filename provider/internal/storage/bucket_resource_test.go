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
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/testkit/mototest"
	"github.com/xeroops/xeroops/provider/internal/acctest"
)

const uploads = "uploads-123456789012"

func bucketConfig(extra string) string {
	return `
resource "xeroops_bucket" "uploads" {
  prefix = "uploads"
  ` + extra + `
}
`
}

const twoRules = `lifecycle_rules = [
    { prefix = "tmp/", expire_days = 1 },
    { noncurrent_expire_days = 30 },
  ]`

func TestBucketIsCreatedImportedUpdatedAndDestroyed(t *testing.T) {
	a := newAccount(t)
	update := expect(bucket, plancheck.ResourceActionUpdate)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{
			Config: bucketConfig(""),
			ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
				plancheck.ExpectKnownValue(bucket, tfjsonpath.New("arn"), knownvalue.StringExact("arn:aws:s3:::"+uploads))}},
			Check: resource.ComposeAggregateTestCheckFunc(
				resource.TestCheckResourceAttr(bucket, "id", uploads), resource.TestCheckResourceAttr(bucket, "name", uploads),
				acctest.Check(a.isClosed), a.rulesAre("xeroops-abort-uploads")),
		},
		{ResourceName: bucket, ImportState: true, ImportStateVerify: true},
		{Config: bucketConfig(twoRules + "\n tags = { team = \"core\" }"), ConfigPlanChecks: update,
			Check: a.rulesAre("xeroops-abort-uploads", "xeroops-rule-0000", "xeroops-rule-0001")},
		{ResourceName: bucket, ImportState: true, ImportStateVerify: true},
		{Config: bucketConfig("versioning = false\n kms_key_id = \"arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab\""), ConfigPlanChecks: update,
			Check: resource.ComposeTestCheckFunc(a.rulesAre("xeroops-abort-uploads"), acctest.Check(a.usesKMS))},
		{Config: bucketConfig(""), ConfigPlanChecks: update, Check: acctest.Check(a.isClosed)},
		{Config: "resource \"xeroops_bucket\" \"uploads\" {\n name = \"" + uploads + "\"\n}", ConfigPlanChecks: update}, // the same name, without prefix
		{Config: "resource \"xeroops_bucket\" \"uploads\" {\n name = \"example-shop-uploads\"\n}", ConfigPlanChecks: expect(bucket, plancheck.ResourceActionReplace)},
	}})
}

// isClosed checks the settings that every bucket has.
func (a account) isClosed(ctx context.Context) error {
	name := aws.String(uploads)
	versioning, err1 := a.S3.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: name})
	encryption, err2 := a.S3.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: name})
	access, err3 := a.S3.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: name})
	ownership, err4 := a.S3.GetBucketOwnershipControls(ctx, &s3.GetBucketOwnershipControlsInput{Bucket: name})
	policy, err5 := a.S3.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: name})
	tagging, err6 := a.S3.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: name})
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return err
	}
	found := fmt.Sprintln(versioning.Status, encryption.ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault.SSEAlgorithm,
		*access.PublicAccessBlockConfiguration.BlockPublicAcls, *access.PublicAccessBlockConfiguration.RestrictPublicBuckets, ownership.OwnershipControls.Rules[0].ObjectOwnership)
	if found != "Enabled AES256 true true BucketOwnerEnforced\n" {
		return fmt.Errorf("the bucket is %s", found)
	}
	if !strings.Contains(*policy.Policy, `"aws:SecureTransport"`) || !strings.Contains(*policy.Policy, `"Deny"`) {
		return fmt.Errorf("its policy is %s", *policy.Policy)
	}
	for _, tag := range tagging.TagSet {
		if *tag.Key == "xeroops:name" && *tag.Value == uploads {
			return nil
		}
	}
	return errors.New("it does not have the provider's tags")
}

func (a account) usesKMS(ctx context.Context) error {
	out, err := a.S3.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: aws.String(uploads)})
	if err != nil {
		return err
	}
	rule := out.ServerSideEncryptionConfiguration.Rules[0]
	if rule.ApplyServerSideEncryptionByDefault.SSEAlgorithm != s3types.ServerSideEncryptionAwsKms || !aws.ToBool(rule.BucketKeyEnabled) {
		return fmt.Errorf("encryption is %+v", rule)
	}
	return nil
}

func (a account) rulesAre(want ...string) resource.TestCheckFunc {
	return acctest.Check(func(ctx context.Context) error {
		out, err := a.S3.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: aws.String(uploads)})
		if err != nil {
			return err
		}
		var got []string
		for _, rule := range out.Rules {
			got = append(got, *rule.ID)
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			return fmt.Errorf("rules are %v, want %v", got, want)
		}
		return nil
	})
}

func TestBucketIsImportedByIdentity(t *testing.T) {
	a := newAccount(t)
	a.Test(resource.TestCase{Steps: []resource.TestStep{{
		Config: bucketConfig(""),
		Check: acctest.Do(bucket, func(ctx context.Context, id string) error {
			return acctest.ImportsByIdentity(ctx, "xeroops_bucket", id)
		}),
	}}})
}

func TestBucketDriftIsShownAndReverted(t *testing.T) {
	a := newAccount(t)
	name := aws.String(uploads)
	steps := []resource.TestStep{{Config: bucketConfig("")}}
	for _, tc := range []struct {
		drift  string
		change func(ctx context.Context) error
	}{
		{"public access is not blocked", func(ctx context.Context) error {
			_, err := a.S3.DeletePublicAccessBlock(ctx, &s3.DeletePublicAccessBlockInput{Bucket: name})
			return err
		}},
		{"statements of the policy are missing or were changed", func(ctx context.Context) error {
			_, err := a.S3.DeleteBucketPolicy(ctx, &s3.DeleteBucketPolicyInput{Bucket: name})
			return err
		}},
		{"default encryption is neither", func(ctx context.Context) error {
			_, err := a.S3.DeleteBucketEncryption(ctx, &s3.DeleteBucketEncryptionInput{Bucket: name})
			return err
		}},
		{"incomplete uploads are not aborted", func(ctx context.Context) error {
			_, err := a.S3.DeleteBucketLifecycle(ctx, &s3.DeleteBucketLifecycleInput{Bucket: name})
			return err
		}},
		{`lifecycle rule "archive" was not created by the provider`, func(ctx context.Context) error {
			_, err := a.S3.PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{Bucket: name, LifecycleConfiguration: &s3types.BucketLifecycleConfiguration{
				Rules: []s3types.LifecycleRule{{ID: aws.String("archive"), Status: s3types.ExpirationStatusEnabled, Filter: &s3types.LifecycleRuleFilter{Tag: &s3types.Tag{Key: aws.String("a"), Value: aws.String("b")}},
					Transitions: []s3types.Transition{{Days: aws.Int32(30), StorageClass: s3types.TransitionStorageClassGlacier}}}}}})
			return err
		}},
	} {
		steps = append(steps, repairs(bucket, bucketConfig(""), tc.drift, a.behindTerraform(tc.change))...)
	}
	steps[len(steps)-1].Check = resource.ComposeTestCheckFunc(acctest.Check(a.isClosed), a.rulesAre("xeroops-abort-uploads"))
	a.Test(resource.TestCase{Steps: steps})
}

func TestBucketAttributesChangedElsewhereAreReverted(t *testing.T) {
	a := newAccount(t)
	name := aws.String(uploads)
	steps := []resource.TestStep{{Config: bucketConfig(twoRules)}}
	for _, change := range []func(ctx context.Context) error{
		func(ctx context.Context) error {
			_, err := a.S3.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: name, VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusSuspended}})
			return err
		},
		func(ctx context.Context) error {
			_, err := a.S3.DeleteBucketTagging(ctx, &s3.DeleteBucketTaggingInput{Bucket: name})
			return err
		},
		func(ctx context.Context) error {
			_, err := a.S3.DeleteBucketLifecycle(ctx, &s3.DeleteBucketLifecycleInput{Bucket: name})
			return err
		},
	} {
		steps = append(steps, resource.TestStep{PreConfig: a.behindTerraform(change), Config: bucketConfig(twoRules),
			ConfigPlanChecks: expect(bucket, plancheck.ResourceActionUpdate), Check: acctest.Check(a.isClosed)})
	}
	a.Test(resource.TestCase{Steps: steps})
}

func TestBucketThatDisappearedIsRecreated(t *testing.T) {
	a := newAccount(t)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: bucketConfig("")},
		{
			PreConfig: a.behindTerraform(func(ctx context.Context) error {
				_, err := a.S3.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: aws.String(uploads)})
				return err
			}),
			Config: bucketConfig(""), ConfigPlanChecks: expect(bucket, plancheck.ResourceActionCreate), Check: acctest.Check(a.isClosed),
		},
	}})
}

func (a account) createBucket() {
	a.t.Helper()
	_, err := a.S3.CreateBucket(a.t.Context(), &s3.CreateBucketInput{Bucket: aws.String(uploads), CreateBucketConfiguration: &s3types.CreateBucketConfiguration{
		LocationConstraint: acctest.Region, Tags: []s3types.Tag{
			{Key: aws.String("xeroops:name"), Value: aws.String(uploads)}, {Key: aws.String("xeroops:managed-by"), Value: aws.String("terraform")},
			{Key: aws.String("xeroops:claim"), Value: aws.String("open::left")}}}})
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a account) put(ctx context.Context, key string) error {
	_, err := a.S3.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(uploads), Key: &key, Body: strings.NewReader(key), ChecksumAlgorithm: s3types.ChecksumAlgorithmCrc32})
	return err
}

func TestEmptyBucketLeftByAnInterruptedApplyIsAdopted(t *testing.T) {
	a := newAccount(t)
	a.createBucket()
	a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: bucketConfig(""), Check: acctest.Check(a.isClosed)}}})
}

func TestBucketWithAUsedNameIsRejected(t *testing.T) {
	a := newAccount(t)
	a.createBucket()
	if err := a.put(t.Context(), "precious"); err != nil {
		t.Fatal(err)
	}
	a.KeepBaseline()
	a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: bucketConfig(""), ExpectError: matching(`already exists: uploads-123456789012 \(not empty\)`)}}})
}

func TestBucketOfAnotherAccountIsRejectedAtPlan(t *testing.T) {
	a := newAccount(t)
	mototest.StrangersBucket(t, a.Front.URL, "uploads-123456789012", nil) // empty and without tags, as one that an interrupted create left
	a.KeepBaseline()
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: bucketConfig(""), PlanOnly: true, ExpectError: matching(`belongs to a bucket of another account`)},
		{Config: bucketConfig(""), ExpectError: matching(`belongs to a bucket of another account`)},
	}})
}

func TestBucketNameTakenSinceThePlanIsExplained(t *testing.T) {
	a := newAccount(t)
	if err := a.Front.Inject(fakeaws.Fault{Action: "CreateBucket", Effect: fakeaws.Fail, Status: 409, Code: "BucketAlreadyExists", Message: "no", Times: -1}); err != nil {
		t.Fatal(err)
	}
	a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: bucketConfig(""), ExpectError: matching(`belongs to a bucket of another account`)}}})
}

func TestBucketSurvivesTemporaryErrors(t *testing.T) {
	a := newAccount(t)
	for _, fault := range []fakeaws.Fault{
		{Action: "CreateBucket", Nth: 1, Effect: fakeaws.DropAfter}, // the second attempt gets BucketAlreadyOwnedByYou
		{Action: "GetBucketPolicy", Nth: 1, Effect: fakeaws.Fail, Status: 404, Code: "NoSuchBucket"},
		{Action: "PutBucketPolicy", Nth: 1, Effect: fakeaws.Fail, Status: 409, Code: "OperationAborted"},
		{Action: "PutBucketTagging", Nth: 1, Effect: fakeaws.Fail, Status: 404, Code: "NoSuchBucket"},
	} {
		if err := a.Front.Inject(fault); err != nil {
			t.Fatal(err)
		}
	}
	a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: bucketConfig(""), Check: acctest.Check(a.isClosed)}}})
}

func TestBucketInUsEast1HasNoLocationConstraint(t *testing.T) {
	a := newAccount(t)
	provider := "provider \"xeroops\" {\n region = \"us-east-1\"\n}\n"
	a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: provider + bucketConfig(""), Check: acctest.Check(a.isClosed)}}})
}

func TestBucketWithObjectsIsDestroyedOnlyByForce(t *testing.T) {
	a := newAccount(t)
	fill := a.behindTerraform(func(ctx context.Context) error {
		for i := range 4 {
			if err := a.put(ctx, fmt.Sprintf("object-%d", i%3)); err != nil { // one object has two versions
				return err
			}
		}
		_, err := a.S3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(uploads), Key: aws.String("object-1")})
		return err
	})
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: bucketConfig("")},
		{PreConfig: fill, Config: bucketConfig(""), Destroy: true, ExpectError: matching(`set force_destroy = true, apply, and destroy again`)},
		{Config: bucketConfig("force_destroy = true")},
	}})
}

func TestProtectedObjectsAreNamed(t *testing.T) {
	a := newAccount(t)
	forced := bucketConfig("force_destroy = true")
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: forced},
		{
			PreConfig: a.behindTerraform(func(ctx context.Context) error {
				if err := a.put(ctx, "held"); err != nil {
					return err
				}
				_, err := a.S3.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: aws.String(uploads), Policy: aws.String(
					`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:DeleteObject","Resource":"arn:aws:s3:::` + uploads + `/*"}]}`)})
				return err
			}),
			Config: forced, Destroy: true, ExpectError: matching(`S3 did not delete 1 objects; remove their protection and destroy again: held`),
		},
		{Config: forced},
	}})
}

func TestBucketErrorsSayWhatToDo(t *testing.T) {
	for name, tc := range map[string]struct{ config, says string }{
		"neither":      {`resource "xeroops_bucket" "uploads" {}`, `At least one of these attributes must be configured: \[name,prefix\]`},
		"both":         {bucketConfig(`name = "abc"`), `makes the name "uploads-123456789012", but name is "abc"`},
		"upper case":   {"resource \"xeroops_bucket\" \"uploads\" {\n name = \"Uploads\"\n}", `lowercase letters, digits and hyphens`},
		"long prefix":  {"resource \"xeroops_bucket\" \"uploads\" {\n prefix = \"" + strings.Repeat("a", 51) + "\"\n}", `1 to 50`},
		"empty rule":   {bucketConfig(`lifecycle_rules = [{ prefix = "tmp/" }]`), `At least one attribute out of`},
		"zero days":    {bucketConfig(`lifecycle_rules = [{ expire_days = 0 }]`), `between 1 and 2147483647`},
		"many days":    {bucketConfig(`lifecycle_rules = [{ expire_days = 4294967297 }]`), `between 1 and 2147483647`},
		"soon to IA":   {bucketConfig(`lifecycle_rules = [{ transitions = [{ days = 7, storage_class = "STANDARD_IA" }] }]`), `after 30 days at the earliest`},
		"no class":     {bucketConfig(`lifecycle_rules = [{ transitions = [{ days = 7, storage_class = "COLD" }] }]`), `must be one of`},
		"expires soon": {bucketConfig(`lifecycle_rules = [{ noncurrent_expire_days = 7, noncurrent_transitions = [{ days = 7, storage_class = "GLACIER" }] }]`), `noncurrent_expire_days is 7`},
		"public":       {bucketConfig(`policy = jsonencode({ Statement = [{ Effect = "Allow", Principal = "*", Action = "s3:GetObject" }] })`), `would open the bucket to the public`},
		"no policy":    {bucketConfig(`policy = "[]"`), `not a policy document`},
		"no principal": {bucketConfig(`policy = jsonencode({ Statement = [{ Effect = "Deny", Action = "s3:GetObject" }] })`), `has no Principal`},
		"elsewhere": {bucketConfig(`policy = jsonencode({ Statement = [{ Effect = "Deny", Principal = "*", Action = "s3:GetObject", Resource = "arn:aws:s3:::other/*" }] })`),
			`arn:aws:s3:::other/\* is not in the bucket`},
		"long policy": {bucketConfig(`policy = jsonencode({ Statement = [{ Effect = "Deny", Principal = "*", Action = [for i in range(1000) : "s3:GetObjectVersionTagging${i}"] }] })`), `S3 accepts 20480`},
		"logs itself": {bucketConfig(`access_log = { bucket = "` + uploads + `" }`), `logs into itself`},
		"logs, KMS": {bucketConfig("receive_access_logs = true\n kms_key_id = \"arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab\""),
			`encrypted with its own keys`},
		"logs, lock":     {bucketConfig("receive_access_logs = true\n object_lock = {}"), `buckets with Object Lock`},
		"lock, versions": {bucketConfig("versioning = false\n object_lock = {}"), `object_lock needs versioning`},
		"lock, no time":  {bucketConfig(`object_lock = { mode = "GOVERNANCE" }`), `mode needs days or years`},
		"lock, no mode":  {bucketConfig(`object_lock = { days = 1 }`), `mode`},
		"lock, both":     {bucketConfig(`object_lock = { mode = "GOVERNANCE", days = 1, years = 1 }`), `cannot be specified when`},
		"alias of key":   {bucketConfig(`kms_key_id = "alias/mine"`), `not the ARN of a KMS key`},
	} {
		t.Run(name, func(t *testing.T) {
			newAccount(t).Test(resource.TestCase{Steps: []resource.TestStep{{Config: tc.config, PlanOnly: true, ExpectError: matching(tc.says)}}})
		})
	}
}
