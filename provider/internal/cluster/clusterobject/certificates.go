package clusterobject

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/pki"
	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

// authority is a certificate authority of the cluster, with the objects that
// depend on it. Its key is read only if one of them has to be written.
type authority struct {
	use          pki.Use
	key, bundle  string                  // of the objects
	certificates map[string]pki.Identity // by the object's key
}

// authorities returns the authorities of the cluster's nodes: one for the services
// of all nodes, and one for etcd, of which only nodes with etcd have certificates
// (docs/decisions/0011-two-certificate-authorities.md).
func (o *Objects) authorities() ([]authority, error) {
	var all []authority
	for _, use := range []pki.Use{pki.Nodes, pki.Etcd} {
		a := authority{use: use, key: o.layout.Authority(string(use)), bundle: o.layout.AuthorityBundle(string(use)), certificates: map[string]pki.Identity{}}
		for _, n := range o.spec.SortedNodes() {
			if use == pki.Etcd && !model.HasEtcd(n.Role) {
				continue
			}
			id, err := o.identity(n, use)
			if err != nil {
				return nil, err
			}
			a.certificates[o.certificateKey(n, use)] = id
		}
		if len(a.certificates) > 0 {
			all = append(all, a)
		}
	}
	return all, nil
}

func (o *Objects) certificateKey(n clusterspec.Node, use pki.Use) string {
	if use == pki.Etcd {
		return o.layout.EtcdCertificate(n.Role, n.Name)
	}
	return o.layout.Certificate(n.Role, n.Name)
}

func (o *Objects) identity(n clusterspec.Node, use pki.Use) (pki.Identity, error) {
	address, err := netip.ParseAddr(n.Address)
	if err != nil {
		return pki.Identity{}, fmt.Errorf("certificate of node %s: %w", n.Name, err)
	}
	id := pki.Identity{Cluster: o.spec.Name, Node: n.Name, Role: n.Role, Address: address}
	if use == pki.Nodes && n.Role == model.RoleDB {
		// Clients reach PostgreSQL through HAProxy on management, which forwards TCP.
		id.Services = []string{"database", "management"}
	}
	return id, nil
}

// ensureCertificates writes the authorities, their bundles and the certificates
// that are missing, changed, or due for renewal.
func (o *Objects) ensureCertificates(ctx context.Context) error {
	all, err := o.authorities()
	if err != nil {
		return err
	}
	return base.ParallelAll(ctx, base.StepsFor(all, func(ctx context.Context, _ int, a authority) error { return o.ensureAuthority(ctx, a) })...)
}

func (o *Objects) ensureAuthority(ctx context.Context, a authority) error {
	due := o.dueCertificates(a)
	if o.isAsWritten(a.key) && o.isAsWritten(a.bundle) && len(due) == 0 {
		return nil
	}
	generations, err := o.readAuthority(ctx, a)
	if err != nil {
		return err
	}
	due = o.dueCertificates(a) // all of them, if the authority is another one
	steps := base.StepsFor(slices.Sorted(maps.Keys(due)), func(ctx context.Context, _ int, key string) error {
		return o.issue(ctx, key, a.certificates[key], generations.Newest())
	})
	if bundle := string(generations.Bundle()); !o.records.match(a.bundle, o.actual[a.bundle], bundle) {
		steps = append(steps, func(ctx context.Context) error {
			return o.write(ctx, a.bundle, bundle, Record{SHA256: digest(bundle)})
		})
	}
	return base.ParallelAll(ctx, steps...)
}

// readAuthority returns the generations of an authority, and records them. One that
// somebody changed or deleted is restored from the bucket's versions; one that
// does not exist is generated.
func (o *Objects) readAuthority(ctx context.Context, a authority) (pki.Generations, error) {
	etag := o.actual[a.key]
	if written := o.records.etag(a.key); written != "" && written != etag {
		restored, err := o.restore(ctx, a.key, written)
		if err != nil {
			return nil, err
		}
		if restored != "" {
			etag = restored
		}
	}
	if etag == "" {
		return o.createAuthority(ctx, a)
	}
	content, err := o.readObject(ctx, a.key)
	if err != nil {
		return nil, err
	}
	generations, err := pki.ParseGenerations(a.key, content)
	if err != nil {
		return nil, fmt.Errorf("%w; restore an earlier version of the object in bucket %s, or delete it: the next apply then generates a new authority and issues all certificates anew",
			err, o.spec.Buckets.Uploads)
	}
	o.records.set(a.key, Record{ETag: etag, Certifies: generations.Newest().ID()})
	return generations, nil
}

