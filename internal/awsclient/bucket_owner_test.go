package awsclient_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/xeroops/xeroops/internal/awsclient"
	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/testkit/mototest"
)

func TestAStrangersBucketIsNeitherReadNorWritten(t *testing.T) {
	server := mototest.Start(t, moto.Options{})
	front, err := fakeaws.Start(fakeaws.Options{Upstream: server.URL, Fixups: fixups.All(fixups.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = front.Close() })
	const bucket = "uploads-" + moto.Account
	stranger := mototest.StrangersBucket(t, front.URL, bucket, map[string]string{"key": "theirs"})
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	client, err := awsclient.New(t.Context(), awsclient.Settings{Region: "eu-west-1", S3UsePathStyle: true,
		Endpoints: awsclient.Endpoints{EC2: front.URL, IAM: front.URL, S3: front.URL, STS: front.URL}})
	if err != nil {
		t.Fatal(err)
	}
	name, key := aws.String(bucket), aws.String("key")
	for operation, call := range map[string]func() error{
		"GetObject": func() error {
			_, err := client.S3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: name, Key: key})
			return err
		},
		"PutObject": func() error {
			_, err := client.S3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: name, Key: aws.String("other"), Body: strings.NewReader("secret")})
			return err
		},
		"ListObjectsV2": func() error {
			_, err := client.S3.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: name})
			return err
		},
	} {
		if err := call(); !awswait.HasCode(err, "AccessDenied") {
			t.Errorf("%s: got %v, want AccessDenied", operation, err)
		}
	}
	if keys := mototest.Keys(t, stranger, bucket); !slices.Equal(keys, []string{"key"}) {
		t.Errorf("the stranger's bucket has %v", keys)
	}
}
