package pki

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
)

// maxGenerations is how many generations of an authority there may be at a time.
const maxGenerations = 2

// Generations are the generations of one authority, the oldest first: one, or
// two while the authority is rotated. A rotation has three steps, each of which
// waits for what nodes report:
//
//  1. [Generations.Add]: everybody trusts both, and the old one issues.
//  2. All nodes trust the new one: it issues (see [Generations.Issuer]).
//  3. All nodes' certificates are of the new one: [Generations.Retire].
//
// The current step follows from the object in S3 and the reports alone, so the next
// apply resumes an interrupted rotation.
type Generations []*Authority

// ErrRotating is returned by [Generations.Add] while a rotation is under way.
var ErrRotating = errors.New("a rotation of the certificate authority is under way")

// ParseGenerations reads an authority's object, as [Generations.PEM] writes it.
// Its error is an [ObjectError] that names object.
func ParseGenerations(object string, content []byte) (Generations, error) {
	pairs, err := parsePairs(content)
	if err == nil && len(pairs) > maxGenerations {
		err = fmt.Errorf("it has %d generations, want at most %d", len(pairs), maxGenerations)
	}
	var all Generations
	for _, p := range pairs {
		if err == nil {
			err = checkAuthority(p.certificate)
		}
		all = append(all, &Authority{Certificate: p.certificate, key: p.key})
	}
	if err != nil {
		return nil, &ObjectError{object, err}
	}
	return all, nil
}

// PEM returns the content of the authority's object: the certificate and key of
// each generation.
func (g Generations) PEM() ([]byte, error) {
	var content []byte
	for _, a := range g {
		one, err := encode(a.Certificate, a.key)
		if err != nil {
			return nil, err
		}
		content = append(content, one...)
	}
	return content, nil
}

// Newest returns the newest generation, which a rotation keeps.
func (g Generations) Newest() *Authority { return g[len(g)-1] }

// Add begins a rotation to next.
func (g Generations) Add(next *Authority) (Generations, error) {
	if len(g) >= maxGenerations {
		return g, fmt.Errorf("%w: apply until all nodes use generation %s", ErrRotating, g.Newest().ID())
	}
	return append(slices.Clone(g), next), nil
}

// Issuer returns the generation that issues certificates. trusted are, for each
// node that runs, the generations that the node reported to trust; the newest
// issues once all of them trust it. A node that has yet to boot is not among
// them, as it will trust what is in the bundle.
func (g Generations) Issuer(trusted map[string][]string) *Authority {
	for _, ids := range trusted {
		if !slices.Contains(ids, g.Newest().ID()) {
			return g[0]
		}
	}
	return g.Newest()
}

// Retire ends a rotation: it removes all generations except the newest. Call it once
// no node uses a certificate of an older one.
func (g Generations) Retire() Generations { return g[len(g)-1:] }

// Bundle returns the certificates of all generations without their keys: what
// servers and clients trust. It is no secret.
func (g Generations) Bundle() []byte {
	var content []byte
	for _, a := range g {
		content = append(content, encodeCertificate(a.Certificate)...)
	}
	return content
}

// Bundle is the certificates of the generations of an authority.
type Bundle []*x509.Certificate

// ParseBundle reads what [Generations.Bundle] writes. Its error is an
// [ObjectError] that names object.
func ParseBundle(object string, content []byte) (Bundle, error) {
	blocks, err := decode(content)
	if err == nil && (len(blocks) == 0 || len(blocks) > maxGenerations) {
		err = fmt.Errorf("it has %d certificates, want 1 to %d", len(blocks), maxGenerations)
	}
	var bundle Bundle
	for _, block := range blocks {
		var certificate *x509.Certificate
		if err == nil {
			certificate, err = parseCertificate(block)
		}
		if err == nil {
			err = checkAuthority(certificate)
		}
		bundle = append(bundle, certificate)
	}
	if err != nil {
		return nil, &ObjectError{object, err}
	}
	return bundle, nil
}

// Pool returns the bundle in the form that crypto/tls uses.
func (b Bundle) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, certificate := range b {
		pool.AddCert(certificate)
	}
	return pool
}

// IDs returns the generations in the bundle, for the boot report.
func (b Bundle) IDs() []string {
	var ids []string
	for _, certificate := range b {
		ids = append(ids, hex.EncodeToString(certificate.SubjectKeyId))
	}
	return ids
}
