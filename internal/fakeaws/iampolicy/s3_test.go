package iampolicy

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func TestS3Requests(t *testing.T) {
	const deleteBody = `<Delete><Object><Key>a</Key></Object><Object><Key>b</Key><VersionId>1</VersionId></Object></Delete>`
	for _, c := range []struct {
		method, target, body string
		header               []string
		want                 []string // action and resource
	}{
		{"GET", "/", "", nil, []string{"s3:ListAllMyBuckets *"}},
		{"GET", "/b?list-type=2&prefix=p", "", nil, []string{"s3:ListBucket arn:aws:s3:::b"}},
		{"HEAD", "/b", "", nil, []string{"s3:ListBucket arn:aws:s3:::b"}},
		{"GET", "/b?versions", "", nil, []string{"s3:ListBucketVersions arn:aws:s3:::b"}},
		{"GET", "/b?location", "", nil, []string{"s3:GetBucketLocation arn:aws:s3:::b"}},
		{"PUT", "/b?lifecycle", "", nil, []string{"s3:PutLifecycleConfiguration arn:aws:s3:::b"}},
		{"DELETE", "/b?policy", "", nil, []string{"s3:DeleteBucketPolicy arn:aws:s3:::b"}},
		{"PUT", "/b", "", nil, []string{"s3:CreateBucket arn:aws:s3:::b"}},
		{"PUT", "/b", "<CreateBucketConfiguration><Tags><Tag></Tag></Tags></CreateBucketConfiguration>", []string{"X-Amz-Object-Ownership", "BucketOwnerEnforced"},
			[]string{"s3:CreateBucket arn:aws:s3:::b", "s3:PutBucketOwnershipControls arn:aws:s3:::b", "s3:TagResource arn:aws:s3:::b"}},
		{"POST", "/b?delete", deleteBody, nil, []string{"s3:DeleteObject arn:aws:s3:::b/a", "s3:DeleteObjectVersion arn:aws:s3:::b/b"}},
		{"GET", "/b/k", "", nil, []string{"s3:GetObject arn:aws:s3:::b/k"}},
		{"GET", "/b/k?versionId=1", "", nil, []string{"s3:GetObjectVersion arn:aws:s3:::b/k"}},
		{"PUT", "/b/k?tagging", "", nil, []string{"s3:PutObjectTagging arn:aws:s3:::b/k"}},
		{"PUT", "/b/k", "", []string{"X-Amz-Copy-Source", "/s/x%20y?versionId=3"}, []string{"s3:PutObject arn:aws:s3:::b/k", "s3:GetObjectVersion arn:aws:s3:::s/x y"}},
		{"POST", "/b/k?uploads", "", nil, []string{"s3:PutObject arn:aws:s3:::b/k"}},
		{"PUT", "/b/k?uploadId=1&partNumber=1", "", nil, []string{"s3:PutObject arn:aws:s3:::b/k"}},
		{"DELETE", "/b/k?uploadId=1", "", nil, []string{"s3:AbortMultipartUpload arn:aws:s3:::b/k"}},
		{"DELETE", "/b/k", "", nil, []string{"s3:DeleteObject arn:aws:s3:::b/k"}},
	} {
		r := httptest.NewRequest(c.method, "https://s3.eu-west-1.amazonaws.com"+c.target, strings.NewReader(c.body))
		for i := 0; i < len(c.header); i += 2 {
			r.Header.Set(c.header[i], c.header[i+1])
		}
		bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		all, err := S3Requests(r, bucket, key)
		if err != nil {
			t.Errorf("%s %s: %v", c.method, c.target, err)
			continue
		}
		var got []string
		for _, n := range all {
			got = append(got, n.Action+" "+n.Resource)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s %s needs %v, want %v", c.method, c.target, got, c.want)
		}
	}
}
