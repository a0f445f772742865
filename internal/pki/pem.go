package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

const (
	certificateBlock = "CERTIFICATE"
	keyBlock         = "PRIVATE KEY" // PKCS #8
)

// ObjectError reports that an S3 object or a file has content that this package does
// not write.
type ObjectError struct {
	Object string // key in the bucket, or path
	Err    error
}

func (e *ObjectError) Error() string { return "read " + e.Object + ": " + e.Err.Error() }

func (e *ObjectError) Unwrap() error { return e.Err }

// pair is a certificate with its key.
type pair struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// parsePairs reads certificates, each followed by its key.
func parsePairs(content []byte) ([]pair, error) {
	blocks, err := decode(content)
	if err != nil {
		return nil, err
	}
	if len(blocks) == 0 || len(blocks)%2 != 0 {
		return nil, fmt.Errorf("it has %d PEM blocks, want each certificate followed by its key", len(blocks))
	}
	var pairs []pair
	for len(blocks) > 0 {
		var p pair
		if p.certificate, err = parseCertificate(blocks[0]); err != nil {
			return nil, err
		}
		if p.key, err = parseKey(blocks[1]); err != nil {
			return nil, err
		}
		if !p.key.PublicKey.Equal(p.certificate.PublicKey) {
			return nil, fmt.Errorf("the private key is not that of certificate %q", p.certificate.Subject.CommonName)
		}
		pairs, blocks = append(pairs, p), blocks[2:]
	}
	return pairs, nil
}

// decode returns the PEM blocks of content. Any text between them is an error.
func decode(content []byte) ([]*pem.Block, error) {
	var blocks []*pem.Block
	for len(content) > 0 {
		block, rest := pem.Decode(content)
		if block == nil {
			return nil, errors.New("it is not PEM, or is cut off")
		}
		if len(block.Headers) > 0 || !bytes.Equal(pem.EncodeToMemory(block), content[:len(content)-len(rest)]) {
			return nil, fmt.Errorf("PEM block %q has headers, or text around it", block.Type)
		}
		blocks, content = append(blocks, block), rest
	}
	return blocks, nil
}

func parseCertificate(block *pem.Block) (*x509.Certificate, error) {
	if block.Type != certificateBlock {
		return nil, fmt.Errorf("PEM block %q, want %q", block.Type, certificateBlock)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	if key, ok := certificate.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("certificate %q has no P-256 key", certificate.Subject.CommonName)
	}
	return certificate, nil
}

func parseKey(block *pem.Block) (*ecdsa.PrivateKey, error) {
	if block.Type != keyBlock {
		return nil, fmt.Errorf("PEM block %q, want %q", block.Type, keyBlock)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("the private key is not PKCS #8") // x509's error could quote it
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("the private key is not a P-256 key")
	}
	return key, nil
}

// checkAuthority returns an error unless certificate signs certificates, and
// itself.
func checkAuthority(certificate *x509.Certificate) error {
	if !certificate.IsCA || certificate.KeyUsage&x509.KeyUsageCertSign == 0 || len(certificate.SubjectKeyId) == 0 {
		return fmt.Errorf("certificate %q is not a certificate authority", certificate.Subject.CommonName)
	}
	if err := certificate.CheckSignatureFrom(certificate); err != nil {
		return fmt.Errorf("certificate %q is not its own issuer: %w", certificate.Subject.CommonName, err)
	}
	return nil
}

// ParseCertificate reads a node's certificate and key, as [Certificate.PEM]
// writes them. Its error is an [ObjectError] that names object.
func ParseCertificate(object string, content []byte) (*Certificate, error) {
	pairs, err := parsePairs(content)
	switch {
	case err != nil:
	case len(pairs) != 1:
		err = fmt.Errorf("it has %d certificates, want one", len(pairs))
	case pairs[0].certificate.IsCA:
		err = fmt.Errorf("certificate %q is a certificate authority", pairs[0].certificate.Subject.CommonName)
	default:
		return &Certificate{Leaf: pairs[0].certificate, key: pairs[0].key}, nil
	}
	return nil, &ObjectError{object, err}
}

// PEM returns the certificate and its key in one file, as PostgreSQL, Redis,
// HAProxy, nginx and etcd read it.
func (c *Certificate) PEM() ([]byte, error) { return encode(c.Leaf, c.key) }

func encode(certificate *x509.Certificate, key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the key of certificate %q: %w", certificate.Subject.CommonName, err)
	}
	return append(encodeCertificate(certificate), pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der})...), nil
}

func encodeCertificate(certificate *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: certificate.Raw})
}
