package vpn

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// store reads and writes one cluster's VPN objects in its uploads bucket.
type store struct {
	s3     *s3.Client
	bucket string
	layout cluster.Layout
}

var errNoObject = errors.New("no such object")

// get reads a JSON object and returns its ETag; errNoObject if there is none.
func (s store) get(ctx context.Context, key string, into any) (etag string, err error) {
	out, err := s.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: &key})
	if err != nil {
		if awswait.IsNotFound(err) {
			err = errNoObject
		}
		return "", fmt.Errorf("read s3://%s/%s: %w", s.bucket, key, err)
	}
	defer func() { _ = out.Body.Close() }()
	if err := json.NewDecoder(out.Body).Decode(into); err != nil {
		return "", fmt.Errorf("read s3://%s/%s: %w", s.bucket, key, err)
	}
	return aws.ToString(out.ETag), nil
}

// ifAbsent and ifUnchanged are the conditions of a put.
type condition func(*s3.PutObjectInput)

func ifAbsent(in *s3.PutObjectInput) { in.IfNoneMatch = aws.String("*") }
func ifUnchanged(etag string) condition {
	return func(in *s3.PutObjectInput) { in.IfMatch = &etag }
}

// isConflict reports whether a conditional put came too late. S3 responds with 412 if
// the condition does not hold, 409 if another put is in progress, and 404 if the
// object of an If-Match is gone.
func isConflict(err error) bool {
	return awswait.HasCode(err, "PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey")
}

func (s store) put(ctx context.Context, key string, content any, when condition) error {
	body, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	in := &s3.PutObjectInput{Bucket: &s.bucket, Key: &key, Body: bytes.NewReader(body), ContentType: aws.String("application/json")}
	when(in)
	if _, err := s.s3.PutObject(ctx, in); err != nil {
		return fmt.Errorf("write s3://%s/%s: %w", s.bucket, key, err)
	}
	return nil
}

func (s store) topology(ctx context.Context) (*cluster.Topology, error) {
	var t cluster.Topology
	_, err := s.get(ctx, s.layout.Topology(), &t)
	if errors.Is(err, errNoObject) {
		return nil, fmt.Errorf("%w: there is no cluster %q in the bucket; create it first (with cluster = xeroops_cluster.<name>.name, Terraform does)", err, s.layout.Cluster)
	}
	return &t, err
}

func (s store) peer(ctx context.Context, name string) (*cluster.VPNPeer, error) {
	var p cluster.VPNPeer
	_, err := s.get(ctx, s.layout.VPNPeer(name), &p)
	return &p, err
}

// find returns the existing peer of a name as a candidate for adoption, or nil.
func (s store) find(ctx context.Context, name, publicKey string) (*base.Found, error) {
	existing, err := s.peer(ctx, name)
	if errors.Is(err, errNoObject) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found := &base.Found{ID: importID(s.layout.Cluster, s.bucket, name), Claim: existing.Claim}
	if publicKey != "" && existing.PublicKey != publicKey {
		found.Conflict = "it has another public key"
	}
	return found, nil
}

// create writes a new peer's object. One that exists with the same claim is its own: the
// answer to the put was lost.
func (s store) create(ctx context.Context, p cluster.VPNPeer) error {
	err := s.put(ctx, s.layout.VPNPeer(p.Name), p, ifAbsent)
	if !isConflict(err) {
		return err
	}
	existing, err := s.peer(ctx, p.Name)
	if err == nil && existing.Claim != p.Claim {
		err = fmt.Errorf("another apply has just created it; choose another name, or import it: terraform import <address> %s",
			importID(s.layout.Cluster, s.bucket, p.Name))
	}
	return err
}

// update writes a peer's object and keeps its claim.
func (s store) update(ctx context.Context, p cluster.VPNPeer) error {
	return s.change(ctx, p.Name, func(existing *cluster.VPNPeer) {
		p.Claim = existing.Claim
		*existing = p
	})
}

// writeClaim sets the claim of an existing peer.
func (s store) writeClaim(ctx context.Context, name, claim string) error {
	return s.change(ctx, name, func(existing *cluster.VPNPeer) { existing.Claim = claim })
}

