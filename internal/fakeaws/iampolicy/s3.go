package iampolicy

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

const arnPrefix = "arn:aws:s3:::"

// S3Requests returns the IAM actions that an S3 request requires.
func S3Requests(r *http.Request, bucket, key string) ([]Request, error) {
	query := r.URL.Query()
	switch {
	case bucket == "":
		return []Request{{Action: "s3:ListAllMyBuckets", Resource: "*"}}, nil
	case key == "" && r.Method == http.MethodPost && query.Has("delete"):
		return deletions(r, bucket)
	case key == "":
		need := bucketNeeds(r.Method, query, bucket)
		if need.Action == "s3:CreateBucket" {
			return creation(r, need)
		}
		return []Request{need}, nil
	}
	object := Request{Action: objectAction(r, query), Resource: arnPrefix + bucket + "/" + key, Context: map[string][]string{}}
	if version := query.Get("versionId"); version != "" {
		object.Context["s3:versionid"] = []string{version}
	}
	for header, conditionKey := range headerConditions {
		if value := r.Header.Get(header); value != "" {
			object.Context[conditionKey] = []string{value}
		}
	}
	all := []Request{object}
	if source := r.Header.Get("X-Amz-Copy-Source"); source != "" {
		read, err := copySource(source)
		if err != nil {
			return nil, err
		}
		all = append(all, read)
	}
	return all, nil
}

// headerConditions maps headers to S3's condition keys.
var headerConditions = map[string]string{
	"X-Amz-Server-Side-Encryption":                "s3:x-amz-server-side-encryption",
	"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "s3:x-amz-server-side-encryption-aws-kms-key-id",
	"X-Amz-Acl":           "s3:x-amz-acl",
	"X-Amz-Storage-Class": "s3:x-amz-storage-class",
	"If-None-Match":       "s3:if-none-match",
	"If-Match":            "s3:if-match",
}

func copySource(source string) (Request, error) {
	path, query, _ := strings.Cut(strings.TrimPrefix(source, "/"), "?")
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return Request{}, fmt.Errorf("copy source %q: %w", source, err)
	}
	if strings.HasPrefix(query, "versionId=") {
		return Request{Action: "s3:GetObjectVersion", Resource: arnPrefix + decoded}, nil
	}
	return Request{Action: "s3:GetObject", Resource: arnPrefix + decoded}, nil
}

// objectSubresources maps query keys that select a subresource of an object to the
// subresource's name in IAM actions.
var objectSubresources = map[string]string{
	"tagging": "Tagging", "acl": "Acl", "retention": "Retention", "legal-hold": "LegalHold", "attributes": "Attributes",
}

func objectAction(r *http.Request, query url.Values) string {
	version := ""
	if query.Has("versionId") {
		version = "Version"
	}
	part := ""
	for key, name := range objectSubresources {
		if query.Has(key) {
			part = name
		}
	}
	switch {
	case query.Has("uploadId") && r.Method == http.MethodDelete:
		return "s3:AbortMultipartUpload"
	case query.Has("uploadId") && r.Method == http.MethodGet:
		return "s3:ListMultipartUploadParts"
	case query.Has("restore"):
		return "s3:RestoreObject"
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return "s3:GetObject" + version + part
	case r.Method == http.MethodDelete:
		return "s3:DeleteObject" + version + part
	}
	return "s3:PutObject" + version + part
}

// bucketSubresources maps query keys that select a subresource of a bucket to the
// subresource's name in IAM actions, which follows Get or Put.
var bucketSubresources = map[string]string{
	"versioning": "BucketVersioning", "policy": "BucketPolicy", "acl": "BucketAcl", "location": "BucketLocation",
	"lifecycle": "LifecycleConfiguration", "encryption": "EncryptionConfiguration", "tagging": "BucketTagging",
	"publicAccessBlock": "BucketPublicAccessBlock", "ownershipControls": "BucketOwnershipControls",
	"logging": "BucketLogging", "notification": "BucketNotification", "cors": "BucketCORS", "website": "BucketWebsite",
	"replication": "ReplicationConfiguration", "object-lock": "BucketObjectLockConfiguration", "policyStatus": "BucketPolicyStatus",
}

func bucketNeeds(method string, query url.Values, bucket string) Request {
	need := Request{Resource: arnPrefix + bucket, Context: map[string][]string{}}
	for key, name := range bucketSubresources {
		if !query.Has(key) {
			continue
		}
		need.Action = "s3:Put" + name
		if method == http.MethodGet {
			need.Action = "s3:Get" + name
		}
		if method == http.MethodDelete && key == "policy" {
			need.Action = "s3:DeleteBucketPolicy"
		}
		return need
	}
	switch {
	case method == http.MethodPut:
		need.Action = "s3:CreateBucket"
	case method == http.MethodDelete:
		need.Action = "s3:DeleteBucket"
	case method == http.MethodPost: // upload by HTML form
		need.Action, need.Resource = "s3:PutObject", need.Resource+"/*"
	case query.Has("uploads"):
		need.Action = "s3:ListBucketMultipartUploads"
	case query.Has("versions"):
		need.Action = "s3:ListBucketVersions"
	default:
		need.Action = "s3:ListBucket"
	}
	// S3 sets these keys only if the parameter is present.
	for parameter, conditionKey := range map[string]string{"prefix": "s3:prefix", "delimiter": "s3:delimiter", "max-keys": "s3:max-keys"} {
		if query.Has(parameter) {
			need.Context[conditionKey] = []string{query.Get(parameter)}
		}
	}
	return need
}

// creation returns what a CreateBucket request requires (S3 API reference,
// CreateBucket, "Permissions").
func creation(r *http.Request, create Request) ([]Request, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	all := []Request{create}
	if r.Header.Get("X-Amz-Object-Ownership") != "" {
		all = append(all, Request{Action: "s3:PutBucketOwnershipControls", Resource: create.Resource})
	}
	if bytes.Contains(body, []byte("<Tag>")) {
		all = append(all, Request{Action: "s3:TagResource", Resource: create.Resource})
	}
	return all, nil
}

// readBody returns the body and leaves it readable.
func readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxDeleteBody))
	if err != nil {
		return nil, fmt.Errorf("read the body of %s %s: %w", r.Method, r.URL.Path, err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body, nil
}

// maxDeleteBody limits the body of a DeleteObjects request: 1,000 keys of up to 1,024
// bytes, in XML.
const maxDeleteBody = 4 << 20

// deletions returns the actions that a DeleteObjects request requires. The whole request is rejected
// where S3 would reject single keys in a 200 response.
func deletions(r *http.Request, bucket string) ([]Request, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	var list struct {
		Objects []struct {
			Key       string
			VersionID string `xml:"VersionId"`
		} `xml:"Object"`
	}
	if err := xml.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("read the keys to delete: %w", err)
	}
	var all []Request
	for _, o := range list.Objects {
		action := "s3:DeleteObject"
		if o.VersionID != "" {
			action = "s3:DeleteObjectVersion"
		}
		all = append(all, Request{Action: action, Resource: arnPrefix + bucket + "/" + o.Key})
	}
	return all, nil
}
