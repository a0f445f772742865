package fixups

import (
	"context"
	"encoding/xml"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// bucketDefaults gives a new bucket the tags of the call, which moto ignores, and the
// settings that AWS has set since 2023: SSE-S3, all public access blocked, and
// BucketOwnerEnforced
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/create-bucket-faq.html).
func bucketDefaults() fakeaws.Middleware {
	return func(next fakeaws.Handler) fakeaws.Handler {
		return func(c *fakeaws.Call) (*http.Response, error) {
			if !c.Is(fakeaws.S3, "CreateBucket") {
				return next(c)
			}
			body, err := c.ReadBody()
			if err != nil {
				return nil, err
			}
			res, err := next(c)
			if !succeeded(res, err) {
				return res, err
			}
			client := s3.NewFromConfig(c.Moto(), func(o *s3.Options) { o.UsePathStyle = true })
			if err := putTags(c.Context(), client, aws.String(c.Bucket), body); err != nil {
				return res, err
			}
			return res, putDefaults(c.Context(), client, aws.String(c.Bucket))
		}
	}
}

// putTags sets the tags of a CreateBucketConfiguration.
func putTags(ctx context.Context, client *s3.Client, bucket *string, configuration []byte) error {
	var content struct {
		Tags []types.Tag `xml:"Tags>Tag"`
	}
	if len(configuration) == 0 {
		return nil
	}
	if err := xml.Unmarshal(configuration, &content); err != nil || len(content.Tags) == 0 {
		return err
	}
	_, err := client.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: bucket, Tagging: &types.Tagging{TagSet: content.Tags}})
	return err
}

func putDefaults(ctx context.Context, client *s3.Client, bucket *string) error {
	_, err := client.PutBucketEncryption(ctx, &s3.PutBucketEncryptionInput{Bucket: bucket,
		ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{Rules: []types.ServerSideEncryptionRule{{
			ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAes256},
			BucketKeyEnabled:                   aws.Bool(false),
		}}}})
	if err != nil {
		return err
	}
	yes := aws.Bool(true)
	_, err = client.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{Bucket: bucket,
		PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
			BlockPublicAcls: yes, BlockPublicPolicy: yes, IgnorePublicAcls: yes, RestrictPublicBuckets: yes}})
	if err != nil {
		return err
	}
	_, err = client.PutBucketOwnershipControls(ctx, &s3.PutBucketOwnershipControlsInput{Bucket: bucket,
		OwnershipControls: &types.OwnershipControls{Rules: []types.OwnershipControlsRule{{
			ObjectOwnership: types.ObjectOwnershipBucketOwnerEnforced}}}})
	return err
}
