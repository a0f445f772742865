package fakeaws

import (
	"net/http/httptest"
	"testing"
)

func TestS3Action(t *testing.T) {
	for _, tc := range []struct{ method, url, action, bucket, key string }{
		{"GET", "http://127.0.0.1/", "ListBuckets", "", ""},
		{"PUT", "http://127.0.0.1/b", "CreateBucket", "b", ""},
		{"PUT", "http://127.0.0.1/b/", "CreateBucket", "b", ""},
		{"DELETE", "http://127.0.0.1/b", "DeleteBucket", "b", ""},
		{"GET", "http://127.0.0.1/b?location", "GetBucketLocation", "b", ""},
		{"PUT", "http://127.0.0.1/b?policy", "PutBucketPolicy", "b", ""},
		{"GET", "http://127.0.0.1/b?policyStatus", "GetBucketPolicyStatus", "b", ""},
		{"PUT", "http://127.0.0.1/b?publicAccessBlock", "PutPublicAccessBlock", "b", ""},
		{"PUT", "http://127.0.0.1/b?lifecycle", "PutBucketLifecycleConfiguration", "b", ""},
		{"DELETE", "http://127.0.0.1/b?lifecycle", "DeleteBucketLifecycle", "b", ""},
		{"PUT", "http://127.0.0.1/b?tagging", "PutBucketTagging", "b", ""},
		{"PUT", "http://127.0.0.1/b/k?tagging", "PutObjectTagging", "b", "k"},
		{"GET", "http://127.0.0.1/b?list-type=2&prefix=x", "ListObjectsV2", "b", ""},
		{"GET", "http://127.0.0.1/b?versions", "ListObjectVersions", "b", ""},
		{"POST", "http://127.0.0.1/b?delete", "DeleteObjects", "b", ""},
		{"PUT", "http://127.0.0.1/b/a/key", "PutObject", "b", "a/key"},
		{"HEAD", "http://127.0.0.1/b/a/key", "HeadObject", "b", "a/key"},
		{"POST", "http://127.0.0.1/b/k?uploads", "CreateMultipartUpload", "b", "k"},
		{"PUT", "http://127.0.0.1/b/k?partNumber=1&uploadId=u", "UploadPart", "b", "k"},
		{"POST", "http://127.0.0.1/b/k?uploadId=u", "CompleteMultipartUpload", "b", "k"},
		{"DELETE", "http://127.0.0.1/b/k?uploadId=u", "AbortMultipartUpload", "b", "k"},
		{"GET", "http://b.s3.eu-west-1.amazonaws.com/a/key", "GetObject", "b", "a/key"},
		{"PUT", "http://b.c.s3.amazonaws.com/", "CreateBucket", "b.c", ""},
	} {
		c, err := decode(httptest.NewRequest(tc.method, tc.url, nil))
		if err != nil {
			t.Fatal(err)
		}
		if c.Service != S3 || c.Action != tc.action || c.Bucket != tc.bucket || c.Key != tc.key {
			t.Errorf("%s %s: got %s:%s bucket %q key %q, want %s %q %q", tc.method, tc.url, c.Service, c.Action, c.Bucket, c.Key, tc.action, tc.bucket, tc.key)
		}
	}
}

func TestDryRunsAndReadsAreNotMutations(t *testing.T) {
	for body, want := range map[string]bool{
		"Action=CreateVpc": true, "Action=CreateVpc&DryRun=true": false, "Action=DescribeVpcs": false,
		"Action=GetRole": false, "Action=ModifyVolume": true, "Action=TerminateInstances": true,
	} {
		c := &Call{Service: EC2, Request: httptest.NewRequest("POST", "/", nil)}
		c.SetBody([]byte(body))
		c.Request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		c.Request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=k/20260101/eu-west-1/ec2/aws4_request, SignedHeaders=host, Signature=0")
		decoded, err := decode(c.Request)
		if err != nil {
			t.Fatal(err)
		}
		if got := mutates(decoded); got != want {
			t.Errorf("%s: mutating %v, want %v", body, got, want)
		}
	}
}
