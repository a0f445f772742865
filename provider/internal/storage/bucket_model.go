package storage

import (
	"context"
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
	ID                types.String     `tfsdk:"id"`
	ARN               types.String     `tfsdk:"arn"`
	Name              types.String     `tfsdk:"name"`
	Prefix            types.String     `tfsdk:"prefix"`
	KMSKeyID          types.String     `tfsdk:"kms_key_id"`
	Versioning        types.Bool       `tfsdk:"versioning"`
	LifecycleRules    []lifecycleModel `tfsdk:"lifecycle_rules"`
	Policy            types.String     `tfsdk:"policy"`
	AccessLog         *accessLogModel  `tfsdk:"access_log"`
	ReceiveAccessLogs types.Bool       `tfsdk:"receive_access_logs"`
	ReceiveFlowLogs   types.Bool       `tfsdk:"receive_flow_logs"`
	ObjectLock        *objectLockModel `tfsdk:"object_lock"`
	ForceDestroy      types.Bool       `tfsdk:"force_destroy"`
	Drift             types.Set        `tfsdk:"drift"`
	Tags              types.Map        `tfsdk:"tags"`
	TagsAll           types.Map        `tfsdk:"tags_all"`
	Timeouts          timeouts.Value   `tfsdk:"timeouts"`

	managed base.ManagedTags // of an update; not in the state
	region  string           // not in the state
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
	lock       *s3types.ObjectLockConfiguration
	log        *s3types.LoggingEnabled
	read       bucketScope // what of the optional settings was read
}

// bucketScope has the settings of a bucket that are read only where they matter, so
// that a plan makes no call for features that a bucket does not use.
type bucketScope struct {
	// versioning is implied by Object Lock.
	versioning bool
	// ownership does not matter while the policy denies all other accounts: access
	// control lists cannot grant anything to them, and the public access block keeps
	// them from granting anything to the public.
	ownership bool
	lock, log bool
}

func wholeScope() bucketScope {
	return bucketScope{versioning: true, ownership: true, lock: true, log: true}
}

// scope returns what Read has to read for the state.
func (m *bucketModel) scope() bucketScope {
	if m.ForceDestroy.IsNull() { // imported
		return wholeScope()
	}
	return bucketScope{versioning: m.ObjectLock == nil, ownership: !m.Policy.IsNull(), lock: m.ObjectLock != nil, log: m.AccessLog != nil}
}

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
	if found.read.log {
		m.AccessLog = flattenLog(found.log)
	}
	if found.read.lock {
		m.ObjectLock = flattenLock(found.lock)
	}
	drift := found.drift(m.ID.ValueString())
	if !m.setPolicy(found.policy, arn, account) {
		drift = append(drift, "the provider's statements of the policy are missing or were changed")
	}
	if m.ReceiveAccessLogs.IsNull() {
		m.ReceiveAccessLogs = types.BoolValue(false)
	}
	if m.ReceiveFlowLogs.IsNull() {
		m.ReceiveFlowLogs = types.BoolValue(false)
	}
	m.Drift = base.Drift(append(drift, foreign...))
	m.Tags, m.TagsAll = settings.TagsFromAWS(found.tags, m.Tags, m.TagsAll)
}

func (p *bucketParts) encryptionDefault() *s3types.ServerSideEncryptionByDefault {
	if p.encryption == nil {
		return nil
	}
	return p.encryption.ApplyServerSideEncryptionByDefault
}

// drift returns the drift that no attribute shows.
func (p *bucketParts) drift(name string) []string {
	var found []string
	if !base.IsManagedAs(name, p.tags) {
		found = append(found, "the provider's own tags are missing")
	}
	if !blocksPublicAccess(p.access) {
		found = append(found, "public access is not blocked")
	}
	if p.read.ownership && p.ownership != s3types.ObjectOwnershipBucketOwnerEnforced {
		found = append(found, "access control lists are enabled")
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
	name := types.StringValue(m.Prefix.ValueString() + "-" + id)
	// Configuration that Terraform generates for an import has both.
	if err == nil && !m.Name.IsNull() && !m.Name.IsUnknown() && !m.Name.Equal(name) {
		return name, fmt.Errorf("the prefix makes the name %q, but name is %q: remove one of them", name.ValueString(), m.Name.ValueString())
	}
	return name, err
}
