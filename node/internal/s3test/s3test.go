// Package s3test gives tests of the node's parts an S3: moto's.
package s3test

import (
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/xeroops/xeroops/internal/motoserver"
)

// Bucket is there from the start, and empty.
const Bucket = "uploads"

// Start starts a moto that ends with the test, and returns its endpoint. Where it
// can't run, the test is skipped.
func Start(t testing.TB) (url string) {
	t.Helper()
	moto, err := motoserver.Start(t.Context(), motoserver.Options{})
	if errors.Is(err, motoserver.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(moto.Stop)
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
