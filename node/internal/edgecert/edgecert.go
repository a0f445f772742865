// Package edgecert gives the edge a certificate before nginx starts. The first
// boot makes a self-signed one and keeps it in S3 (docs/design.md#s3-layout, tls/), so
// that an edge that replaces another shows the same; whoever puts it there first
// is right. On the node it is in memory only.
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
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/internal/cluster"
)

// lifetime of a self-signed certificate: nothing trusts it for its date, and
// nobody is to be woken by it.
const lifetime = 10 * 365 * 24 * time.Hour

// Store is the objects in which certificates outlive an edge.
type Store struct {
	S3     *s3.Client
	Bucket string
	Layout cluster.Layout
}

// SelfSigned returns the node's certificate and its key, one PEM text each: those
// in S3 if there are any, else new ones that are there from now on. names are
// host names and IP addresses that a new one is for.
func (s Store) SelfSigned(ctx context.Context, node string, names []string, now time.Time) (certificate, key []byte, err error) {
	name := s.Layout.TLS() + "self-signed/" + node + ".pem"
	kept, err := s.get(ctx, name)
	if awswait.HasCode(err, "NoSuchKey") {
		kept, err = s.putFirst(ctx, name, names, now)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("certificate of %s in s3://%s/%s: %w", node, s.Bucket, name, err)
	}
	if certificate, key, err = split(kept); err != nil {
		return nil, nil, fmt.Errorf("certificate of %s in s3://%s/%s: %w; remove the object, and the next start makes another", node, s.Bucket, name, err)
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

// putFirst makes a certificate; if another was there before, that is the one.
func (s Store) putFirst(ctx context.Context, name string, names []string, now time.Time) ([]byte, error) {
	made, err := selfSign(names, now)
	if err != nil {
		return nil, err
	}
	_, err = s.S3.PutObject(ctx, &s3.PutObjectInput{Bucket: &s.Bucket, Key: &name, Body: bytes.NewReader(made),
		IfNoneMatch: aws.String("*"), ServerSideEncryption: types.ServerSideEncryptionAes256})
	if awswait.HasCode(err, "PreconditionFailed", "ConditionalRequestConflict") {
		return s.get(ctx, name)
	}
	return made, err
}

// selfSign makes a key and a certificate for names, as one PEM text.
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

// split takes certificates and key apart, and checks that they belong together.
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
