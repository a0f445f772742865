package edgecert

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/iampolicy"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/fakeaws/permit"
	"github.com/xeroops/xeroops/node/internal/s3test"
)

func newStore(t *testing.T) Store {
	t.Helper()
	return Store{S3: s3test.Client(s3test.Start(t)), Bucket: s3test.Bucket, Layout: cluster.Layout{Cluster: "production"}}
}

func TestReplacedEdgeHasTheSameCertificate(t *testing.T) {
	store := newStore(t)
	certificates := make([][]byte, 8)
	var all sync.WaitGroup // edges that start concurrently
	for n := range certificates {
		all.Go(func() {
			var err error
			if certificates[n], _, err = store.SelfSigned(t.Context(), "edge", []string{"edge"}, time.Now()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	later, _, err := store.SelfSigned(t.Context(), "edge", []string{"another"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range certificates {
		if !bytes.Equal(c, later) {
			t.Error("two edges of one name have different certificates")
		}
	}
}

// S3 may hide from a role that lists prefixes only that a key does not exist.
func TestFirstCertificateIsCreatedThoughItsAbsenceIsHidden(t *testing.T) {
	document, err := iampolicy.Parse([]byte(`{"Statement":[
	 {"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::uploads/clusters/production/tls/*"},
	 {"Effect":"Allow","Action":"s3:ListBucket","Resource":"*","Condition":{"StringLike":{"s3:prefix":"clusters/production/tls/*"}}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	guard := permit.New(moto.Account)
	guard.Restrict("test", document) // the key of s3test's clients
	front, err := fakeaws.Start(fakeaws.Options{Upstream: s3test.Start(t), Fixups: []fakeaws.Fixup{guard.Fixup()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = front.Close() })
	store := Store{S3: s3test.Client(front.URL), Bucket: s3test.Bucket, Layout: cluster.Layout{Cluster: "production"}}
	first, _, err := store.SelfSigned(t.Context(), "edge", []string{"edge"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if again, _, err := store.SelfSigned(t.Context(), "edge", []string{"edge"}, time.Now()); err != nil || !bytes.Equal(first, again) {
		t.Errorf("the next edge has another certificate (%v)", err)
	}
	store.Layout.Cluster = "another" // which the policy does not allow
	if _, _, err := store.SelfSigned(t.Context(), "edge", []string{"edge"}, time.Now()); !awswait.HasCode(err, "AccessDenied") {
		t.Errorf("got %v, want AccessDenied", err)
	}
}

// recorder records the requests that a client sends.
type recorder struct{ requests []*http.Request }

func (r *recorder) Do(request *http.Request) (*http.Response, error) {
	r.requests = append(r.requests, request)
	return http.DefaultClient.Do(request) //nolint:gosec // moto's URL
}

func TestCertificateIsEncryptedAsTheBucketIs(t *testing.T) {
	store, sent := newStore(t), &recorder{}
	store.S3 = s3.New(store.S3.Options(), func(o *s3.Options) { o.HTTPClient = sent })
	if _, _, err := store.SelfSigned(t.Context(), "edge", []string{"edge"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	puts := 0
	for _, request := range sent.requests {
		if request.Method == http.MethodPut {
			puts++
		}
		if encryption := request.Header.Get("X-Amz-Server-Side-Encryption"); encryption != "" {
			t.Errorf("%s %s overrides the bucket's encryption with %s", request.Method, request.URL.Path, encryption)
		}
	}
	if puts == 0 {
		t.Error("nothing was stored")
	}
}

func TestCertificateIsValidForAllNamesAndAddresses(t *testing.T) {
	now := time.Now()
	text, err := selfSign([]string{"198.51.100.1", "edge", "edge.production.internal", "10.0.1.10"}, now)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key, err := split(text)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(certificate, []byte("PRIVATE")) {
		t.Error("the certificate contains the key")
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(pair.Leaf)
	for _, name := range []string{"198.51.100.1", "edge", "edge.production.internal", "10.0.1.10"} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: now.Add(lifetime - time.Hour)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestInvalidObjectIsAnErrorWithAdvice(t *testing.T) {
	store := newStore(t)
	_, err := store.S3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &store.Bucket,
		Key: aws.String("clusters/production/tls/self-signed/edge.pem"), Body: strings.NewReader("nonsense")})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = store.SelfSigned(t.Context(), "edge", []string{"edge"}, time.Now())
	if err == nil || !strings.Contains(err.Error(), "remove the object") {
		t.Errorf("SelfSigned() = %v, want an error with advice", err)
	}
}