// change changes a peer's object atomically: if it was changed concurrently, change is
// called again with the new content.
func (s store) change(ctx context.Context, name string, change func(*cluster.VPNPeer)) error {
	key := s.layout.VPNPeer(name)
	for {
		var p cluster.VPNPeer
		etag, err := s.get(ctx, key, &p)
		if err != nil {
			return err
		}
		before := p
		if change(&p); p == before {
			return nil
		}
		if err = s.put(ctx, key, p, ifUnchanged(etag)); !isConflict(err) {
			return err
		}
		if err := s.pause(ctx, err); err != nil {
			return err
		}
	}
}

// pause waits before a retry after a conflict.
func (s store) pause(ctx context.Context, conflict error) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("%w while others were changing it: %w", context.Cause(ctx), conflict)
	case <-time.After(rand.N(maxConflictPause)):
		return nil
	}
}

// delete removes a peer and then releases its address, so that the address is not
// allocated to another peer while the gateway still has this one.
func (s store) delete(ctx context.Context, name string) error {
	key := s.layout.VPNPeer(name)
	_, err := s.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: &key})
	if err := awswait.Ignore(err, awswait.IsNotFound); err != nil {
		return fmt.Errorf("delete s3://%s/%s: %w", s.bucket, key, err)
	}
	err = s.changeAddresses(ctx, func(held map[string]string) (bool, error) {
		_, ok := held[name]
		delete(held, name)
		return ok, nil
	})
	return awswait.Ignore(err, awswait.IsNotFound) // the bucket may be gone
}

// reserve reserves an address for the peer until delete, even if the create is
// interrupted right after: wanted, or one of the range if wanted is not valid.
func (s store) reserve(ctx context.Context, vpn netip.Prefix, name string, wanted netip.Addr) (netip.Addr, error) {
	var address netip.Addr
	err := s.changeAddresses(ctx, func(held map[string]string) (changed bool, err error) {
		address, changed, err = assign(held, vpn, name, wanted)
		return changed, err
	})
	return address, err
}

// maxConflictPause is the maximum delay before a retry after a conflict: a few
// times the duration of one change.
const maxConflictPause = 200 * time.Millisecond

// changeAddresses changes the table of addresses atomically: if it was changed
// concurrently, change is called again with the new content. change reports whether
// there is anything to write.
func (s store) changeAddresses(ctx context.Context, change func(held map[string]string) (bool, error)) error {
	for {
		table, when, err := s.addresses(ctx)
		if err != nil {
			return err
		}
		if changed, err := change(table.Peers); err != nil || !changed {
			return err
		}
		if err = s.put(ctx, s.layout.VPNAddresses(), table, when); !isConflict(err) {
			return err
		}
		if err := s.pause(ctx, err); err != nil {
			return err
		}
	}
}

// addresses returns the table, and the condition for writing it back. If there is
// none (before the first peer, or if it was deleted), it is rebuilt from the peers.
func (s store) addresses(ctx context.Context) (cluster.VPNAddresses, condition, error) {
	var table cluster.VPNAddresses
	etag, err := s.get(ctx, s.layout.VPNAddresses(), &table)
	if errors.Is(err, errNoObject) {
		held, err := s.peerAddresses(ctx)
		return cluster.VPNAddresses{Schema: cluster.VPNAddressesSchema, Peers: held}, ifAbsent, err
	}
	if table.Peers == nil {
		table.Peers = map[string]string{}
	}
	return table, ifUnchanged(etag), err
}

func (s store) peerAddresses(ctx context.Context) (map[string]string, error) {
	held := map[string]string{}
	prefix := s.layout.VPNPeers()
	pages := s3.NewListObjectsV2Paginator(s.s3, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list s3://%s/%s: %w", s.bucket, prefix, err)
		}
		for _, object := range page.Contents {
			name := strings.TrimSuffix(path.Base(aws.ToString(object.Key)), ".json")
			p, err := s.peer(ctx, name)
			if err != nil && !errors.Is(err, errNoObject) {
				return nil, err
			}
			if p.Address != "" {
				held[name] = p.Address
			}
		}
	}
	return held, nil
}
