package storage

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/provider/internal/base"
)

type bucketModel struct {
	ID             types.String     `tfsdk:"id"`
	ARN            types.String     `tfsdk:"arn"`
	Name           types.String     `tfsdk:"name"`
	Prefix         types.String     `tfsdk:"prefix"`
	KMSKeyID       types.String     `tfsdk:"kms_key_id"`
	Versioning     types.Bool       `tfsdk:"versioning"`
	LifecycleRules []lifecycleModel `tfsdk:"lifecycle_rules"`
	ForceDestroy   types.Bool       `tfsdk:"force_destroy"`
	Drift          types.Set        `tfsdk:"drift"`
	Tags           types.Map        `tfsdk:"tags"`
	TagsAll        types.Map        `tfsdk:"tags_all"`
	Timeouts       timeouts.Value   `tfsdk:"timeouts"`

	managed base.ManagedTags // of an update; not in the state
}

type lifecycleModel struct {
	Prefix               types.String `tfsdk:"prefix"`
	ExpireDays           types.Int64  `tfsdk:"expire_days"`
	NoncurrentExpireDays types.Int64  `tfsdk:"noncurrent_expire_days"`
}

// bucketParts is the actual state of a bucket. A setting that was never set has its
// zero value.
type bucketParts struct {
	tags       map[string]string
	versioning s3types.BucketVersioningStatus
	encryption *s3types.ServerSideEncryptionRule
	access     *s3types.PublicAccessBlockConfiguration
	ownership  s3types.ObjectOwnership
	policy     string
	rules      []s3types.LifecycleRule
}

// abortRule is the id of a lifecycle rule of every bucket, which aborts incomplete
// uploads after abortAfterDays: their parts cost money and are not listed.
const (
	abortRule      = "xeroops-abort-uploads"
	abortAfterDays = 7
)

func (m *bucketModel) fromAWS(found *bucketParts, arn, account string, settings base.TagSettings) {
	m.Name, m.ARN = m.ID, types.StringValue(arn)
	if m.ForceDestroy.IsNull() { // imported
		m.ForceDestroy = types.BoolValue(false)
		if prefix, ok := strings.CutSuffix(m.ID.ValueString(), "-"+account); ok {
			m.Prefix = types.StringValue(prefix)
		}
	}
	m.Versioning = types.BoolValue(found.versioning == s3types.BucketVersioningStatusEnabled)
	m.KMSKeyID = types.StringNull()
	if e := found.encryptionDefault(); e != nil && e.KMSMasterKeyID != nil {
		m.KMSKeyID = types.StringPointerValue(e.KMSMasterKeyID)
	}
	rules, foreign := flattenRules(found.rules)
	if len(rules) > 0 || m.LifecycleRules == nil {
		m.LifecycleRules = rules
	} else {
		m.LifecycleRules = []lifecycleModel{}
	}
	m.Drift = base.Drift(append(found.drift(m.ID.ValueString(), arn), foreign...))
	m.Tags, m.TagsAll = settings.TagsFromAWS(found.tags, m.Tags, m.TagsAll)
}

func (p *bucketParts) encryptionDefault() *s3types.ServerSideEncryptionByDefault {
	if p.encryption == nil {
		return nil
	}
	return p.encryption.ApplyServerSideEncryptionByDefault
}

// drift returns the drift that no attribute shows.
func (p *bucketParts) drift(name, arn string) []string {
	var found []string
	if !base.IsManagedAs(name, p.tags) {
		found = append(found, "the provider's own tags are missing")
	}
	if !blocksPublicAccess(p.access) {
		found = append(found, "public access is not blocked")
	}
	if p.ownership != s3types.ObjectOwnershipBucketOwnerEnforced {
		found = append(found, "access control lists are enabled")
	}
	if !base.SamePolicy(p.policy, tlsOnlyPolicy(arn)) {
		found = append(found, "the policy that denies calls without TLS was changed")
	}
	if !p.encryptsAsMade() {
		found = append(found, "default encryption is neither SSE-S3 nor SSE-KMS with a customer managed key and a bucket key")
	}
	if !slices.ContainsFunc(p.rules, isAbortRule) {
		found = append(found, "incomplete uploads are not aborted")
	}
	return found
}

