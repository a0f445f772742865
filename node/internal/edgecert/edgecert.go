// Package edgecert provides the edge's certificate before nginx starts. The first boot
// creates a self-signed one and stores it in S3 (docs/design.md#s3-layout, tls/), so that
// a replaced edge has the same; of concurrent writers the first wins. On the node the
// certificate and its key are in memory only.
package edgecert

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/internal/cluster"
)

// lifetime is the validity of a self-signed certificate. No client trusts it because of
// its dates, and its expiry should cause no outage.
const lifetime = 10 * 365 * 24 * time.Hour

// Store is the prefix in S3 in which certificates outlive an edge.
type Store struct {
	S3     *s3.Client
	Bucket string
	Layout cluster.Layout
}

// SelfSigned returns the node's certificate and its key as PEM, from S3 if they exist.
// Otherwise it creates them for names, which are host names and IP addresses, and stores
// them.
func (s Store) SelfSigned(ctx context.Context, node string, names []string, now time.Time) (certificate, key []byte, err error) {
	name := s.Layout.TLS() + "self-signed/" + node + ".pem"
	stored, err := s.get(ctx, name)
	// The edge's role lists prefixes only, and AWS does not document whether S3 then says
	// that a key does not exist. Creating it overwrites nothing, and returns the error if
	// access is denied.
	if awswait.HasCode(err, "NoSuchKey", "AccessDenied") {
		stored, err = s.create(ctx, name, names, now)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("get the certificate of %s from s3://%s/%s: %w", node, s.Bucket, name, err)
	}
	if certificate, key, err = split(stored); err != nil {
		return nil, nil, fmt.Errorf("parse the certificate of %s in s3://%s/%s: %w; remove the object, and the next start creates another", node, s.Bucket, name, err)
	}
	return certificate, key, nil
}

func (s Store) get(ctx context.Context, name string) (content []byte, err error) {
	out, err := s.S3.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.Bucket, Key: &name})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, out.Body.Close()) }()
	return io.ReadAll(io.LimitReader(out.Body, 1<<20))
}

// create creates and stores a certificate, unless another edge has just done so, and
// returns the stored one.
func (s Store) create(ctx context.Context, name string, names []string, now time.Time) ([]byte, error) {
	created, err := selfSign(names, now)
	if err != nil {
		return nil, err
	}
	_, err = s.S3.PutObject(ctx, &s3.PutObjectInput{Bucket: &s.Bucket, Key: &name, Body: bytes.NewReader(created),
		IfNoneMatch: aws.String("*")})
	if awswait.HasCode(err, "PreconditionFailed", "ConditionalRequestConflict") {
		return s.get(ctx, name)
	}
	return created, err
}

// selfSign creates a certificate for names and its key, as one PEM text.
func selfSign(names []string, now time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 159)) // RFC 5280: 20 octets, positive
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: names[0]},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(lifetime), // clients' clocks may be behind
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...), nil
}

// split separates certificates and key, and verifies that they match.
func split(text []byte) (certificate, key []byte, err error) {
	if _, err := tls.X509KeyPair(text, text); err != nil {
		return nil, nil, err
	}
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return certificate, key, nil
		}
		if block.Type == "CERTIFICATE" {
			certificate = append(certificate, pem.EncodeToMemory(block)...)
		} else {
			key = append(key, pem.EncodeToMemory(block)...)
		}
	}
}
