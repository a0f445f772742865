package vpnpeers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/xeroops/xeroops/internal/cluster"
)

// source reads the objects of the peers, each version once.
type source struct {
	S3     *s3.Client
	Bucket string
	Layout cluster.Layout
	known  map[string]object // by key
}

type object struct {
	etag string
	peer cluster.VPNPeer
	err  error // of parsing
}

// fetch returns the peers by object, and an error for each object that cannot be parsed.
func (s *source) fetch(ctx context.Context) (peers map[string]cluster.VPNPeer, unreadable []error, err error) {
	listed := map[string]object{}
	pages := s3.NewListObjectsV2Paginator(s.S3, &s3.ListObjectsV2Input{Bucket: &s.Bucket, Prefix: aws.String(s.Layout.VPNPeers())})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("list s3://%s/%s: %w", s.Bucket, s.Layout.VPNPeers(), err)
		}
		for _, entry := range page.Contents {
			key, etag := aws.ToString(entry.Key), aws.ToString(entry.ETag)
			o, known := s.known[key]
			if !known || o.etag != etag {
				if o, err = s.read(ctx, key, etag); err != nil {
					return nil, nil, err
				}
			}
			listed[key] = o
		}
	}
	s.known = listed
	peers = map[string]cluster.VPNPeer{}
	for key, o := range listed {
		if o.err != nil {
			unreadable = append(unreadable, fmt.Errorf("object %s: %w", key, o.err))
		} else {
			peers[key] = o.peer
		}
	}
	return peers, unreadable, nil
}

// read reads and parses an object. The error is one that a retry may fix.
func (s *source) read(ctx context.Context, key, etag string) (o object, err error) {
	out, err := s.S3.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.Bucket, Key: &key})
	if err != nil {
		return object{}, fmt.Errorf("read s3://%s/%s: %w", s.Bucket, key, err)
	}
	defer func() { err = errors.Join(err, out.Body.Close()) }()
	const maxBytes = 64 << 10 // a peer has 200
	content, err := io.ReadAll(io.LimitReader(out.Body, maxBytes))
	if err != nil {
		return object{}, fmt.Errorf("read s3://%s/%s: %w", s.Bucket, key, err)
	}
	o.etag = etag
	o.err = json.Unmarshal(content, &o.peer)
	return o, nil
}
