// Package s3test gives tests of the node's parts an S3: moto's.
package s3test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/testkit/mototest"
)

// Bucket is there from the start, and empty.
const Bucket = "uploads"

// Start starts a moto that ends with the test, and returns its endpoint. Where it
// can't run, the test is skipped.
func Start(t testing.TB) (url string) {
	t.Helper()
	moto := mototest.Start(t, moto.Options{})
	if _, err := Client(moto.URL).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(Bucket)}); err != nil {
		t.Fatal(err)
	}
	return moto.URL
}

// Client returns a client of an endpoint, moto's or what is before it.
func Client(url string) *s3.Client {
	return s3.New(s3.Options{BaseEndpoint: &url, Region: "us-east-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
}
