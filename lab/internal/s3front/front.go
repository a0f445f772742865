// Package s3front is the S3 endpoint of the lab's machines: with TLS certificates of
// the lab's certificate authority, path and virtual-hosted style addressing, and
// authorization by the policies of role, bucket and VPC endpoint. It passes allowed
// requests on to moto.
//
// It verifies access key, session token and expiry, but not signatures.
package s3front

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/xeroops/xeroops/internal/fakeaws/iampolicy"
	"github.com/xeroops/xeroops/lab/internal/imds"
)

// Policies returns the policies that apply to a request.
type Policies interface {
	Role(ctx context.Context, roleARN string) ([]iampolicy.Document, error)
	// Bucket returns a bucket's policy, or nil if the bucket has none or doesn't exist.
	Bucket(ctx context.Context, bucket string) ([]iampolicy.Document, error)
	// Endpoint returns the policy of the VPC endpoint through which an instance
	// reaches S3, or nil if there is none.
	Endpoint(ctx context.Context, instanceID string) ([]iampolicy.Document, error)
}

// Front is an HTTP handler for the machines' S3 requests.
type Front struct {
	Upstream http.Handler // receives requests in path style
	Issuer   *imds.Issuer
	Policies Policies
	Now      func() time.Time
	Log      hclog.Logger
}

// refusal is an S3 error response.
type refusal struct {
	status        int
	code, message string
}

// ServeHTTP authorizes a request and passes it on.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	bucket, key := locate(r)
	who, refused := f.caller(r)
	if refused == nil {
		refused = f.authorize(r, who, bucket, key)
	}
	if refused != nil {
		f.Log.Warn("S3 request refused", "role", who.RoleARN, "instance_id", who.InstanceID, "method", r.Method,
			"bucket", bucket, "key", key, "code", refused.code, "message", refused.message)
		answer(w, r, *refused)
		return
	}
	forward := pathStyle(r, bucket, key)
	isRead := key != "" && (r.Method == http.MethodGet || r.Method == http.MethodHead)
	if !isRead || f.mayList(r, who, bucket, key) {
		f.Upstream.ServeHTTP(w, forward)
		return
	}
	f.hideAbsence(w, forward, who, bucket, key)
}

// caller returns the credentials that the request is signed with.
func (f *Front) caller(r *http.Request) (imds.Credentials, *refusal) {
	id := accessKeyID(r)
	if id == "" {
		return imds.Credentials{}, &refusal{http.StatusForbidden, "AccessDenied", "the request is not signed, and no bucket of the lab is public"}
	}
	c, ok := f.Issuer.Lookup(id)
	switch {
	case !ok:
		return c, &refusal{http.StatusForbidden, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."}
	case sessionToken(r) != c.SessionToken:
		return c, &refusal{http.StatusBadRequest, "InvalidToken", "The provided token is malformed or otherwise invalid."}
	case f.Now().After(c.Expires):
		return c, &refusal{http.StatusBadRequest, "ExpiredToken", "The provided token has expired."}
	}
	return c, nil
}

func (f *Front) authorize(r *http.Request, who imds.Credentials, bucket, key string) *refusal {
	required, err := iampolicy.S3Requests(r, bucket, key)
	if err != nil {
		return &refusal{http.StatusBadRequest, "MalformedXML", err.Error()}
	}
	for _, need := range required {
		allowed, why, err := f.allowed(r, who, bucket, need)
		if err != nil {
			return &refusal{http.StatusInternalServerError, "InternalError", err.Error()}
		}
		if !allowed {
			return &refusal{http.StatusForbidden, "AccessDenied", fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %q because %s",
				session(who), need.Action, need.Resource, why)}
		}
	}
	return nil
}

// allowed evaluates a request as IAM does within one account: no policy may deny it,
// the role's or the bucket's policy must allow it, and so must the endpoint's. It
// returns the reason if the request is not allowed.
func (f *Front) allowed(r *http.Request, who imds.Credentials, bucket string, need iampolicy.Request) (bool, string, error) {
	ctx := r.Context()
	need.Principal = who.RoleARN
	need.Context = f.requestContext(r, who, need.Context)
	rolePolicies, err := f.Policies.Role(ctx, who.RoleARN)
	if err != nil {
		return false, "", err
	}
	bucketPolicies, err := f.Policies.Bucket(ctx, bucket)
	if err != nil {
		return false, "", err
	}
	endpointPolicies, err := f.Policies.Endpoint(ctx, who.InstanceID)
	if err != nil {
		return false, "", err
	}
	byRole, byBucket := iampolicy.Evaluate(need, rolePolicies...), iampolicy.Evaluate(need, bucketPolicies...)
	switch {
	case byRole == iampolicy.ExplicitDeny:
		return false, "of an explicit deny in an identity-based policy", nil
	case byBucket == iampolicy.ExplicitDeny:
		return false, "of an explicit deny in a resource-based policy", nil
	case byRole != iampolicy.Allow && byBucket != iampolicy.Allow:
		return false, "no identity-based policy allows the " + need.Action + " action", nil
	case len(endpointPolicies) > 0 && iampolicy.Evaluate(need, endpointPolicies...) != iampolicy.Allow:
		return false, "no VPC endpoint policy allows the " + need.Action + " action", nil
	}
	return true, "", nil
}

