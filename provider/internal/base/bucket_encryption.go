package base

import (
	"context"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/xeroops/xeroops/internal/awswait"
)

// BucketEncryption reads the default encryption of buckets. It keeps what a run of
// the provider read or set, so that a cluster whose buckets are xeroops_bucket costs
// no further call. It is safe for concurrent use.
type BucketEncryption struct {
	client *s3.Client
	mu     sync.Mutex
	rules  map[string]*s3types.ServerSideEncryptionRule
}

// NewBucketEncryption returns a BucketEncryption that has read nothing yet.
func NewBucketEncryption(client *s3.Client) *BucketEncryption {
	return &BucketEncryption{client: client, rules: map[string]*s3types.ServerSideEncryptionRule{}}
}

// Read reads the encryption of a bucket; nil means that none is set.
func (e *BucketEncryption) Read(ctx context.Context, bucket string) (*s3types.ServerSideEncryptionRule, error) {
	out, err := e.client.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: &bucket})
	if err != nil && !awswait.HasCode(err, "ServerSideEncryptionConfigurationNotFoundError") {
		return nil, err
	}
	var rule *s3types.ServerSideEncryptionRule
	if err == nil && len(out.ServerSideEncryptionConfiguration.Rules) > 0 {
		rule = &out.ServerSideEncryptionConfiguration.Rules[0]
	}
	e.Keep(bucket, rule)
	return rule, nil
}

// Keep records the encryption that was set on a bucket.
func (e *BucketEncryption) Keep(bucket string, rule *s3types.ServerSideEncryptionRule) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rules[bucket] = rule
}

// KMSKey returns the customer's KMS key that encrypts a bucket: its ARN, id or alias,
// as S3 has it. It is "" if S3's own key or the account's aws/s3 does, which need no
// permission, or if there is no such bucket.
func (e *BucketEncryption) KMSKey(ctx context.Context, bucket string) (string, error) {
	e.mu.Lock()
	rule, known := e.rules[bucket]
	e.mu.Unlock()
	if !known {
		var err error
		if rule, err = e.Read(ctx, bucket); err != nil {
			return "", awswait.Ignore(err, awswait.IsNotFound)
		}
	}
	if rule == nil || rule.ApplyServerSideEncryptionByDefault == nil {
		return "", nil
	}
	return aws.ToString(rule.ApplyServerSideEncryptionByDefault.KMSMasterKeyID), nil
}
