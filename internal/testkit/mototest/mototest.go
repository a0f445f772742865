// Package mototest starts a moto server for a test.
package mototest

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/xeroops/xeroops/internal/fakeaws/moto"
)

// Start starts a moto server that is stopped after the test. It skips the test if moto
// is not installed.
func Start(t testing.TB, o moto.Options) *moto.Server {
	t.Helper()
	server, err := moto.Start(t.Context(), o)
	if errors.Is(err, moto.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return server
}

// strangerAccount is an account other than moto's default.
const strangerAccount = "210987654321"

// Stranger returns the configuration of clients in another account of the moto server,
// or of the front before it, at a URL.
func Stranger(t testing.TB, url string) aws.Config {
	t.Helper()
	cfg := aws.Config{BaseEndpoint: &url, Region: "eu-west-1", Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")}
	out, err := sts.NewFromConfig(cfg).AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn: aws.String("arn:aws:iam::" + strangerAccount + ":role/stranger"), RoleSessionName: aws.String("stranger")})
	if err != nil {
		t.Fatal(err)
	}
	c := out.Credentials
	cfg.Credentials = credentials.NewStaticCredentialsProvider(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken)
	return cfg
}

// StrangersBucket creates a bucket of another account, with objects, and returns a client of that
// account.
func StrangersBucket(t testing.TB, url, bucket string, objects map[string]string) *s3.Client {
	t.Helper()
	client := s3.NewFromConfig(Stranger(t, url), func(o *s3.Options) { o.UsePathStyle = true })
	_, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket,
		CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}})
	for key, content := range objects {
		if err == nil {
			_, err = client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(content)})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// Keys returns the keys of a bucket in order.
func Keys(t testing.TB, client *s3.Client, bucket string) []string {
	t.Helper()
	out, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket})
	if err != nil {
		t.Fatal(err)
	}
	keys := []string{}
	for _, o := range out.Contents {
		keys = append(keys, aws.ToString(o.Key))
	}
	return keys
}
