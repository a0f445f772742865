package boot

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/pki"
	"github.com/xeroops/xeroops/node/internal/configure"
)

// authorities returns the authorities whose certificates the node has.
func (b *Boot) authorities() []pki.Use {
	if cluster.HasEtcd(b.Instance.Role) {
		return []pki.Use{pki.Nodes, pki.Etcd}
	}
	return []pki.Use{pki.Nodes}
}

// fetchCertificates downloads the node's certificates and the bundles of their authorities,
// from which the services' files are rendered.
func (b *Boot) fetchCertificates(ctx context.Context) error {
	fetched := configure.TLS{Certificates: map[pki.Use]string{}, Bundles: map[pki.Use]string{}}
	reports := map[string]cluster.CertificateReport{}
	for _, use := range b.authorities() {
		report, err := b.fetchCertificate(ctx, use, fetched)
		if err != nil {
			return err
		}
		reports[string(use)] = report
	}
	b.renewed = b.renewed || !maps.Equal(fetched.Certificates, b.tls.Certificates) || !maps.Equal(fetched.Bundles, b.tls.Bundles)
	b.tls = fetched
	b.status.setCertificates(reports, fetched.Certificates)
	return nil
}

// fetchCertificate adds a certificate that its bundle verifies, so that a service never
// gets one that others refuse.
func (b *Boot) fetchCertificate(ctx context.Context, use pki.Use, to configure.TLS) (cluster.CertificateReport, error) {
	layout := b.Instance.Layout()
	key, bundleKey := layout.Certificate(b.Instance.Role, b.Instance.Node), layout.AuthorityBundle(string(use))
	if use == pki.Etcd {
		key = layout.EtcdCertificate(b.Instance.Role, b.Instance.Node)
	}
	content, err := b.fetch(ctx, key)
	if err != nil {
		return cluster.CertificateReport{}, fmt.Errorf("%w; terraform apply issues certificates", err)
	}
	certificate, err := pki.ParseCertificate(key, content)
	if err != nil {
		return cluster.CertificateReport{}, err
	}
	trust, err := b.fetch(ctx, bundleKey)
	if err != nil {
		return cluster.CertificateReport{}, err
	}
	bundle, err := pki.ParseBundle(bundleKey, trust)
	if err != nil {
		return cluster.CertificateReport{}, err
	}
	if !slices.Contains(bundle.IDs(), certificate.AuthorityID()) {
		return cluster.CertificateReport{}, fmt.Errorf("%s was issued by an authority that %s does not have; run terraform apply", key, bundleKey)
	}
	to.Certificates[use], to.Bundles[use] = string(content), string(trust)
	return cluster.CertificateReport{ExpiresAt: certificate.Leaf.NotAfter, Authority: certificate.AuthorityID(), Trusted: bundle.IDs()}, nil
}

// expiryWarning is how long before its end a certificate is reported as a problem: an apply renews
// it half of its lifetime before.
const expiryWarning = 30 * 24 * time.Hour

// expiring names the certificates of the node that end soon, or returns "".
func (b *Boot) expiring(now time.Time) string {
	var texts []string
	for _, use := range slices.Sorted(maps.Keys(b.status.report.Certificates)) {
		if end := b.status.report.Certificates[use].ExpiresAt; now.After(end.Add(-expiryWarning)) {
			texts = append(texts, fmt.Sprintf("the certificate of authority %s expires on %s; run terraform apply, which renews it", use, end.Format(time.DateOnly)))
		}
	}
	return strings.Join(texts, "\n")
}
