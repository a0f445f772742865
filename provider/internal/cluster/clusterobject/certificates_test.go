package clusterobject

import (
	"context"
	"crypto/x509"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/xeroops/xeroops/internal/awsclient"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/pki"
	"github.com/xeroops/xeroops/internal/testkit/mototest"
	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
	"github.com/xeroops/xeroops/provider/internal/clusterspec/spectest"
)

// fixture is the reference cluster in a bucket with versions.
type fixture struct {
	t       *testing.T
	client  *s3.Client
	spec    *clusterspec.Spec
	now     time.Time
	records map[string]Record
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	server := mototest.Start(t, moto.Options{})
	f := &fixture{t: t, spec: spectest.Reference(), now: time.Now(), client: s3.New(s3.Options{BaseEndpoint: &server.URL, UsePathStyle: true, Region: "us-east-1",
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})}
	_, err := f.client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &f.spec.Buckets.Uploads})
	f.must(err)
	_, err = f.client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: &f.spec.Buckets.Uploads,
		VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled}})
	f.must(err)
	return f
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) observe() *Objects {
	f.t.Helper()
	o := New(&base.ProviderData{Client: &awsclient.Client{S3: f.client}, Describe: base.NewDescriber(nil, f.client, "")}, f.spec, Inputs{VPNEndpoint: func() string { return "" }, VPCCIDR: func() string { return "10.0.0.0/16" }})
	o.now = func() time.Time { return f.now }
	o.SetRecords(f.records)
	f.must(o.Observe(f.t.Context()))
	return o
}

func (f *fixture) drift() string {
	f.t.Helper()
	return strings.Join(f.observe().Drift(f.t.Context()), "\n")
}

// apply is an apply of the provider; it keeps the records.
func (f *fixture) apply() error {
	f.t.Helper()
	o := f.observe()
	err := o.Ensure(f.t.Context())
	f.records = o.Records()
	return err
}

// certificates returns the content of the cluster's certificates and authorities, by
// key without the cluster's prefix.
func (f *fixture) certificates() map[string]string {
	f.t.Helper()
	o, all := f.observe(), map[string]string{}
	for key := range o.actual {
		if strings.HasSuffix(key, ".pem") {
			content, err := o.readObject(f.t.Context(), key)
			f.must(err)
			all[strings.TrimPrefix(key, o.layout.Prefix())] = string(content)
		}
	}
	return all
}

// changed returns the keys whose content differs, sorted.
func changed(before, after map[string]string) []string {
	keys := maps.Clone(before)
	maps.Copy(keys, after)
	maps.DeleteFunc(keys, func(key, _ string) bool { return before[key] == after[key] })
	return slices.Sorted(maps.Keys(keys))
}

func (f *fixture) put(key, content string) {
	f.t.Helper()
	_, err := f.client.PutObject(f.t.Context(), &s3.PutObjectInput{Bucket: &f.spec.Buckets.Uploads, Key: &key, Body: strings.NewReader(content)})
	f.must(err)
}

func (f *fixture) delete(key string) {
	f.t.Helper()
	_, err := f.client.DeleteObject(f.t.Context(), &s3.DeleteObjectInput{Bucket: &f.spec.Buckets.Uploads, Key: &key})
	f.must(err)
}

// deleteForever deletes all versions of an object.
func (f *fixture) deleteForever(key string) {
	f.t.Helper()
	f.must(f.observe().deletePrefix(f.t.Context(), key))
}