func blocksPublicAccess(c *s3types.PublicAccessBlockConfiguration) bool {
	return c != nil && aws.ToBool(c.BlockPublicAcls) && aws.ToBool(c.BlockPublicPolicy) && aws.ToBool(c.IgnorePublicAcls) && aws.ToBool(c.RestrictPublicBuckets)
}

// encryptsAsMade reports whether the encryption is one that the provider sets, with
// any key.
func (p *bucketParts) encryptsAsMade() bool {
	e := p.encryptionDefault()
	switch {
	case e == nil:
		return false
	case e.SSEAlgorithm == s3types.ServerSideEncryptionAes256:
		return true
	}
	return e.SSEAlgorithm == s3types.ServerSideEncryptionAwsKms && e.KMSMasterKeyID != nil && aws.ToBool(p.encryption.BucketKeyEnabled)
}

// encryptsWith reports whether the encryption is the wanted one; an empty key means
// SSE-S3.
func (p *bucketParts) encryptsWith(key string) bool {
	e := p.encryptionDefault()
	return p.encryptsAsMade() && aws.ToString(e.KMSMasterKeyID) == key
}

func encryptionWith(key string) *s3types.ServerSideEncryptionRule {
	if key == "" {
		return &s3types.ServerSideEncryptionRule{ApplyServerSideEncryptionByDefault: &s3types.ServerSideEncryptionByDefault{
			SSEAlgorithm: s3types.ServerSideEncryptionAes256}}
	}
	// With a bucket key, S3 calls KMS once for many objects.
	return &s3types.ServerSideEncryptionRule{BucketKeyEnabled: aws.Bool(true), ApplyServerSideEncryptionByDefault: &s3types.ServerSideEncryptionByDefault{
		SSEAlgorithm: s3types.ServerSideEncryptionAwsKms, KMSMasterKeyID: &key}}
}

// tlsOnlyPolicy returns a policy that denies all calls without TLS.
func tlsOnlyPolicy(arn string) string {
	policy, err := json.Marshal(map[string]any{
		"Version": "2012-10-17",
		"Statement": []any{map[string]any{
			"Sid":       "TLSOnly",
			"Effect":    "Deny",
			"Principal": "*",
			"Action":    "s3:*",
			"Resource":  []any{arn, arn + "/*"},
			"Condition": map[string]any{"Bool": map[string]any{"aws:SecureTransport": "false"}},
		}},
	})
	if err != nil {
		panic(err) // does not happen: maps of strings
	}
	return string(policy)
}

func isAbortRule(rule s3types.LifecycleRule) bool {
	abort := rule.AbortIncompleteMultipartUpload
	return rule.Status == s3types.ExpirationStatusEnabled && abort != nil && aws.ToInt32(abort.DaysAfterInitiation) == abortAfterDays &&
		prefixOf(rule) == "" && rule.Expiration == nil && rule.NoncurrentVersionExpiration == nil
}

// expandRules returns the rules of a bucket, including abortRule.
func expandRules(rules []lifecycleModel) []s3types.LifecycleRule {
	all := []s3types.LifecycleRule{{
		ID: aws.String(abortRule), Status: s3types.ExpirationStatusEnabled,
		Filter:                         &s3types.LifecycleRuleFilter{Prefix: aws.String("")},
		AbortIncompleteMultipartUpload: &s3types.AbortIncompleteMultipartUpload{DaysAfterInitiation: aws.Int32(abortAfterDays)},
	}}
	for i, m := range rules {
		rule := s3types.LifecycleRule{
			ID: aws.String(fmt.Sprintf("xeroops-rule-%04d", i)), Status: s3types.ExpirationStatusEnabled,
			Filter: &s3types.LifecycleRuleFilter{Prefix: aws.String(m.Prefix.ValueString())},
		}
		if !m.ExpireDays.IsNull() {
			rule.Expiration = &s3types.LifecycleExpiration{Days: int32Of(m.ExpireDays)}
		}
		if !m.NoncurrentExpireDays.IsNull() {
			rule.NoncurrentVersionExpiration = &s3types.NoncurrentVersionExpiration{NoncurrentDays: int32Of(m.NoncurrentExpireDays)}
		}
		all = append(all, rule)
	}
	return all
}

