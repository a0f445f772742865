package fixups

import (
	"net/http"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
)

// bucketOwner refuses requests whose expected owner of a bucket, or of a copy's source,
// is not its actual owner. Moto ignores both headers
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html).
func bucketOwner() fakeaws.Middleware {
	var strangers sync.Map // account by bucket, of buckets of accounts other than moto's default
	owner := func(bucket string) string {
		if account, ok := strangers.Load(bucket); ok {
			return account.(string)
		}
		return moto.Account
	}
	return func(next fakeaws.Handler) fakeaws.Handler {
		return func(c *fakeaws.Call) (*http.Response, error) {
			if c.Service != fakeaws.S3 {
				return next(c)
			}
			header := c.Request.Header
			source, _, _ := strings.Cut(strings.TrimPrefix(header.Get("X-Amz-Copy-Source"), "/"), "/")
			expected := c.Request.URL.Query().Get("x-amz-expected-bucket-owner") // of a presigned URL
			if expected == "" {
				expected = header.Get("X-Amz-Expected-Bucket-Owner")
			}
			sourceExpected := header.Get("X-Amz-Source-Expected-Bucket-Owner")
			if expected != "" && expected != owner(c.Bucket) || sourceExpected != "" && sourceExpected != owner(source) {
				return c.Error(http.StatusForbidden, "AccessDenied", "Access Denied"), nil
			}
			res, err := next(c)
			if !c.Is(fakeaws.S3, "CreateBucket") || !succeeded(res, err) {
				return res, err
			}
			strangers.Delete(c.Bucket)
			account, err := accountOf(c)
			if err == nil && account != moto.Account {
				strangers.Store(c.Bucket, account)
			}
			return res, err
		}
	}
}

// accountOf returns the account of the credentials that a call is signed with.
func accountOf(c *fakeaws.Call) (string, error) {
	_, credential, _ := strings.Cut(c.Request.Header.Get("Authorization"), "Credential=")
	key, _, signed := strings.Cut(credential, "/")
	if !signed {
		return moto.Account, nil
	}
	client := sts.NewFromConfig(c.Moto(), func(o *sts.Options) {
		o.Credentials = credentials.NewStaticCredentialsProvider(key, "secret", "") // moto checks the key only
	})
	out, err := client.GetCallerIdentity(c.Context(), nil)
	if err != nil {
		return "", err
	}
	return aws.ToString(out.Account), nil
}