func TestEachNodeHasACertificateOfTheAuthoritiesOfItsServices(t *testing.T) {
	f := newFixture(t)
	f.must(f.apply())
	all := f.certificates()
	want := map[string]bool{"credentials/ca/nodes.pem": true, "credentials/ca/etcd.pem": true, "config/ca.pem": true, "config/etcd-ca.pem": true}
	pools := map[pki.Use]*x509.CertPool{}
	for use, key := range map[pki.Use]string{pki.Nodes: "config/ca.pem", pki.Etcd: "config/etcd-ca.pem"} {
		bundle, err := pki.ParseBundle(key, []byte(all[key]))
		f.must(err)
		pools[use] = bundle.Pool()
	}
	verify := func(key string, use pki.Use, n clusterspec.Node, name string) {
		t.Helper()
		want[key] = true
		certificate, err := pki.ParseCertificate(key, []byte(all[key]))
		f.must(err)
		for _, serves := range []string{n.Name, n.Address, name} {
			if _, err := certificate.Leaf.Verify(x509.VerifyOptions{Roots: pools[use], DNSName: serves}); err != nil {
				t.Errorf("%s as %s: %v", key, serves, err)
			}
		}
		other := map[pki.Use]pki.Use{pki.Nodes: pki.Etcd, pki.Etcd: pki.Nodes}[use]
		if _, err := certificate.Leaf.Verify(x509.VerifyOptions{Roots: pools[other]}); err == nil {
			t.Errorf("%s is valid for the authority %s", key, other)
		}
	}
	for _, n := range f.spec.SortedNodes() {
		name := string(n.Role)
		if n.Role == model.RoleDB {
			name = "management" // to clients of PostgreSQL
		}
		verify("credentials/"+string(n.Role)+"/tls/"+n.Name+".pem", pki.Nodes, n, name)
		if n.Role == model.RoleDB || n.Role == model.RoleManagement {
			verify("credentials/"+string(n.Role)+"/tls/etcd/"+n.Name+".pem", pki.Etcd, n, string(n.Role))
		}
	}
	for key := range all {
		if !want[key] {
			t.Errorf("there is %s", key)
		}
	}
}

func TestCertificatesAreRenewedPastHalfOfTheirLifetimeAndNotBefore(t *testing.T) {
	f := newFixture(t)
	f.must(f.apply())
	first := f.certificates()
	f.now = f.now.Add(pki.CertificateLifetime/2 - 2*time.Hour)
	if drift := f.drift(); drift != "" {
		t.Errorf("drift before half of the lifetime: %s", drift)
	}
	f.must(f.apply())
	if keys := changed(first, f.certificates()); len(keys) > 0 {
		t.Errorf("an apply without a change wrote %v", keys)
	}
	f.now = f.now.Add(3 * time.Hour)
	if drift := f.drift(); !strings.Contains(drift, "app1, app2, db1, db2, edge, gateway, management are due for renewal: half") {
		t.Errorf("drift past half of the lifetime: %q", drift)
	}
	f.must(f.apply())
	second := f.certificates()
	if keys := changed(first, second); len(keys) != len(first)-4 || slices.ContainsFunc(keys, func(key string) bool { return !strings.Contains(key, "/tls/") }) {
		t.Errorf("the renewal wrote %v", keys)
	}
	if drift := f.drift(); drift != "" {
		t.Errorf("drift after the renewal: %s", drift)
	}
	f.must(f.apply())
	if keys := changed(second, f.certificates()); len(keys) > 0 {
		t.Errorf("the apply after the renewal wrote %v", keys)
	}
}

func TestOnlyCertificatesOfANodeThatChangedAreIssuedAnew(t *testing.T) {
	f := newFixture(t)
	f.must(f.apply())
	before := f.certificates()
	db2 := f.spec.Nodes["db2"]
	db2.Address = "10.0.2.99"
	f.spec.Nodes["db2"] = db2
	delete(f.spec.Nodes, "app2")
	f.must(f.apply())
	after := f.certificates()
	want := []string{"credentials/app/tls/app2.pem", "credentials/db/tls/db2.pem", "credentials/db/tls/etcd/db2.pem"}
	if keys := changed(before, after); !slices.Equal(keys, want) || after[want[0]] != "" {
		t.Errorf("changed are %v, want %v; app2 has %q", keys, want, after[want[0]])
	}
	if drift := f.drift(); drift != "" {
		t.Errorf("drift: %s", drift)
	}
}

