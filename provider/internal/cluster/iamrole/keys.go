package iamrole

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"github.com/xeroops/xeroops/provider/internal/base"
)

// readKeys reads which of the customer's KMS keys encrypt the cluster's buckets.
func (r *Roles) readKeys(ctx context.Context) error {
	b := r.spec.Buckets
	buckets := []string{b.Uploads, b.PGDump, b.WALG, b.Logs}
	slices.Sort(buckets)
	buckets = slices.DeleteFunc(slices.Compact(buckets), func(name string) bool { return name == "" })
	keys := make([]string, len(buckets))
	err := base.Parallel(ctx, base.StepsFor(buckets, func(ctx context.Context, n int, bucket string) (err error) {
		if keys[n], err = r.encryption.KMSKey(ctx, bucket); err != nil {
			return fmt.Errorf("read the default encryption of bucket %s, which decides the KMS key that nodes may use: %w", bucket, err)
		}
		return nil
	})...)
	if err != nil {
		return err
	}
	r.keys = map[string]string{}
	for n, bucket := range buckets {
		r.keys[bucket] = keys[n]
	}
	return nil
}

// useKeys allows what S3 does on a node's behalf with the KMS keys of the buckets:
// to read an object it decrypts the data key, to write one it generates a data key,
// and for the parts of a large upload it does both (S3 user guide, "Using
// server-side encryption with AWS KMS keys").
func (b builder) useKeys(buckets ...string) []statement {
	var keys, aliases, services []string
	for _, bucket := range buckets {
		if b.account.keys[bucket] == "" {
			continue
		}
		key := b.keyARN(b.account.keys[bucket])
		services = append(services, b.account.s3Services(key.Region)...)
		if strings.HasPrefix(key.Resource, "alias/") {
			aliases = append(aliases, key.Resource)
		} else {
			keys = append(keys, key.String())
		}
	}
	viaS3 := map[string]any{"kms:ViaService": unique(services)}
	var statements []statement
	if len(keys) > 0 {
		s := allow("UseKeys", unique(keys), "kms:Decrypt", "kms:GenerateDataKey")
		s.Condition = map[string]any{"StringEquals": viaS3}
		statements = append(statements, s)
	}
	if len(aliases) > 0 { // an alias is no resource to IAM
		s := allow("UseKeysOfAliases", []string{b.keyARN("*").String()}, "kms:Decrypt", "kms:GenerateDataKey")
		s.Condition = map[string]any{"StringEquals": viaS3, "ForAnyValue:StringEquals": map[string]any{"kms:ResourceAliases": unique(aliases)}}
		statements = append(statements, s)
	}
	return statements
}

// keyARN returns the ARN of a key that is configured by ARN, id or alias.
func (b builder) keyARN(key string) arn.ARN {
	if parsed, err := arn.Parse(key); err == nil {
		return parsed
	}
	if !strings.HasPrefix(key, "alias/") {
		key = "key/" + key
	}
	return arn.ARN{Partition: b.account.partition, Service: "kms", Region: b.account.region, AccountID: b.account.id, Resource: key}
}

func unique(values []string) []string { return slices.Compact(slices.Sorted(slices.Values(values))) }
