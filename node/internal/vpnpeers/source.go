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

// source reads the peers' objects, each version once.
type source struct {
	S3     *s3.Client
	Bucket string
	Layout cluster.Layout
	known  map[string]object // by key
}

type object struct {
	etag string
	peer cluster.VPNPeer
	err  error // why it is none
}

// fetch returns the objects that could be read, and why which could not.
func (s *source) fetch(ctx context.Context) (peers map[string]cluster.VPNPeer, bad map[string]error, err error) {
	listed := map[string]object{}
	pages := s3.NewListObjectsV2Paginator(s.S3, &s3.ListObjectsV2Input{Bucket: &s.Bucket, Prefix: aws.String(s.Layout.VPNPeers())})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("list s3://%s/%s: %w", s.Bucket, s.Layout.VPNPeers(), err)
		}
		for _, o := range page.Contents {
			key, etag := aws.ToString(o.Key), aws.ToString(o.ETag)
			is, known := s.known[key]
			if !known || is.etag != etag {
				if is, err = s.read(ctx, key, etag); err != nil {
					return nil, nil, err
				}
			}
			listed[key] = is
		}
	}
	s.known = listed
	peers, bad = map[string]cluster.VPNPeer{}, map[string]error{}
	for key, o := range listed {
		if o.err != nil {
			bad[key] = o.err
		} else {
			peers[key] = o.peer
		}
	}
	return peers, bad, nil
}

// read returns an error only where another attempt may help.
func (s *source) read(ctx context.Context, key, etag string) (o object, err error) {
	out, err := s.S3.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.Bucket, Key: &key})
	if err != nil {
		return object{}, fmt.Errorf("read s3://%s/%s: %w", s.Bucket, key, err)
	}
	defer func() { err = errors.Join(err, out.Body.Close()) }()
	const most = 64 << 10 // a peer has 200 bytes
	content, err := io.ReadAll(io.LimitReader(out.Body, most))
	if err != nil {
		return object{}, fmt.Errorf("read s3://%s/%s: %w", s.Bucket, key, err)
	}
	o.etag = etag
	o.err = json.Unmarshal(content, &o.peer)
	return o, nil
}
