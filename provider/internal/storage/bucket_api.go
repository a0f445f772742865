package storage

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// noConstraint is the region whose buckets are created without a location
// constraint (S3 API reference, CreateBucket).
const noConstraint = "us-east-1"

var errTaken = errors.New("the name belongs to a bucket of another account, or to one that the credentials may not access; " +
	"names are unique among all accounts, so choose another or use prefix")

// isNoBucket reports whether the bucket itself is missing, as opposed to one of its
// settings.
func isNoBucket(err error) bool { return awswait.HasCode(err, "NoSuchBucket", "NotFound") }

// findExisting returns the account's bucket with the name, or nil.
func (r *bucketResource) findExisting(ctx context.Context, name string) (*base.Found, error) {
	out, err := r.Client.S3.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &name})
	switch statusOf(err) {
	case http.StatusNotFound:
		return nil, nil
	case http.StatusForbidden:
		return nil, base.AtAttribute(path.Root("name"), errTaken)
	case http.StatusMovedPermanently:
		return &base.Found{ID: name, Conflict: "in another region"}, nil
	}
	if err != nil {
		return nil, err
	}
	found := &base.Found{ID: name}
	if region := aws.ToString(out.BucketRegion); region != "" && region != r.Client.Region {
		found.Conflict = "in region " + region
		return found, nil
	}
	return found, r.inspect(ctx, found)
}

func statusOf(err error) int {
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}

// inspect reads the claim of the account's bucket, and whether it is in use: one that
// an interrupted create left is empty.
func (r *bucketResource) inspect(ctx context.Context, found *base.Found) error {
	return base.Parallel(ctx,
		func(ctx context.Context) error {
			tags, err := r.tagsOf(ctx, found.ID)
			found.Claim = tags[base.TagClaim]
			if err == nil && !base.IsManagedAs(found.ID, tags) {
				found.Conflict = "not created by the provider"
			}
			return err
		},
		func(ctx context.Context) error {
			versions, err := r.Client.S3.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &found.ID, MaxKeys: aws.Int32(1)})
			if err == nil && len(versions.Versions)+len(versions.DeleteMarkers) > 0 {
				found.InUse = "not empty"
			}
			return err
		},
	)
}

// claimed returns a bucket as the holder of its claim.
func (r *bucketResource) claimed(name string, tags map[string]string) base.Claimed {
	return base.Claimed{Kind: bucketTypeName, ID: name, Tag: tags[base.TagClaim], OneTagSet: true,
		Write: func(ctx context.Context, claim string) error { return r.writeClaim(ctx, name, claim) },
		Reread: func(ctx context.Context) (string, bool, error) {
			tags, err := r.tagsOf(ctx, name)
			if isNoBucket(err) {
				return "", false, nil
			}
			return tags[base.TagClaim], true, err
		}}
}

// maxClaimAttempts is how often the claim is written to a bucket whose tags others
// change at the same time.
const maxClaimAttempts = 5

// writeClaim sets the claim among the bucket's other tags. S3 replaces them as a whole and
// without a condition: if another replaced them too, from what it read before, the claim
// is written again to what it wrote.
func (r *bucketResource) writeClaim(ctx context.Context, name, claim string) error {
	for range maxClaimAttempts {
		tags, err := r.tagsOf(ctx, name)
		if err != nil || tags[base.TagClaim] == claim {
			return err
		}
		tags[base.TagClaim] = claim
		if _, err = r.Client.S3.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: &name, Tagging: &s3types.Tagging{TagSet: expandTags(tags)}}); err != nil {
			return err
		}
	}
	return fmt.Errorf("others change the tags of bucket %s at the same time, and so its claim was not kept; apply again when they are done", name)
}

// creation returns how the bucket is adopted or created.
func (r *bucketResource) creation(m bucketModel) base.Creation {
	name := m.Name.ValueString()
	return base.Creation{Kind: bucketTypeName, Name: name, Write: r.writeClaim,
		// Needed because creating one's own bucket succeeds in us-east-1.
		Find:   func(ctx context.Context) (*base.Found, error) { return r.findExisting(ctx, name) },
		Create: func(ctx context.Context, claim base.Claim) (string, error) { return name, r.create(ctx, m, claim) }}
}

