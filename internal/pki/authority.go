// Package pki issues the certificates with which the nodes of a cluster authenticate
// each other. A cluster has two certificate authorities: one for the services of all
// nodes, and one for etcd alone, since etcd lets every certificate of its
// authority write every key. The provider holds the authorities' keys in S3,
// where no role may read them, and issues a certificate per node.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"math/big"
	"time"
)

// Lifetimes. A certificate never outlives its authority, so an authority has to
// be replaced while more than a certificate's lifetime is left of its own.
const (
	AuthorityLifetime   = 10 * 365 * 24 * time.Hour
	CertificateLifetime = 90 * 24 * time.Hour
	// authorityRenewBefore is how long before its end an authority is due for
	// replacement: time for four lifetimes of certificates.
	authorityRenewBefore = 4 * CertificateLifetime
	// clockSkew is how far a node's clock may be behind the provider's: a
	// certificate is valid that long before it is issued.
	clockSkew = time.Hour
)

// Use is the purpose of an authority's certificates.
type Use string

// The authorities of a cluster.
const (
	Nodes Use = "nodes" // the services of all nodes
	Etcd  Use = "etcd"  // etcd's members, and Patroni as its client
)

// Authority is one generation of a certificate authority, with its private key.
type Authority struct {
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority generates an authority of a cluster. Each generation has a subject
// of its own, so that a verifier that trusts two of them finds the right one.
func NewAuthority(cluster string, use Use, now time.Time) (*Authority, error) {
	key, serial, err := newKey()
	if err != nil {
		return nil, fmt.Errorf("generate the %s certificate authority of cluster %s: %w", use, cluster, err)
	}
	public, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("generate the %s certificate authority of cluster %s: %w", use, cluster, err)
	}
	id := sha256.Sum256(public)
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject: pkix.Name{
			Organization: []string{cluster}, OrganizationalUnit: []string{string(use)},
			CommonName: "XeroOps " + string(use) + " CA " + hex.EncodeToString(id[:4]),
		},
		SubjectKeyId: id[:20],
		NotBefore:    now.Add(-clockSkew), NotAfter: now.Add(AuthorityLifetime),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	certificate, err := sign(template, template, key, key)
	if err != nil {
		return nil, fmt.Errorf("generate the %s certificate authority of cluster %s: %w", use, cluster, err)
	}
	return &Authority{Certificate: certificate, key: key}, nil
}

// ID returns the authority's generation, as boot reports name it: the
// hexadecimal key identifier.
func (a *Authority) ID() string { return hex.EncodeToString(a.Certificate.SubjectKeyId) }

// RenewalDue reports whether a new generation should take the authority's place.
func (a *Authority) RenewalDue(now time.Time) bool {
	return now.After(a.Certificate.NotAfter.Add(-authorityRenewBefore))
}

// newKey returns a P-256 key, which every server of the cluster takes, and a
// serial number of 127 random bits (RFC 5280, section 4.1.2.2: positive, up to 20
// octets).
func newKey() (*ecdsa.PrivateKey, *big.Int, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	return key, serial.Add(serial, big.NewInt(1)), nil
}

func sign(template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
