// Package s3test provides tests with moto's S3.
package s3test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/testkit/mototest"
)

// Bucket is an empty bucket that [Start] creates.
const Bucket = "uploads"

// Start starts a moto that runs until the test ends, and returns its URL. If moto is not
// installed, it skips the test.
func Start(t testing.TB) (url string) {
	t.Helper()
	moto := mototest.Start(t, moto.Options{})
	if _, err := Client(moto.URL).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(Bucket)}); err != nil {
		t.Fatal(err)
	}
	return moto.URL
}

// Client returns a client of moto or of a proxy before it.
func Client(url string) *s3.Client {
	return s3.New(s3.Options{BaseEndpoint: &url, Region: "us-east-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
}
