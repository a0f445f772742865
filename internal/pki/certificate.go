package pki

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
)

// Identity is the node that a certificate identifies.
type Identity struct {
	Cluster string
	Node    string       // the subject's CN; HAProxy reads it with ssl_c_s_dn(cn)
	Role    cluster.Role // the subject's OU; HAProxy reads it with ssl_c_s_dn(ou)
	// Services are the names besides the node's and the role's under which
	// clients connect to it, such as "database".
	Services []string
	Address  netip.Addr // etcd verifies a peer's source address
}

// names returns the DNS names of a certificate, sorted.
func (i Identity) names() []string {
	names := append([]string{i.Node, string(i.Role)}, i.Services...)
	slices.Sort(names)
	return slices.Compact(names)
}

// Certificate is a node's certificate with its private key.
type Certificate struct {
	Leaf *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Issue generates a key and a certificate of a, for servers and clients.
func (a *Authority) Issue(id Identity, now time.Time) (*Certificate, error) {
	end := now.Add(CertificateLifetime)
	if end.After(a.Certificate.NotAfter) {
		return nil, fmt.Errorf("issue a certificate to node %s: authority %q ends on %s, before the certificate would; replace the authority first",
			id.Node, a.Certificate.Subject.CommonName, a.Certificate.NotAfter.Format(time.DateOnly))
	}
	if !id.Address.IsValid() || id.Node == "" || id.Role == "" {
		return nil, fmt.Errorf("issue a certificate to node %q of role %q at %s: all three are needed", id.Node, id.Role, id.Address)
	}
	key, serial, err := newKey()
	if err != nil {
		return nil, fmt.Errorf("issue a certificate to node %s: %w", id.Node, err)
	}
	leaf, err := sign(&x509.Certificate{
		SerialNumber: serial,
		Subject: pkix.Name{
			Organization: []string{id.Cluster}, OrganizationalUnit: []string{string(id.Role)}, CommonName: id.Node,
		},
		NotBefore: now.Add(-clockSkew), NotAfter: end,
		DNSNames: id.names(), IPAddresses: []net.IP{id.Address.AsSlice()},
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.Certificate, key, a.key)
	if err != nil {
		return nil, fmt.Errorf("issue a certificate to node %s: %w", id.Node, err)
	}
	return &Certificate{Leaf: leaf, key: key}, nil
}

// AuthorityID returns the generation of the authority that issued c, as
// [Authority.ID] does.
func (c *Certificate) AuthorityID() string { return hex.EncodeToString(c.Leaf.AuthorityKeyId) }

// TLS returns c in the form that crypto/tls uses.
func (c *Certificate) TLS() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{c.Leaf.Raw}, PrivateKey: c.key, Leaf: c.Leaf}
}

// RenewAt returns when half of the lifetime of c is over.
func (c *Certificate) RenewAt() time.Time {
	return c.Leaf.NotBefore.Add(c.Leaf.NotAfter.Sub(c.Leaf.NotBefore) / 2)
}

// Reason is why a certificate has to be reissued; "" means that it does not.
type Reason string

// The reasons to reissue a certificate.
const (
	ReasonHalfLife  Reason = "half of its lifetime is over"
	ReasonIdentity  Reason = "its node's name, role, services or address changed"
	ReasonAuthority Reason = "it was issued by another authority"
)

// RenewalDue returns the reason for which issuer should reissue c to id, or "".
func (c *Certificate) RenewalDue(id Identity, issuer *Authority, now time.Time) Reason {
	subject := c.Leaf.Subject
	names := slices.Clone(c.Leaf.DNSNames)
	slices.Sort(names)
	switch {
	case c.Leaf.CheckSignatureFrom(issuer.Certificate) != nil:
		return ReasonAuthority
	case subject.CommonName != id.Node, !slices.Equal(subject.OrganizationalUnit, []string{string(id.Role)}),
		!slices.Equal(subject.Organization, []string{id.Cluster}), !slices.Equal(names, id.names()),
		len(c.Leaf.IPAddresses) != 1 || !c.Leaf.IPAddresses[0].Equal(id.Address.AsSlice()):
		return ReasonIdentity
	case now.After(c.RenewAt()):
		return ReasonHalfLife
	}
	return ""
}