func TestCertificatesOutliveTheLossOfTheState(t *testing.T) {
	f := newFixture(t)
	f.must(f.apply())
	before := f.certificates()
	f.records = nil
	f.must(f.apply())
	if keys := changed(before, f.certificates()); len(keys) > 0 {
		t.Errorf("written are %v", keys)
	}
	// Now they are known: renewal needs no other reason to apply.
	f.now = f.now.Add(pki.CertificateLifetime / 2)
	if drift := f.drift(); !strings.Contains(drift, "due for renewal") {
		t.Errorf("drift is %q", drift)
	}
	f.records = nil
	f.must(f.apply())
	if keys := changed(before, f.certificates()); len(keys) != len(before)-4 {
		t.Errorf("without records and past half of the lifetime, written are %v", keys)
	}
}

func TestAnInterruptedApplyIsCompletedByTheNext(t *testing.T) {
	f := newFixture(t)
	o := f.observe()
	authorities, err := o.authorities()
	f.must(err)
	_, err = o.readAuthority(t.Context(), authorities[0]) // nothing but one authority, and no state
	f.must(err)
	before := f.certificates()
	f.must(f.apply())
	if key := "credentials/ca/nodes.pem"; len(before) != 1 || f.certificates()[key] != before[key] {
		t.Errorf("the authority that the interrupted apply generated was replaced; there were %d objects", len(before))
	}
	if drift := f.drift(); drift != "" {
		t.Errorf("drift: %s", drift)
	}
}

func TestAnAuthorityIsRestoredAndGeneratedAnewOnlyIfItIsLost(t *testing.T) {
	f := newFixture(t)
	f.must(f.apply())
	before := f.certificates()
	key := f.spec.Layout().Authority("etcd")
	for what, change := range map[string]func(){
		"deleted": func() { f.delete(key) },
		"changed": func() { f.put(key, "something else") },
	} {
		change()
		if drift := f.drift(); drift != key+" was "+what {
			t.Errorf("drift is %q", drift)
		}
		f.must(f.apply())
		if keys := changed(before, f.certificates()); len(keys) > 0 {
			t.Errorf("%s: %v differ", what, keys)
		}
	}
	f.deleteForever(key)
	f.must(f.apply())
	want := []string{"config/etcd-ca.pem", "credentials/ca/etcd.pem", "credentials/db/tls/etcd/db1.pem", "credentials/db/tls/etcd/db2.pem", "credentials/management/tls/etcd/management.pem"}
	if keys := changed(before, f.certificates()); !slices.Equal(keys, want) {
		t.Errorf("of a lost authority, written are %v, want %v", keys, want)
	}
	if drift := f.drift(); drift != "" {
		t.Errorf("drift: %s", drift)
	}
}

func TestAnUnreadableAuthorityIsAnErrorWithTheWayOut(t *testing.T) {
	f := newFixture(t)
	f.must(f.apply())
	key := f.spec.Layout().Authority("nodes")
	f.deleteForever(key)
	f.put(key, "something else")
	err := f.apply()
	if err == nil || !errors.As(err, new(*pki.ObjectError)) || !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), "or delete it") {
		t.Errorf("the error is %v", err)
	}
	f.delete(key)
	f.must(f.apply())
}

func TestAForeignCertificateIsReplaced(t *testing.T) {
	f := newFixture(t)
	f.must(f.apply())
	key := f.spec.Layout().Certificate(model.RoleApp, "app1")
	for what, recorded := range map[string]bool{"with a record": true, "without a record": false} {
		before := f.certificates()
		f.put(key, "something else")
		if !recorded {
			f.records = nil
		}
		f.must(f.apply())
		if keys := changed(before, f.certificates()); !slices.Equal(keys, []string{"credentials/app/tls/app1.pem"}) {
			t.Errorf("%s: written are %v", what, keys)
		}
	}
}

func TestDeleteLeavesNoVersionOfACertificate(t *testing.T) {
	f := newFixture(t)
	f.must(f.apply())
	f.now = f.now.Add(pki.CertificateLifetime)
	f.must(f.apply())
	f.must(f.observe().Delete(t.Context()))
	pages := s3.NewListObjectVersionsPaginator(f.client, &s3.ListObjectVersionsInput{Bucket: &f.spec.Buckets.Uploads})
	for pages.HasMorePages() {
		page, err := pages.NextPage(context.WithoutCancel(t.Context()))
		f.must(err)
		for _, v := range page.Versions {
			t.Errorf("left is %s", aws.ToString(v.Key))
		}
	}
}
