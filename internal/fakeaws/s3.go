package fakeaws

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

var virtualHost = regexp.MustCompile(`^(.+)\.s3[.-]`)

// bucketAndKey returns bucket and key of a request in path style or virtual-hosted
// style.
func bucketAndKey(r *http.Request) (bucket, key string) {
	path := strings.TrimPrefix(r.URL.Path, "/")
	if m := virtualHost.FindStringSubmatch(r.Host); m != nil {
		return m[1], path
	}
	bucket, key, _ = strings.Cut(path, "/")
	return bucket, key
}

// subresources are the query parameters that select a subresource of a bucket or
// object, with its name in API actions.
var subresources = []struct{ query, bucket, object string }{
	{"policyStatus", "BucketPolicyStatus", ""},
	{"policy", "BucketPolicy", ""},
	{"versioning", "BucketVersioning", ""},
	{"encryption", "BucketEncryption", ""},
	{"publicAccessBlock", "PublicAccessBlock", ""},
	{"ownershipControls", "BucketOwnershipControls", ""},
	{"lifecycle", "BucketLifecycleConfiguration", ""},
	{"tagging", "BucketTagging", "ObjectTagging"},
	{"acl", "BucketAcl", "ObjectAcl"},
	{"cors", "BucketCors", ""},
	{"logging", "BucketLogging", ""},
	{"location", "BucketLocation", ""},
	{"notification", "BucketNotificationConfiguration", ""},
	{"object-lock", "ObjectLockConfiguration", ""},
	{"replication", "BucketReplication", ""},
	{"website", "BucketWebsite", ""},
	{"requestPayment", "BucketRequestPayment", ""},
	{"accelerate", "BucketAccelerateConfiguration", ""},
	{"retention", "", "ObjectRetention"},
	{"legal-hold", "", "ObjectLegalHold"},
	{"attributes", "", "ObjectAttributes"},
}

var verbs = map[string]string{
	http.MethodGet: "Get", http.MethodHead: "Head", http.MethodPut: "Put",
	http.MethodPost: "Post", http.MethodDelete: "Delete",
}

// s3Action returns the name of the API action of an S3 request.
func s3Action(r *http.Request, bucket, key string) string {
	query := r.URL.Query()
	if action := s3MultipartAction(r, query); action != "" {
		return action
	}
	for _, s := range subresources {
		name := s.bucket
		if key != "" {
			name = s.object
		}
		if name == "" || !query.Has(s.query) {
			continue
		}
		// The only subresource with another name in its delete action.
		if r.Method == http.MethodDelete && name == "BucketLifecycleConfiguration" {
			name = "BucketLifecycle"
		}
		return verbs[r.Method] + name
	}
	switch {
	case bucket == "":
		return "ListBuckets"
	case key == "":
		return s3BucketAction(r.Method, query)
	}
	if r.Method == http.MethodPut && r.Header.Get("X-Amz-Copy-Source") != "" {
		return "CopyObject"
	}
	return verbs[r.Method] + "Object"
}

func s3BucketAction(method string, query url.Values) string {
	switch method {
	case http.MethodPut:
		return "CreateBucket"
	case http.MethodPost:
		if query.Has("delete") {
			return "DeleteObjects"
		}
		return "PostObject"
	case http.MethodGet:
		switch {
		case query.Has("versions"):
			return "ListObjectVersions"
		case query.Get("list-type") == "2":
			return "ListObjectsV2"
		}
		return "ListObjects"
	}
	return verbs[method] + "Bucket"
}

func s3MultipartAction(r *http.Request, query url.Values) string {
	switch {
	case query.Has("uploads"):
		if r.Method == http.MethodPost {
			return "CreateMultipartUpload"
		}
		return "ListMultipartUploads"
	case !query.Has("uploadId"):
		return ""
	}
	switch r.Method {
	case http.MethodPut:
		return "UploadPart"
	case http.MethodPost:
		return "CompleteMultipartUpload"
	case http.MethodDelete:
		return "AbortMultipartUpload"
	}
	return "ListParts"
}
