package s3front

import (
	"net/http"
	"regexp"
	"strings"
)

const arnPrefix = "arn:aws:s3:::"

// hostPattern matches S3's host names: an optional bucket, s3, and a region except in
// the global endpoint.
var hostPattern = regexp.MustCompile(`^(?:(.+)\.)?s3(?:[.-]([a-z]{2}(?:-[a-z]+)+-\d))?\.amazonaws\.com$`)

// Names returns the DNS names that a certificate for an S3 host covers. It reports
// false for other hosts.
func Names(host string) ([]string, bool) {
	match := hostPattern.FindStringSubmatch(strings.ToLower(host))
	if match == nil {
		return nil, false
	}
	own := strings.TrimPrefix(strings.ToLower(host), match[1]+".")
	return []string{own, "*." + own}, true
}

// locate returns the bucket and key of a request in either addressing style.
func locate(r *http.Request) (bucket, key string) {
	host, _, _ := strings.Cut(r.Host, ":")
	path := strings.TrimPrefix(r.URL.Path, "/")
	if match := hostPattern.FindStringSubmatch(strings.ToLower(host)); match != nil && match[1] != "" {
		return match[1], path
	}
	bucket, key, _ = strings.Cut(path, "/")
	return bucket, key
}

// accessKeyID returns the access key id from the request's Authorization header or
// presigned URL.
func accessKeyID(r *http.Request) string {
	credential := r.URL.Query().Get("X-Amz-Credential")
	if _, after, ok := strings.Cut(r.Header.Get("Authorization"), "Credential="); ok {
		credential = after
	}
	id, _, _ := strings.Cut(credential, "/")
	return id
}

func sessionToken(r *http.Request) string {
	if token := r.Header.Get("X-Amz-Security-Token"); token != "" {
		return token
	}
	return r.URL.Query().Get("X-Amz-Security-Token")
}
