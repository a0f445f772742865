// Package clusterobject manages a cluster's objects in the uploads bucket: the
// topology, each node's settings, each role's credentials, those of a deployer, and the
// certificates. Boot reports are written by the nodes; this package only deletes those of
// removed nodes.
//
// content.go holds what the objects without secrets contain, credentials.go
// what the credentials contain, certificates.go the certificate authorities and what they
// issue. A further object is written by Ensure, recorded, and listed in ownPrefixes if its
// prefix is new.
package clusterobject

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/xeroops/xeroops/internal/awswait"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

// Inputs are what the topology depends on and other parts of the cluster
// observe. The functions are called by Ensure.
type Inputs struct {
	VPNEndpoint func() string // address and port of the gateway, or ""
	VPCCIDR     func() string
}

// Objects are the objects of one cluster.
type Objects struct {
	Configured         map[model.Role]map[string]string // credentials_wo
	RewriteCredentials bool                             // write the configured credentials again
	RotateInternal     bool                             // generate new internal credentials
	VPNPublicKey       string                           // of the gateway; "" if it is not known. Ensure sets it.

	client   *s3.Client
	describe *base.Describer
	spec     *clusterspec.Spec
	inputs   Inputs
	layout   model.Layout
	records  records
	actual   map[string]string // ETag by key
	now      func() time.Time
}

// New returns the objects that spec describes, not observed yet.
func New(p *base.ProviderData, spec *clusterspec.Spec, inputs Inputs) *Objects {
	return &Objects{client: p.Client.S3, describe: p.Describe, spec: spec, inputs: inputs, layout: spec.Layout(),
		records: records{byKey: map[string]Record{}}, actual: map[string]string{}, now: time.Now}
}

// ETag returns the ETag of an object as observed, or "".
func (o *Objects) ETag(key string) string { return o.actual[key] }

// Topology returns the topology and its ETag if it is as Ensure wrote it for the present
// specification, or "".
func (o *Objects) Topology() (content, etag string) {
	key := o.layout.Topology()
	content, err := o.topology()
	if err != nil || !o.records.match(key, o.actual[key], content) {
		return "", ""
	}
	return content, o.actual[key]
}

// Observe lists all objects of the cluster.
func (o *Objects) Observe(ctx context.Context) error {
	o.actual = map[string]string{}
	if o.spec.Buckets.Uploads == "" {
		return nil
	}
	// Of a bucket that does not exist, there are none; Ensure fails to write to it.
	found, _, err := o.describe.Objects.Get(ctx, o.spec.Buckets.Uploads+"/"+o.layout.Prefix())
	maps.Copy(o.actual, found)
	return err
}

// Ensure writes the objects that are missing or differ, and deletes those of
// removed nodes. Credentials are determined first: the gateway's public key,
// which is part of the topology, follows from them.
func (o *Objects) Ensure(ctx context.Context) error {
	if err := o.restoreCredentials(ctx); err != nil {
		return err
	}
	credentials, err := o.wantedCredentials(ctx)
	if err != nil {
		return err
	}
	plain, err := o.plainObjects()
	if err != nil {
		return err
	}
	var steps []base.Step
	for key, content := range credentials {
		steps = append(steps, func(ctx context.Context) error {
			etag, err := o.put(ctx, key, content.text, "text/plain")
			if err == nil {
				o.records.set(key, Record{ETag: etag, Internal: content.internal})
			}
			return err
		})
	}
	for key, content := range plain {
		if o.records.match(key, o.actual[key], content) {
			continue
		}
		steps = append(steps, func(ctx context.Context) error {
			etag, err := o.put(ctx, key, content, contentType(key))
			if err == nil {
				o.records.set(key, Record{ETag: etag, SHA256: digest(content)})
			}
			return err
		})
	}
	steps = append(steps, o.ensureCertificates, func(ctx context.Context) error { return o.deleteStale(ctx, plain) })
	return base.ParallelAll(ctx, steps...)
}

func contentType(key string) string {
	switch path.Ext(key) {
	case ".json":
		return "application/json"
	case ".pem":
		return "application/x-pem-file"
	}
	return "text/plain"
}

// put writes an object and returns its ETag.
func (o *Objects) put(ctx context.Context, key, content, contentType string) (string, error) {
	out, err := awswait.Retry(ctx, awswait.BucketConflict, isBucketNotVisible, func(ctx context.Context) (*s3.PutObjectOutput, error) {
		return o.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &o.spec.Buckets.Uploads, Key: &key,
			Body: bytes.NewReader([]byte(content)), ContentType: &contentType})
	})
	if err != nil {
		return "", fmt.Errorf("write s3://%s/%s: %w", o.spec.Buckets.Uploads, key, err)
	}
	return aws.ToString(out.ETag), nil
}

// isBucketNotVisible reports whether err is one that S3 may answer with shortly
// after a bucket was created: it is unknown, or still being configured.
func isBucketNotVisible(err error) bool {
	return awswait.HasCode(err, "NoSuchBucket") || awswait.IsBucketConflict(err)
}

// Drift describes the objects that were deleted or changed since they were
// written.
func (o *Objects) Drift(context.Context) []string {
	if o.spec.Buckets.Uploads == "" {
		return nil
	}
	var found []string
	for _, role := range o.spec.Roles() {
		key := o.layout.Credentials(role)
		recorded := o.records.etag(key) != ""
		if o.actual[key] == "" && !recorded { // with a record, it is found below
			found = append(found, "credentials of role "+string(role)+" do not exist")
		}
		if lacking := o.lacking(role); recorded && len(lacking) > 0 {
			found = append(found, fmt.Sprintf("credentials of role %s lack %s, which the provider generates since its update", role, strings.Join(lacking, ", ")))
		}
	}
	for _, user := range o.operators() {
		if key := o.layout.OperatorCredentials(user); o.actual[key] == "" && o.records.etag(key) == "" {
			found = append(found, key+" does not exist")
		}
	}
	found = append(found, o.driftOfCertificates()...)
	written := o.Records()
	for _, key := range slices.Sorted(maps.Keys(written)) {
		etag := o.actual[key]
		switch {
		case etag == "":
			found = append(found, key+" was deleted")
		case etag != written[key].ETag:
			found = append(found, key+" was changed")
		}
	}
	return found
}
