package storage

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/provider/internal/base"
)

const (
	testARN = "arn:aws:s3:::uploads-123456789012"
	testKey = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd"
)

func soundBucket() *bucketParts {
	return &bucketParts{
		tags:       map[string]string{base.TagName: "uploads-123456789012", base.TagManagedBy: "terraform"},
		versioning: s3types.BucketVersioningStatusEnabled,
		encryption: encryptionWith(""),
		access:     &s3types.PublicAccessBlockConfiguration{BlockPublicAcls: aws.Bool(true), BlockPublicPolicy: aws.Bool(true), IgnorePublicAcls: aws.Bool(true), RestrictPublicBuckets: aws.Bool(true)},
		ownership:  s3types.ObjectOwnershipBucketOwnerEnforced,
		policy:     tlsOnlyPolicy(testARN),
		rules:      expandRules(nil),
	}
}

func TestBucketDrift(t *testing.T) {
	for want, change := range map[string]func(*bucketParts){
		"":                                   func(*bucketParts) {},
		"own tags":                           func(p *bucketParts) { p.tags = nil },
		"public access":                      func(p *bucketParts) { p.access.BlockPublicPolicy = aws.Bool(false) },
		"access control lists":               func(p *bucketParts) { p.ownership = "" },
		"without TLS":                        func(p *bucketParts) { p.policy = "" },
		"incomplete uploads":                 func(p *bucketParts) { p.rules = nil },
		"default encryption":                 func(p *bucketParts) { p.encryption = nil },
		"default encryption is neither SSE":  func(p *bucketParts) { p.encryption = encryptionWith(testKey); p.encryption.BucketKeyEnabled = nil },
		"default encryption is neither SSE-": func(p *bucketParts) { p.encryption.ApplyServerSideEncryptionByDefault.SSEAlgorithm = "aws:kms:dsse" },
	} {
		p := soundBucket()
		change(p)
		if got := strings.Join(p.drift("uploads-123456789012", testARN), "; "); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("drift is %q, want %q", got, want)
		}
	}
}

func TestEncryptsWith(t *testing.T) {
	p := soundBucket()
	if !p.encryptsWith("") || p.encryptsWith(testKey) {
		t.Error("SSE-S3 is not told from a key")
	}
	p.encryption = encryptionWith(testKey)
	if p.encryptsWith("") || !p.encryptsWith(testKey) || p.encryptsWith(testKey+"0") {
		t.Error("keys are not told apart")
	}
}

func TestLifecycleRulesRoundTrip(t *testing.T) {
	rules := []lifecycleModel{
		{Prefix: types.StringValue("z/"), ExpireDays: types.Int64Value(3)},
		{NoncurrentExpireDays: types.Int64Value(30)},
		{Prefix: types.StringValue("a/"), ExpireDays: types.Int64Value(1), NoncurrentExpireDays: types.Int64Value(2)},
	}
	made := expandRules(rules)
	made[0], made[3] = made[3], made[0] // AWS does not guarantee an order
	p := &bucketParts{rules: made}
	if !p.hasRules(rules) {
		got, foreign := flattenRules(made)
		t.Errorf("got %v, %v", got, foreign)
	}
	if p.hasRules(rules[:2]) || (&bucketParts{rules: made[1:]}).hasRules(rules) {
		t.Error("other rules pass for the wanted ones")
	}
}

func TestRulesThatAttributesCannotExpressAreForeign(t *testing.T) {
	enabled, days := s3types.ExpirationStatusEnabled, aws.Int32(5)
	for name, rule := range map[string]s3types.LifecycleRule{
		"disabled":     {Status: s3types.ExpirationStatusDisabled, Expiration: &s3types.LifecycleExpiration{Days: days}},
		"transition":   {Status: enabled, Transitions: []s3types.Transition{{Days: days}}},
		"by tag":       {Status: enabled, Filter: &s3types.LifecycleRuleFilter{Tag: &s3types.Tag{}}, Expiration: &s3types.LifecycleExpiration{Days: days}},
		"markers":      {Status: enabled, Expiration: &s3types.LifecycleExpiration{ExpiredObjectDeleteMarker: aws.Bool(true)}},
		"abort sooner": {Status: enabled, AbortIncompleteMultipartUpload: &s3types.AbortIncompleteMultipartUpload{DaysAfterInitiation: days}},
		"keep some":    {Status: enabled, NoncurrentVersionExpiration: &s3types.NoncurrentVersionExpiration{NoncurrentDays: days, NewerNoncurrentVersions: days}},
	} {
		if models, foreign := flattenRules([]s3types.LifecycleRule{rule}); len(models) > 0 || len(foreign) != 1 {
			t.Errorf("%s: %v, %v", name, models, foreign)
		}
	}
	older := s3types.LifecycleRule{Status: enabled, Prefix: aws.String("old/"), Expiration: &s3types.LifecycleExpiration{Days: days}} //nolint:staticcheck // set by older tools
	if models, _ := flattenRules([]s3types.LifecycleRule{older}); len(models) != 1 || models[0].Prefix.ValueString() != "old/" {
		t.Errorf("the prefix of an older rule is lost: %v", models)
	}
}

func TestBucketName(t *testing.T) {
	account := func(context.Context) (string, error) { return "123456789012", nil }
	for _, tc := range []struct{ name, prefix, want types.String }{
		{types.StringNull(), types.StringValue("uploads"), types.StringValue("uploads-123456789012")},
		{types.StringValue("mine"), types.StringNull(), types.StringValue("mine")},
		{types.StringUnknown(), types.StringNull(), types.StringUnknown()},
		{types.StringNull(), types.StringUnknown(), types.StringUnknown()},
	} {
		m := bucketModel{Name: tc.name, Prefix: tc.prefix}
		if got, err := m.bucketName(t.Context(), account); err != nil || !got.Equal(tc.want) {
			t.Errorf("name %s and prefix %s make %s, %v; want %s", tc.name, tc.prefix, got, err, tc.want)
		}
	}
}

func TestImportedBucketGetsItsPrefix(t *testing.T) {
	m := bucketModel{ID: types.StringValue("uploads-123456789012")}
	m.fromAWS(soundBucket(), testARN, "123456789012", base.TagSettings{})
	if m.Prefix.ValueString() != "uploads" || m.ForceDestroy.ValueBool() || m.LifecycleRules != nil || !m.Versioning.ValueBool() {
		t.Errorf("imported %+v", m)
	}
}

func TestTLSOnlyPolicy(t *testing.T) {
	var policy struct{ Statement []map[string]any }
	if err := json.Unmarshal([]byte(tlsOnlyPolicy(testARN)), &policy); err != nil || policy.Statement[0]["Effect"] != "Deny" {
		t.Errorf("policy %v, %v", policy, err)
	}
}

func TestKeptNamesALimitedNumberOfObjects(t *testing.T) {
	failed := make([]s3types.Error, 7)
	for i := range failed {
		failed[i] = s3types.Error{Key: aws.String("held"), VersionId: aws.String("v1"), Code: aws.String("AccessDenied"), Message: aws.String("locked")}
	}
	text := kept(failed).Error()
	if strings.Count(text, "held (version v1): AccessDenied: locked") != maxKept || !strings.Contains(text, "and 2 more") || !strings.Contains(text, "S3 did not delete 7 objects") {
		t.Error(text)
	}
}
