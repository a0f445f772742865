// Package topology fetches topology.json, the live list of a cluster's nodes, and writes
// the node's copy of it and /etc/hosts. The object in S3 is downloaded, and the files
// are replaced, only when they changed.
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

// File is the node's copy of topology.json.
const File = "/run/xeroops/topology.json"

// HostsFile maps the names of all nodes to their addresses.
const HostsFile = "/etc/hosts"

// fetchTimeout limits one request; the object has a few kilobytes.
const fetchTimeout = 15 * time.Second

// Source is topology.json in S3. It remembers the version that it fetched last.
type Source struct {
	S3     *s3.Client
	Bucket string
	Key    string // of cluster.Layout.Topology

	etag string
}

// Fetch returns the topology if it has changed since the last fetch; otherwise changed
// is false and t is empty.
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

// Files are the files in which a node keeps the topology.
type Files struct {
	Topology, Hosts string
}

// Default returns the files of a node.
func Default() Files { return Files{Topology: File, Hosts: HostsFile} }

// Write writes a topology to both files and reports whether one changed.
func (f Files) Write(t cluster.Topology) (changed bool, err error) {
	text, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return false, fmt.Errorf("write %s: %w", f.Topology, err)
	}
	copyChanged, err := atomicfile.WriteFile(f.Topology, append(text, '\n'), 0o644)
	if err != nil {
		return false, err
	}
	hosts, err := os.ReadFile(f.Hosts)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return copyChanged, fmt.Errorf("write %s: %w", f.Hosts, err)
	}
	hostsChanged, err := atomicfile.WriteFile(f.Hosts, []byte(MergeHosts(string(hosts), t)), 0o644)
	return copyChanged || hostsChanged, err
}

// Read returns the node's copy of the topology.
func Read() (cluster.Topology, error) { return Default().Read() }

// Read returns the copy that [Files.Write] made.
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
