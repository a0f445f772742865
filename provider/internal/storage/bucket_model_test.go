package storage

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/provider/internal/base"
)

const (
	testAccount = "123456789012"
	testARN     = "arn:aws:s3:::uploads-123456789012"
	testKey     = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd"
)

func soundBucket() *bucketParts {
	return &bucketParts{
		tags:       map[string]string{base.TagName: "uploads-123456789012", base.TagManagedBy: "terraform"},
		versioning: s3types.BucketVersioningStatusEnabled,
		encryption: encryptionWith(""),
		access:     &s3types.PublicAccessBlockConfiguration{BlockPublicAcls: aws.Bool(true), BlockPublicPolicy: aws.Bool(true), IgnorePublicAcls: aws.Bool(true), RestrictPublicBuckets: aws.Bool(true)},
		ownership:  s3types.ObjectOwnershipBucketOwnerEnforced,
		policy:     base.PolicyOf((&bucketModel{}).ownStatements(testARN, testAccount, nil)...),
		rules:      expandRules(nil),
		read:       wholeScope(),
	}
}

func TestBucketDrift(t *testing.T) {
	for want, change := range map[string]func(*bucketParts){
		"":                                   func(*bucketParts) {},
		"own tags":                           func(p *bucketParts) { p.tags = nil },
		"public access":                      func(p *bucketParts) { p.access.BlockPublicPolicy = aws.Bool(false) },
		"access control lists":               func(p *bucketParts) { p.ownership = "" },
		"incomplete uploads":                 func(p *bucketParts) { p.rules = nil },
		"default encryption":                 func(p *bucketParts) { p.encryption = nil },
		"default encryption is neither SSE":  func(p *bucketParts) { p.encryption = encryptionWith(testKey); p.encryption.BucketKeyEnabled = nil },
		"default encryption is neither SSE-": func(p *bucketParts) { p.encryption.ApplyServerSideEncryptionByDefault.SSEAlgorithm = "aws:kms:dsse" },
	} {
		p := soundBucket()
		change(p)
		if got := strings.Join(p.drift("uploads-123456789012"), "; "); want == "" && got != "" || !strings.Contains(got, want) {
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

func transition(days int64, class string) transitionModel {
	return transitionModel{types.Int64Value(days), types.StringValue(class)}
}

func TestTransitionsThatS3Refuses(t *testing.T) {
	for _, tc := range []struct {
		transitions []transitionModel
		expires     types.Int64
		want        string
	}{
		{[]transitionModel{transition(30, "STANDARD_IA"), transition(60, "INTELLIGENT_TIERING"), transition(61, "GLACIER_IR"), transition(62, "DEEP_ARCHIVE")}, types.Int64Value(63), ""},
		{[]transitionModel{transition(1, "GLACIER")}, types.Int64Null(), ""},
		{[]transitionModel{transition(29, "STANDARD_IA")}, types.Int64Null(), "after 30 days at the earliest"},
		{[]transitionModel{transition(29, "ONEZONE_IA")}, types.Int64Null(), "after 30 days at the earliest"},
		{[]transitionModel{transition(30, "STANDARD_IA"), transition(59, "GLACIER")}, types.Int64Null(), "to GLACIER after 60 days, not after 59"},
		{[]transitionModel{transition(30, "GLACIER"), transition(90, "STANDARD_IA")}, types.Int64Null(), "from GLACIER to STANDARD_IA"},
		{[]transitionModel{transition(30, "ONEZONE_IA"), transition(90, "GLACIER_IR")}, types.Int64Null(), "from ONEZONE_IA to GLACIER_IR"},
		{[]transitionModel{transition(30, "GLACIER"), transition(90, "GLACIER")}, types.Int64Null(), "from GLACIER to GLACIER"},
		{[]transitionModel{transition(30, "GLACIER"), transition(30, "DEEP_ARCHIVE")}, types.Int64Null(), "not after their transition to GLACIER"},
		{[]transitionModel{transition(30, "GLACIER")}, types.Int64Value(30), "more than the 30 days"},
		{[]transitionModel{transition(30, "GLACIER")}, types.Int64Unknown(), ""},
	} {
		err := checkTransitions(tc.transitions, tc.expires, "expire_days")
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v, %s: %v, want %q", tc.transitions, tc.expires, err, tc.want)
		}
	}
}

const allowOther = `{"Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"s3:GetObject"}}`

func TestPolicyAllowsTheAccountsOfItsStatements(t *testing.T) {
	for configured, want := range map[string]string{
		"":         `"aws:PrincipalAccount":["123456789012"]`,
		allowOther: `"aws:PrincipalAccount":["111122223333","123456789012"]`,
		`{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:DeleteObject"}}`: `"aws:PrincipalAccount":["123456789012"]`,
	} {
		m := bucketModel{Policy: types.StringValue(configured)}
		if configured == "" {
			m.Policy = types.StringNull()
		}
		policy, err := m.wholePolicy(testARN, testAccount)
		if err != nil || !strings.Contains(policy, want) {
			t.Errorf("%s: %s, %v", configured, policy, err)
		}
	}
	m := bucketModel{Policy: types.StringValue(`{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}}}`)}
	policy, err := m.wholePolicy(testARN, testAccount)
	if err != nil || strings.Contains(policy, "aws:PrincipalAccount") || !strings.Contains(policy, "SecureTransport") {
		t.Errorf("accounts of an organization are denied: %s, %v", policy, err)
	}
}

func TestPolicyRoundTrip(t *testing.T) {
	for name, m := range map[string]bucketModel{
		"none":            {Policy: types.StringNull(), ReceiveAccessLogs: types.BoolValue(false)},
		"another account": {Policy: types.StringValue(allowOther), ReceiveAccessLogs: types.BoolValue(false)},
		"access logs":     {Policy: types.StringValue(allowOther), ReceiveAccessLogs: types.BoolValue(true)},
		"flow logs":       {Policy: types.StringValue(allowOther), ReceiveFlowLogs: types.BoolValue(true)},
	} {
		whole, err := m.wholePolicy(testARN, testAccount)
		if err != nil {
			t.Fatal(err)
		}
		read := m
		if complete := read.setPolicy(whole, testARN, testAccount); !complete || !read.Policy.Equal(m.Policy) {
			t.Errorf("%s: %s, complete %v", name, read.Policy, complete)
		}
		imported := bucketModel{Policy: types.StringNull()}
		if complete := imported.setPolicy(whole, testARN, testAccount); !complete || imported.Policy.IsNull() != m.Policy.IsNull() || imported.ReceiveAccessLogs.ValueBool() != m.ReceiveAccessLogs.ValueBool() ||
			imported.ReceiveFlowLogs.ValueBool() != m.ReceiveFlowLogs.ValueBool() {
			t.Errorf("%s, imported: %s, %s, complete %v", name, imported.Policy, imported.ReceiveAccessLogs, complete)
		}
	}
}

func TestChangedPolicyIsNoticed(t *testing.T) {
	m := bucketModel{Policy: types.StringNull(), ReceiveAccessLogs: types.BoolValue(false)}
	own := m.ownStatements(testARN, testAccount, nil)
	other := policyStatement{"Effect": "Allow", "Principal": policyStatement{"AWS": "111122223333"}, "Action": "s3:*", "Resource": testARN}
	for name, tc := range map[string]struct {
		actual   string
		complete bool
		added    bool
	}{
		"no policy":                           {"", false, false},
		"only one of the provider's":          {base.PolicyOf(own[0]), false, false},
		"another account is exempt":           {base.PolicyOf(own[0], ownAccountsOnly(testARN, []string{"111122223333", testAccount})), false, true},
		"an account is allowed and exempt":    {base.PolicyOf(own[0], ownAccountsOnly(testARN, []string{"111122223333", testAccount}), other), true, true},
		"an account is allowed but denied":    {base.PolicyOf(own[0], own[1], other), false, true},
		"access logs that are not configured": {base.PolicyOf(own[0], own[1], accessLogs(testARN, testAccount)), true, true},
	} {
		read := m
		if complete := read.setPolicy(tc.actual, testARN, testAccount); complete != tc.complete || read.Policy.IsNull() == tc.added {
			t.Errorf("%s: complete %v, policy %s", name, complete, read.Policy)
		}
	}
}

func TestOptionalSettingsAreReadOnlyWhereTheyMatter(t *testing.T) {
	plain := bucketModel{ForceDestroy: types.BoolValue(false), Policy: types.StringNull()}
	if got := plain.scope(); got != (bucketScope{versioning: true}) {
		t.Errorf("a plain bucket: %+v", got)
	}
	all := bucketModel{ForceDestroy: types.BoolValue(false), Policy: types.StringValue(allowOther), AccessLog: &accessLogModel{}, ObjectLock: &objectLockModel{}}
	if got := all.scope(); got != (bucketScope{ownership: true, lock: true, log: true}) {
		t.Errorf("a bucket with all: %+v", got)
	}
	if got := (&bucketModel{}).scope(); got != wholeScope() {
		t.Errorf("an imported bucket: %+v", got)
	}
}

func TestLifecycleRulesRoundTrip(t *testing.T) {
	rules := []lifecycleModel{
		{Prefix: types.StringValue("z/"), ExpireDays: types.Int64Value(3)},
		{NoncurrentExpireDays: types.Int64Value(30)},
		{Prefix: types.StringValue("a/"), ExpireDays: types.Int64Value(1), NoncurrentExpireDays: types.Int64Value(2)},
		{Transitions: []transitionModel{transition(30, "STANDARD_IA"), transition(90, "GLACIER")}, NoncurrentTransitions: []transitionModel{transition(1, "DEEP_ARCHIVE")}},
	}
	made := expandRules(rules)
	made[4].Transitions[0], made[4].Transitions[1] = made[4].Transitions[1], made[4].Transitions[0]
	made[0], made[3] = made[3], made[0] // AWS does not guarantee an order
	p := &bucketParts{rules: made}
	if !p.hasRules(rules) {
		got, foreign := flattenRules(made)
		t.Errorf("got %v, %v", got, foreign)
	}
	if p.hasRules(rules[:3]) || (&bucketParts{rules: made[1:]}).hasRules(rules) {
		t.Error("other rules pass for the wanted ones")
	}
}

func TestRulesThatAttributesCannotExpressAreForeign(t *testing.T) {
	enabled, days := s3types.ExpirationStatusEnabled, aws.Int32(5)
	for name, rule := range map[string]s3types.LifecycleRule{
		"disabled":     {Status: s3types.ExpirationStatusDisabled, Expiration: &s3types.LifecycleExpiration{Days: days}},
		"transition":   {Status: enabled, Transitions: []s3types.Transition{{Date: aws.Time(time.Now())}}},
		"old versions": {Status: enabled, NoncurrentVersionTransitions: []s3types.NoncurrentVersionTransition{{NoncurrentDays: days, NewerNoncurrentVersions: days}}},
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
