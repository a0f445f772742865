package boot

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/pki"
)

// issue publishes a certificate of a new authority, or the authority's bundle, or both.
func (f *fixture) issue(t *testing.T, certificate, bundle bool, at time.Time) *pki.Certificate {
	t.Helper()
	authority, err := pki.NewAuthority("production", pki.Nodes, at)
	check(t, err)
	issued, err := authority.Issue(pki.Identity{Cluster: "production", Node: "app1", Role: cluster.RoleApp, Address: netip.MustParseAddr("10.0.2.10")}, at)
	check(t, err)
	if certificate {
		content, err := issued.PEM()
		check(t, err)
		f.put(t, f.Instance.Layout().Certificate(cluster.RoleApp, "app1"), string(content))
	}
	if bundle {
		f.put(t, f.Instance.Layout().AuthorityBundle(string(pki.Nodes)), string(pki.Generations{authority}.Bundle()))
	}
	return issued
}

func TestCertificatesAreReportedAndRenewedOnesNoticed(t *testing.T) {
	f := newFixture(t)
	f.publish(t)
	await(t, f.inBackground(t))
	first := f.report(t).Certificates["nodes"]
	if len(f.report(t).Certificates) != 1 || first.ExpiresAt.Before(time.Now()) || len(first.Trusted) != 1 || first.Trusted[0] != first.Authority {
		t.Errorf("reported are %+v", f.report(t).Certificates)
	}
	f.renewed = false // as configure does
	check(t, f.fetchCertificates(t.Context()))
	if f.renewed {
		t.Error("the same certificate counts as renewed")
	}
	issued := f.issue(t, true, true, time.Now().Add(time.Hour))
	check(t, f.fetchCertificates(t.Context()))
	f.status.setReady(t.Context())
	if got := f.report(t).Certificates["nodes"]; !f.renewed || !got.ExpiresAt.Equal(issued.Leaf.NotAfter) || got.Authority != issued.AuthorityID() {
		t.Errorf("after a renewal: renewed %t, reported %+v", f.renewed, got)
	}
}

func TestACertificateThatOthersWouldRefuseIsNotUsed(t *testing.T) {
	f := newFixture(t)
	f.publish(t)
	await(t, f.inBackground(t))
	before := f.tls.Certificates[pki.Nodes]
	key := f.Instance.Layout().Certificate(cluster.RoleApp, "app1")
	for what, change := range map[string]func(){
		"of another authority": func() { f.issue(t, true, false, time.Now()) },
		"not a certificate":    func() { f.put(t, key, "something else") },
	} {
		change()
		if err := f.fetchCertificates(t.Context()); err == nil || !strings.Contains(err.Error(), key) || f.tls.Certificates[pki.Nodes] != before {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestKeysOfCertificatesAreNotReported(t *testing.T) {
	f := newFixture(t)
	f.publish(t)
	await(t, f.inBackground(t))
	_, key, _ := strings.Cut(f.tls.Certificates[pki.Nodes], "-----BEGIN PRIVATE KEY-----\n")
	lines := strings.Split(strings.TrimSpace(key), "\n")
	for _, line := range lines[:len(lines)-1] {
		f.status.setError(t.Context(), "etcd: cannot parse "+line)
		if got := f.report(t).Error; got != "etcd: cannot parse (hidden)" {
			t.Errorf("a line of the key is reported as %q", got)
		}
	}
	if len(lines) < 3 {
		t.Errorf("the key has %d lines", len(lines))
	}
}

func TestACertificateThatNobodyRenewedIsReported(t *testing.T) {
	f := newFixture(t)
	f.publish(t)
	f.issue(t, true, true, time.Now().Add(-pki.CertificateLifetime+expiryWarning-time.Hour))
	await(t, f.inBackground(t))
	for _, s := range f.Boot.report(nil) {
		if s.Name == cluster.CertificatesService && strings.Contains(s.Detail, "terraform apply") {
			return
		}
	}
	t.Errorf("reported are %+v", f.Boot.report(nil))
}