func (o *Objects) createAuthority(ctx context.Context, a authority) (pki.Generations, error) {
	created, err := pki.NewAuthority(o.spec.Name, a.use, o.now())
	if err != nil {
		return nil, err
	}
	generations := pki.Generations{created}
	content, err := generations.PEM()
	if err != nil {
		return nil, err
	}
	// Before anything that depends on it, so that an interruption leaves no certificate
	// of an authority that nobody has.
	return generations, o.write(ctx, a.key, string(content), Record{Certifies: created.ID()})
}

// issue writes a certificate, unless the object has one that is not recorded, as
// after an import, and still valid.
func (o *Objects) issue(ctx context.Context, key string, id pki.Identity, issuer *pki.Authority) error {
	certificate, err := o.unrecorded(ctx, key)
	if err != nil {
		return err
	}
	record := Record{ETag: o.actual[key], Certifies: certifies(id, issuer.ID())}
	if certificate != nil && certificate.RenewalDue(id, issuer, o.now()) == "" {
		record.RenewAt = certificate.RenewAt().Unix()
		o.records.set(key, record)
		return nil
	}
	if certificate, err = issuer.Issue(id, o.now()); err != nil {
		return err
	}
	content, err := certificate.PEM()
	if err != nil {
		return err
	}
	record.RenewAt = certificate.RenewAt().Unix()
	return o.write(ctx, key, string(content), record)
}

// unrecorded returns the certificate in an object without a record, or nil.
func (o *Objects) unrecorded(ctx context.Context, key string) (*pki.Certificate, error) {
	if o.actual[key] == "" || o.records.etag(key) != "" {
		return nil, nil
	}
	content, err := o.readObject(ctx, key)
	if err != nil {
		return nil, err
	}
	certificate, err := pki.ParseCertificate(key, content)
	if err != nil {
		return nil, nil //nolint:nilerr // it is replaced
	}
	return certificate, nil
}

// dueCertificates returns the certificates of an authority to write or to read, by
// key, each with the reason; "" if the object is missing or is not as it was written,
// which Drift describes otherwise.
func (o *Objects) dueCertificates(a authority) map[string]pki.Reason {
	due := map[string]pki.Reason{}
	for key, id := range a.certificates {
		switch record := o.records.get(key); {
		case !o.isAsWritten(key):
			due[key] = ""
		case record.Certifies != certifies(id, o.records.get(a.key).Certifies):
			due[key] = pki.ReasonIdentity
		case o.now().Unix() >= record.RenewAt:
			due[key] = pki.ReasonHalfLife
		}
	}
	return due
}

// certifies returns what Record.Certifies has for a certificate.
func certifies(id pki.Identity, authorityID string) string {
	return digest(fmt.Sprintf("%+v %s", id, authorityID))
}

// driftOfCertificates describes the certificates that are due for renewal, and those
// that do not exist, as in a cluster of an earlier release.
func (o *Objects) driftOfCertificates() []string {
	all, err := o.authorities()
	if err != nil {
		return []string{err.Error()}
	}
	var found []string
	missing := 0
	renew := map[pki.Reason][]string{} // nodes
	for _, a := range all {
		for key, reason := range o.dueCertificates(a) {
			switch {
			case reason != "":
				renew[reason] = append(renew[reason], a.certificates[key].Node)
			case o.actual[key] == "" && o.records.etag(key) == "": // with a record, Drift names the object
				missing++
			}
		}
	}
	if missing > 0 {
		found = append(found, fmt.Sprintf("%d certificates of nodes do not exist", missing))
	}
	for _, reason := range slices.Sorted(maps.Keys(renew)) {
		nodes := renew[reason]
		slices.Sort(nodes)
		found = append(found, fmt.Sprintf("certificates of nodes %s are due for renewal: %s", strings.Join(slices.Compact(nodes), ", "), reason))
	}
	return found
}

// isAsWritten reports whether an object exists and is the one that was written.
func (o *Objects) isAsWritten(key string) bool {
	return o.actual[key] != "" && o.actual[key] == o.records.etag(key)
}

// write writes an object and records it.
func (o *Objects) write(ctx context.Context, key, content string, record Record) error {
	etag, err := o.put(ctx, key, content, contentType(key))
	if err != nil {
		return err
	}
	record.ETag = etag
	o.records.set(key, record)
	return nil
}

// readObject returns the content of an object.
func (o *Objects) readObject(ctx context.Context, key string) (content []byte, err error) {
	out, err := o.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &o.spec.Buckets.Uploads, Key: &key})
	if err != nil {
		return nil, fmt.Errorf("read s3://%s/%s: %w", o.spec.Buckets.Uploads, key, err)
	}
	defer func() { err = errors.Join(err, out.Body.Close()) }()
	if content, err = io.ReadAll(out.Body); err != nil {
		return nil, fmt.Errorf("read s3://%s/%s: %w", o.spec.Buckets.Uploads, key, err)
	}
	return content, nil
}