// flattenRules returns the rules as attributes, in the order in which they were
// created, and a text for each that attributes cannot express.
func flattenRules(rules []s3types.LifecycleRule) (models []lifecycleModel, foreign []string) {
	sorted := slices.SortedFunc(slices.Values(rules), func(a, b s3types.LifecycleRule) int {
		return cmp.Compare(aws.ToString(a.ID), aws.ToString(b.ID))
	})
	for _, rule := range sorted {
		switch {
		case isAbortRule(rule):
		case !expressible(rule):
			foreign = append(foreign, fmt.Sprintf("lifecycle rule %q was not created by the provider", aws.ToString(rule.ID)))
		default:
			models = append(models, flattenRule(rule))
		}
	}
	return models, foreign
}

func flattenRule(rule s3types.LifecycleRule) lifecycleModel {
	var m lifecycleModel
	if prefix := prefixOf(rule); prefix != "" {
		m.Prefix = types.StringValue(prefix)
	}
	if e := rule.Expiration; e != nil {
		m.ExpireDays = types.Int64Value(int64(aws.ToInt32(e.Days)))
	}
	if e := rule.NoncurrentVersionExpiration; e != nil {
		m.NoncurrentExpireDays = types.Int64Value(int64(aws.ToInt32(e.NoncurrentDays)))
	}
	return m
}

// expressible reports whether attributes can express a rule.
func expressible(rule s3types.LifecycleRule) bool {
	if rule.Status != s3types.ExpirationStatusEnabled || len(rule.Transitions)+len(rule.NoncurrentVersionTransitions) > 0 || rule.AbortIncompleteMultipartUpload != nil {
		return false
	}
	if f := rule.Filter; f != nil && (f.And != nil || f.Tag != nil || f.ObjectSizeGreaterThan != nil || f.ObjectSizeLessThan != nil) {
		return false
	}
	if e := rule.Expiration; e != nil && e.Days == nil {
		return false
	}
	if e := rule.NoncurrentVersionExpiration; e != nil && (e.NoncurrentDays == nil || e.NewerNoncurrentVersions != nil) {
		return false
	}
	return rule.Expiration != nil || rule.NoncurrentVersionExpiration != nil
}

func prefixOf(rule s3types.LifecycleRule) string {
	if rule.Filter != nil {
		return aws.ToString(rule.Filter.Prefix)
	}
	return aws.ToString(rule.Prefix) //nolint:staticcheck // set by older tools
}

// hasRules reports whether the actual rules are equivalent to the wanted ones.
func (p *bucketParts) hasRules(wanted []lifecycleModel) bool {
	models, foreign := flattenRules(p.rules)
	return len(foreign) == 0 && slices.Equal(models, wanted) && slices.ContainsFunc(p.rules, isAbortRule)
}

// bucketName returns the bucket's name: the configured one, or prefix and account.
// It is unknown if the prefix is.
func (m *bucketModel) bucketName(ctx context.Context, account func(context.Context) (string, error)) (types.String, error) {
	if m.Prefix.IsNull() {
		return m.Name, nil
	}
	if m.Prefix.IsUnknown() {
		return types.StringUnknown(), nil
	}
	id, err := account(ctx)
	return types.StringValue(m.Prefix.ValueString() + "-" + id), err
}
