package storage

import (
	"context"
	"fmt"
	"maps"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// converge changes all settings of a bucket to match the model, concurrently. Parts
// of S3 may not know a new bucket for a while. The access log is read and changed only
// if the model or the state before has one.
func (r *bucketResource) converge(ctx context.Context, m bucketModel, before *accessLogModel) error {
	scope := wholeScope()
	scope.log = m.AccessLog != nil || before != nil
	scope.lock = m.ObjectLock != nil
	found, err := awswait.Retry(ctx, awswait.CreatedVisible, isNoBucket, func(ctx context.Context) (*bucketParts, error) {
		return r.findParts(ctx, m.Name.ValueString(), scope)
	})
	if err != nil {
		return err
	}
	parts, err := r.parts(ctx, found, m)
	if err != nil {
		return err
	}
	var steps []base.Step
	for _, part := range parts {
		if part.matches {
			continue
		}
		steps = append(steps, func(ctx context.Context) error {
			_, err := awswait.Retry(ctx, awswait.BucketConflict, passing, func(ctx context.Context) (any, error) { return nil, part.put(ctx) })
			if err != nil {
				return fmt.Errorf("set %s: %w", part.name, base.AtAttributeForCode(err, part.atFault))
			}
			return nil
		})
	}
	return base.ParallelAll(ctx, steps...)
}

// passing reports whether an error is temporary: S3 allows one change of a bucket
// at a time, and a new bucket becomes visible gradually.
func passing(err error) bool { return awswait.IsBucketConflict(err) || isNoBucket(err) }

// part is a setting of a bucket.
type part struct {
	name    string
	matches bool // the model
	put     func(context.Context) error
	atFault map[string]string
}

func (r *bucketResource) parts(ctx context.Context, found *bucketParts, m bucketModel) ([]part, error) {
	arn, err := r.arn(ctx, m.Name.ValueString())
	if err != nil {
		return nil, err
	}
	account, err := r.Client.AccountID(ctx)
	if err != nil {
		return nil, err
	}
	m.region = r.Client.Region
	policy, err := m.wholePolicy(arn, account)
	if err != nil {
		return nil, err
	}
	return append(r.protections(found, m, policy), r.features(found, m)...), nil
}

// features are the settings that a customer chooses.
func (r *bucketResource) features(found *bucketParts, m bucketModel) []part {
	c, name := r.Client.S3, m.Name.ValueStringPointer()
	status := s3types.BucketVersioningStatusEnabled
	if !m.Versioning.ValueBool() {
		status = s3types.BucketVersioningStatusSuspended
	}
	return []part{
		{name: "tags", matches: maps.Equal(found.tags, m.managed.Apply(found.tags, m.allTags())), put: func(ctx context.Context) error { return r.putTags(ctx, m) },
			atFault: map[string]string{"InvalidTag": "tags"}},
		{name: "versioning", matches: found.versioning == status || found.versioning == "" && !m.Versioning.ValueBool(), put: func(ctx context.Context) error {
			_, err := c.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: name, VersioningConfiguration: &s3types.VersioningConfiguration{Status: status}})
			return err
		}, atFault: map[string]string{"InvalidBucketState": "versioning"}},
		{name: "lifecycle rules", matches: found.hasRules(m.LifecycleRules), put: func(ctx context.Context) error {
			_, err := c.PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{Bucket: name,
				LifecycleConfiguration: &s3types.BucketLifecycleConfiguration{Rules: expandRules(m.LifecycleRules)}})
			return err
		}, atFault: map[string]string{"InvalidRequest": "lifecycle_rules", "InvalidArgument": "lifecycle_rules", "MalformedXML": "lifecycle_rules"}},
		{name: "access log", matches: !found.read.log || flattenLog(found.log).equal(m.AccessLog), put: func(ctx context.Context) error {
			_, err := c.PutBucketLogging(ctx, &s3.PutBucketLoggingInput{Bucket: name, BucketLoggingStatus: expandLog(m.AccessLog)})
			return err
		}, atFault: map[string]string{"InvalidTargetBucketForLogging": "access_log", "CrossLocationLoggingProhibited": "access_log", "InvalidRequest": "access_log"}},
		{name: "Object Lock", matches: m.ObjectLock == nil || flattenLock(found.lock).equal(m.ObjectLock), put: func(ctx context.Context) error {
			_, err := c.PutObjectLockConfiguration(ctx, &s3.PutObjectLockConfigurationInput{Bucket: name, ObjectLockConfiguration: expandLock(m.ObjectLock)})
			return err
		}, atFault: map[string]string{"InvalidBucketState": "object_lock", "InvalidRequest": "object_lock", "MalformedXML": "object_lock"}},
	}
}

// protections are the settings that keep others out.
func (r *bucketResource) protections(found *bucketParts, m bucketModel, policy string) []part {
	c, name := r.Client.S3, m.Name.ValueStringPointer()
	return []part{
		{name: "default encryption", matches: found.encryptsWith(m.KMSKeyID.ValueString()), put: func(ctx context.Context) error {
			rule := encryptionWith(m.KMSKeyID.ValueString())
			_, err := c.PutBucketEncryption(ctx, &s3.PutBucketEncryptionInput{Bucket: name, ServerSideEncryptionConfiguration: &s3types.ServerSideEncryptionConfiguration{
				Rules: []s3types.ServerSideEncryptionRule{*rule}}})
			if err == nil {
				r.Encryption.Keep(*name, rule)
			}
			return err
		}, atFault: map[string]string{"InvalidArgument": "kms_key_id", "MalformedXML": "kms_key_id"}},
		{name: "public access block", matches: blocksPublicAccess(found.access), put: func(ctx context.Context) error {
			yes := aws.Bool(true)
			_, err := c.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{Bucket: name, PublicAccessBlockConfiguration: &s3types.PublicAccessBlockConfiguration{
				BlockPublicAcls: yes, BlockPublicPolicy: yes, IgnorePublicAcls: yes, RestrictPublicBuckets: yes}})
			return err
		}},
		{name: "object ownership", matches: found.ownership == s3types.ObjectOwnershipBucketOwnerEnforced, put: func(ctx context.Context) error {
			_, err := c.PutBucketOwnershipControls(ctx, &s3.PutBucketOwnershipControlsInput{Bucket: name, OwnershipControls: &s3types.OwnershipControls{
				Rules: []s3types.OwnershipControlsRule{{ObjectOwnership: s3types.ObjectOwnershipBucketOwnerEnforced}}}})
			return err
		}},
		{name: "policy", matches: base.SamePolicy(found.policy, policy), put: func(ctx context.Context) error {
			_, err := c.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: name, Policy: &policy})
			return err
		}, atFault: map[string]string{"MalformedPolicy": "policy", "InvalidPolicyDocument": "policy"}},
	}
}

// putTags sets the tags of a bucket. S3 replaces all of them, so those of others and
// of AWS are read just before and written again.
func (r *bucketResource) putTags(ctx context.Context, m bucketModel) error {
	actual, err := r.tagsOf(ctx, m.Name.ValueString())
	if err != nil {
		return err
	}
	_, err = r.Client.S3.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: m.Name.ValueStringPointer(),
		Tagging: &s3types.Tagging{TagSet: expandTags(m.managed.Apply(actual, m.allTags()))}})
	return err
}
