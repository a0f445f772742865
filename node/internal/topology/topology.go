// Package topology keeps a node's copy of topology.json, the live list of who
// is in the cluster, and its /etc/hosts in step with it. The object in S3 is
// fetched only if it changed; files are replaced whole, and only on a change.
package topology

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/node/internal/atomicfile"
)

// File is the node's copy, for whoever wants to know the cluster.
const File = "/run/xeroops/topology.json"

// HostsFile has every node by name.
const HostsFile = "/etc/hosts"

// fetchTimeout bounds one request; the object has a few kilobytes.
const fetchTimeout = 15 * time.Second

// Source is topology.json in S3. It remembers what it fetched last.
type Source struct {
	S3     *s3.Client
	Bucket string
	Key    string // of cluster.Layout.Topology

	etag string
}

// Fetch returns the topology and true if it is another than the last one that
// was fetched, and false if nothing changed.
func (s *Source) Fetch(ctx context.Context) (t cluster.Topology, changed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	input := &s3.GetObjectInput{Bucket: &s.Bucket, Key: &s.Key}
	if s.etag != "" {
		input.IfNoneMatch = &s.etag
	}
	out, err := s.S3.GetObject(ctx, input)
	var answered *awshttp.ResponseError
	if errors.As(err, &answered) && answered.HTTPStatusCode() == http.StatusNotModified {
		return cluster.Topology{}, false, nil
	}
	if err != nil {
		return cluster.Topology{}, false, fmt.Errorf("fetch s3://%s/%s: %w", s.Bucket, s.Key, err)
	}
	defer func() { err = errors.Join(err, out.Body.Close()) }()
	if err := json.NewDecoder(out.Body).Decode(&t); err != nil {
		return cluster.Topology{}, false, fmt.Errorf("read s3://%s/%s: %w", s.Bucket, s.Key, err)
	}
	if t.Schema != cluster.TopologySchema || len(t.Nodes) == 0 {
		return cluster.Topology{}, false, fmt.Errorf("read s3://%s/%s: schema %d with %d nodes, want schema %d with at least one; the image and the provider may be of different versions",
			s.Bucket, s.Key, t.Schema, len(t.Nodes), cluster.TopologySchema)
	}
	s.etag = aws.ToString(out.ETag)
	return t, true, nil
}

// Files are where a topology is put on a node.
type Files struct {
	Topology, Hosts string
}

// Default are the files of a node.
func Default() Files { return Files{Topology: File, Hosts: HostsFile} }

// Write puts a topology into both files, and says whether one changed.
func (f Files) Write(t cluster.Topology) (changed bool, err error) {
	text, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return false, fmt.Errorf("write %s: %w", f.Topology, err)
	}
	copied, err := atomicfile.WriteFile(f.Topology, append(text, '\n'), 0o644)
	if err != nil {
		return false, err
	}
	hosts, err := os.ReadFile(f.Hosts)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return copied, fmt.Errorf("write %s: %w", f.Hosts, err)
	}
	named, err := atomicfile.WriteFile(f.Hosts, []byte(MergeHosts(string(hosts), t)), 0o644)
	return copied || named, err
}

// Read returns the node's copy.
func Read() (cluster.Topology, error) { return Default().Read() }

// Read returns the copy that Write made.
func (f Files) Read() (cluster.Topology, error) {
	var t cluster.Topology
	text, err := os.ReadFile(f.Topology)
	if err == nil {
		err = json.Unmarshal(text, &t)
	}
	if err != nil {
		return t, fmt.Errorf("read the node's copy of the topology, %s: %w", f.Topology, err)
	}
	return t, nil
}
