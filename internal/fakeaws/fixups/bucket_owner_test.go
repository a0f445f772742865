package fixups_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/testkit/mototest"
)

func TestRequestsThatExpectAnotherOwnerOfABucketAreRefused(t *testing.T) {
	f := newFixture(t, fast)
	mototest.StrangersBucket(t, f.front.URL, "theirs", map[string]string{"key": "content"})
	_, err := f.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("ours"),
		CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}})
	f.ok(err)
	get := func(bucket string, owner *string) error {
		_, err := f.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: aws.String("key"), ExpectedBucketOwner: owner})
		return err
	}
	put := func(bucket string, owner *string) error {
		_, err := f.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("key"), Body: strings.NewReader("x"), ExpectedBucketOwner: owner})
		return err
	}
	own := aws.String(moto.Account)
	f.refused(get("theirs", own), "AccessDenied")
	f.refused(put("theirs", own), "AccessDenied")
	f.ok(get("theirs", nil))
	f.ok(get("theirs", aws.String("210987654321")))
	f.ok(put("ours", own))
	f.ok(get("ours", own))
	f.refused(get("ours", aws.String("210987654321")), "AccessDenied")
	_, err = f.s3.CopyObject(ctx, &s3.CopyObjectInput{Bucket: aws.String("ours"), Key: aws.String("copy"), CopySource: aws.String("theirs/key"),
		ExpectedBucketOwner: own, ExpectedSourceBucketOwner: own})
	f.refused(err, "AccessDenied")
}