// requestContext returns the request's own condition keys with the global ones added.
func (f *Front) requestContext(r *http.Request, who imds.Credentials, own map[string][]string) map[string][]string {
	account := strings.Split(who.RoleARN, ":")[4]
	all := map[string][]string{
		"aws:securetransport":  {fmt.Sprint(r.TLS != nil)},
		"aws:principalarn":     {who.RoleARN},
		"aws:principalaccount": {account},
		"aws:resourceaccount":  {account},
		"s3:resourceaccount":   {account},
		"aws:userid":           {who.AccessKeyID + ":" + who.InstanceID},
	}
	if r.TLS != nil {
		all["s3:tlsversion"] = []string{map[uint16]string{0x0303: "1.2", 0x0304: "1.3"}[r.TLS.Version]}
	}
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		all["aws:vpcsourceip"] = []string{peer.Addr().Unmap().String()}
	}
	for key, values := range own {
		all[key] = values
	}
	return all
}

// mayList reports whether the caller may list the key, and so learn that it is absent.
func (f *Front) mayList(r *http.Request, who imds.Credentials, bucket, key string) bool {
	need := iampolicy.Request{Action: "s3:ListBucket", Resource: arnPrefix + bucket, Context: map[string][]string{"s3:prefix": {key}}}
	allowed, _, err := f.allowed(r, who, bucket, need)
	return err == nil && allowed
}

// hideAbsence passes a request on and turns NoSuchKey into AccessDenied, which S3
// returns to callers that may not list the bucket.
func (f *Front) hideAbsence(w http.ResponseWriter, r *http.Request, who imds.Credentials, bucket, key string) {
	f.Upstream.ServeHTTP(&absenceWriter{ResponseWriter: w, onAbsent: func() {
		f.Log.Warn("S3 key is absent, role may not list the bucket", "role", who.RoleARN, "bucket", bucket, "key", key)
		answer(w, r, refusal{http.StatusForbidden, "AccessDenied", fmt.Sprintf(
			"User: %s is not authorized to perform: s3:ListBucket on resource: %q because no identity-based policy allows the s3:ListBucket action",
			session(who), arnPrefix+bucket)})
	}}, r)
}

// absenceWriter calls onAbsent in place of writing a 404 response.
type absenceWriter struct {
	http.ResponseWriter
	onAbsent func()
	absent   bool
}

func (w *absenceWriter) WriteHeader(status int) {
	if status != http.StatusNotFound {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.absent = true
	clear(w.Header())
	w.onAbsent()
}

func (w *absenceWriter) Write(b []byte) (int, error) {
	if w.absent {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// session returns the ARN of an instance's role session.
func session(who imds.Credentials) string {
	name := who.RoleARN[strings.LastIndex(who.RoleARN, "/")+1:]
	return "arn:aws:sts::" + strings.Split(who.RoleARN, ":")[4] + ":assumed-role/" + name + "/" + who.InstanceID
}

// pathStyle returns the request in path style.
func pathStyle(r *http.Request, bucket, key string) *http.Request {
	host, _, _ := strings.Cut(r.Host, ":")
	match := hostPattern.FindStringSubmatch(strings.ToLower(host))
	if match == nil || match[1] == "" {
		return r
	}
	forward := r.Clone(r.Context())
	forward.Host = strings.TrimPrefix(host, match[1]+".")
	forward.URL.RawPath = "/" + bucket + r.URL.EscapedPath()
	forward.URL.Path = "/" + bucket + "/" + key
	return forward
}

func answer(w http.ResponseWriter, r *http.Request, e refusal) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(e.status)
	if r.Method == http.MethodHead {
		return
	}
	var code, message bytes.Buffer
	// Writes to a Buffer do not fail.
	_ = xml.EscapeText(&code, []byte(e.code))
	_ = xml.EscapeText(&message, []byte(e.message))
	fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>%s</Message><RequestId>xeroops-lab</RequestId></Error>",
		code.String(), message.String())
}
