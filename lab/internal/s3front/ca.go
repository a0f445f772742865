package s3front

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	caLife   = 10 * 365 * 24 * time.Hour // longer than cached images are kept
	leafLife = 90 * 24 * time.Hour
	caFile   = "ca.pem" // certificate and key, readable by root only
)

// CA is the lab's certificate authority. Its certificate is in the machines' base
// image; the host does not trust it.
type CA struct {
	PEM []byte // its certificate

	certificate *x509.Certificate
	key         *ecdsa.PrivateKey

	mu     sync.Mutex
	leaves map[string]*tls.Certificate
}

// LoadCA loads the certificate authority from dir, or creates it there.
func LoadCA(dir string) (*CA, error) {
	path := filepath.Join(dir, caFile)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if content, err = newCA(); err == nil {
			err = writeNew(path, content)
		}
		if errors.Is(err, fs.ErrExist) { // another lab created it meanwhile
			content, err = os.ReadFile(path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("load the lab's certificate authority: %w", err)
	}
	pair, err := tls.X509KeyPair(content, content)
	if err != nil {
		return nil, fmt.Errorf("load the lab's certificate authority from %s: %w; remove the file to create a new one", path, err)
	}
	return &CA{
		PEM:         pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}),
		certificate: pair.Leaf,
		key:         pair.PrivateKey.(*ecdsa.PrivateKey),
		leaves:      map[string]*tls.Certificate{},
	}, nil
}

// writeNew creates a file atomically. It returns fs.ErrExist if the file exists.
func writeNew(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".ca-*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	if _, err := temporary.Write(content); err != nil {
		return err
	}
	if err := temporary.Close(); err != nil {
		return err
	}
	return os.Link(temporary.Name(), path)
}

func newCA() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := template("XeroOps lab", caLife)
	template.IsCA = true
	template.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	content := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return append(content, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})...), nil
}

func template(name string, life time.Duration) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic(fmt.Sprintf("read random bytes: %v", err)) // crypto/rand does not fail on Linux
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-time.Hour), // a machine's clock may be behind
		NotAfter:              time.Now().Add(life),
		BasicConstraintsValid: true,
	}
}

// TLSConfig returns a server configuration that issues a certificate for each server
// name that accept approves, covering the names that accept returns. As in S3's own
// certificates, a wildcard covers one label, so that buckets with dots in their names
// fail in virtual-hosted style.
func (c *CA) TLSConfig(accept func(name string) (certified []string, ok bool)) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"}, // like S3
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			names, ok := accept(hello.ServerName)
			if !ok {
				return nil, fmt.Errorf("the lab has no certificate for %q", hello.ServerName)
			}
			return c.leaf(names)
		},
	}
}

func (c *CA) leaf(names []string) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if leaf, ok := c.leaves[names[0]]; ok && time.Until(leaf.Leaf.NotAfter) > time.Hour {
		return leaf, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := template(names[0], leafLife)
	template.DNSNames = names
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, c.certificate, key.Public(), c.key)
	if err != nil {
		return nil, fmt.Errorf("certify %v: %w", names, err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	leaf := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: parsed}
	c.leaves[names[0]] = leaf
	return leaf, nil
}