func (r *bucketResource) create(ctx context.Context, m bucketModel, claim base.Claim) error {
	name := m.Name.ValueString()
	tags := m.allTags()
	tags[base.TagClaim] = claim.String()
	config := &s3types.CreateBucketConfiguration{Tags: expandTags(tags)}
	if r.Client.Region != noConstraint {
		config.LocationConstraint = s3types.BucketLocationConstraint(r.Client.Region)
	}
	_, err := awswait.Retry(ctx, awswait.BucketConflict, awswait.IsBucketConflict, func(ctx context.Context) (any, error) {
		return r.Client.S3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name, CreateBucketConfiguration: config,
			ObjectOwnership: s3types.ObjectOwnershipBucketOwnerEnforced, ObjectLockEnabledForBucket: aws.Bool(m.ObjectLock != nil)})
	})
	switch {
	case awswait.HasCode(err, "BucketAlreadyOwnedByYou"): // the response of an earlier attempt was lost
		found, err := r.findExisting(ctx, name)
		if err == nil && found != nil && found.Claim != claim.String() {
			if _, err = r.Claims.Adoptable(bucketTypeName, name, found); err == nil {
				err = r.writeClaim(ctx, name, claim.String())
			}
		}
		return err
	case awswait.HasCode(err, "BucketAlreadyExists"):
		return base.AtAttribute(path.Root("name"), fmt.Errorf("%w: %w", errTaken, err))
	}
	return base.AtAttributeForCode(err, map[string]string{"InvalidBucketName": "name", "TooManyBuckets": "name"})
}

// allTags returns the tags that the provider sets on the bucket.
func (m bucketModel) allTags() map[string]string {
	customers, _ := base.TagMap(m.TagsAll)
	return base.AllTags(m.Name.ValueString(), customers, nil)
}

func expandTags(from map[string]string) []s3types.Tag {
	var tags []s3types.Tag
	for k, v := range from {
		tags = append(tags, s3types.Tag{Key: &k, Value: &v})
	}
	return tags
}

func (r *bucketResource) tagsOf(ctx context.Context, name string) (map[string]string, error) {
	tags := map[string]string{}
	out, err := r.Client.S3.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: &name})
	if err != nil {
		return tags, ignoreUnset(err, "NoSuchTagSet")
	}
	for _, t := range out.TagSet {
		tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return tags, nil
}

// ignoreUnset returns nil for the error of a setting that was never set.
func ignoreUnset(err error, code string) error {
	return awswait.Ignore(err, func(err error) bool { return awswait.HasCode(err, code) })
}

// findParts returns the settings of a bucket, those of scope only as far as it says.
// The calls are concurrent.
func (r *bucketResource) findParts(ctx context.Context, name string, scope bucketScope) (*bucketParts, error) {
	p, c := &bucketParts{read: scope}, r.Client.S3
	err := base.Parallel(ctx, append(r.optionalReads(name, scope, p),
		func(ctx context.Context) (err error) {
			p.tags, err = r.tagsOf(ctx, name)
			return err
		},
		func(ctx context.Context) (err error) {
			p.encryption, err = r.Encryption.Read(ctx, name)
			return err
		},
		func(ctx context.Context) error {
			out, err := c.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: &name})
			if err == nil {
				p.access = out.PublicAccessBlockConfiguration
			}
			return ignoreUnset(err, "NoSuchPublicAccessBlockConfiguration")
		},
		func(ctx context.Context) error {
			out, err := c.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: &name})
			if err == nil {
				p.policy = aws.ToString(out.Policy)
			}
			return ignoreUnset(err, "NoSuchBucketPolicy")
		},
		func(ctx context.Context) error {
			out, err := c.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: &name})
			if err == nil {
				p.rules = out.Rules
			}
			return ignoreUnset(err, "NoSuchLifecycleConfiguration")
		},
	)...)
	if scope.lock && flattenLock(p.lock) != nil {
		p.versioning = s3types.BucketVersioningStatusEnabled // S3 does not suspend it
	}
	return p, err
}

// optionalReads returns the calls for the settings of scope.
func (r *bucketResource) optionalReads(name string, scope bucketScope, p *bucketParts) []base.Step {
	c := r.Client.S3
	return []base.Step{
		base.StepIf(scope.versioning, func(ctx context.Context) error {
			out, err := c.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &name})
			if err == nil {
				p.versioning = out.Status
			}
			return err
		}),
		base.StepIf(scope.ownership, func(ctx context.Context) error {
			out, err := c.GetBucketOwnershipControls(ctx, &s3.GetBucketOwnershipControlsInput{Bucket: &name})
			if err == nil && len(out.OwnershipControls.Rules) > 0 {
				p.ownership = out.OwnershipControls.Rules[0].ObjectOwnership
			}
			return ignoreUnset(err, "OwnershipControlsNotFoundError")
		}),
		base.StepIf(scope.lock, func(ctx context.Context) error {
			out, err := c.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &name})
			if err == nil {
				p.lock = out.ObjectLockConfiguration
			}
			return ignoreUnset(err, "ObjectLockConfigurationNotFoundError")
		}),
		base.StepIf(scope.log, func(ctx context.Context) error {
			out, err := c.GetBucketLogging(ctx, &s3.GetBucketLoggingInput{Bucket: &name})
			if err == nil {
				p.log = out.LoggingEnabled
			}
			return err
		}),
	}
}
