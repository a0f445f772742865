package fixups_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Of several puts on the condition that an object is unchanged, one succeeds.
func TestOneOfSeveralConditionalPutsSucceeds(t *testing.T) {
	f := newFixture(t, fast)
	bucket := aws.String("conditional")
	_, err := f.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket, CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}})
	f.ok(err)
	const writers = 8
	content := strings.Repeat("x", 4<<20) // which moto stores slowly, after it checked the condition
	for round := range 2 {
		key := fmt.Sprint("object-", round)
		before, err := f.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: &key, Body: strings.NewReader("before")})
		f.ok(err)
		written := make(chan int, writers)
		var all sync.WaitGroup
		for n := range writers {
			all.Go(func() {
				_, err := f.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: &key, Body: strings.NewReader(fmt.Sprint(n, content)), IfMatch: before.ETag})
				if err == nil {
					written <- n
				} else {
					f.refused(err, "PreconditionFailed")
				}
			})
		}
		all.Wait()
		if len(written) != 1 {
			t.Fatalf("%d of %d puts of %s succeeded, want 1", len(written), writers, key)
		}
	}
}
