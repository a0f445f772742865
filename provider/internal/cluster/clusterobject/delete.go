package clusterobject

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/xeroops/xeroops/internal/awswait"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// maxDelete is the maximum number of objects in one DeleteObjects (S3 API
// reference).
const maxDelete = 1000

// deleteStale deletes the settings, certificates and boot reports of removed nodes.
func (o *Objects) deleteStale(ctx context.Context, plain map[string]string) error {
	all, err := o.authorities()
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	for key := range plain {
		wanted[key] = true
	}
	for _, a := range all {
		wanted[a.bundle] = true
		for key := range a.certificates {
			wanted[key] = true
		}
	}
	ofNodes := []string{o.layout.InstanceConfigs()}
	for _, role := range model.Roles() {
		ofNodes = append(ofNodes, o.layout.Certificates(role))
	}
	var stale []string
	for key := range o.actual {
		if !wanted[key] && slices.ContainsFunc(ofNodes, func(prefix string) bool { return strings.HasPrefix(key, prefix) }) {
			stale = append(stale, key)
		}
		if name, isReport := strings.CutPrefix(key, o.layout.Reports()); isReport {
			if _, wanted := o.spec.Nodes[strings.TrimSuffix(name, ".json")]; !wanted {
				stale = append(stale, key)
			}
		}
	}
	o.records.remove(stale...)
	var ids []s3types.ObjectIdentifier
	for _, key := range stale {
		ids = append(ids, s3types.ObjectIdentifier{Key: aws.String(key)})
	}
	return o.deleteVersions(ctx, ids)
}

// ownPrefixes returns the prefixes of the objects that belong to the resource.
// The edge's certificates, WAF rules and VPN peers do not, and are kept.
func (o *Objects) ownPrefixes() []string {
	return []string{o.layout.Topology(), o.layout.InstanceConfigs(), o.layout.Prefix() + "credentials/", o.layout.Reports(), o.layout.VPNAddresses()}
}

// Delete deletes all versions of the resource's own objects, so that secrets do
// not remain as old versions.
func (o *Objects) Delete(ctx context.Context) error {
	if o.spec.Buckets.Uploads == "" {
		return nil
	}
	return base.ParallelAll(ctx, base.StepsFor(o.ownPrefixes(), func(ctx context.Context, _ int, prefix string) error {
		return o.deletePrefix(ctx, prefix)
	})...)
}

func (o *Objects) deletePrefix(ctx context.Context, prefix string) error {
	pages := s3.NewListObjectVersionsPaginator(o.client, &s3.ListObjectVersionsInput{Bucket: &o.spec.Buckets.Uploads, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if awswait.HasCode(err, "NoSuchBucket") {
			return nil
		}
		if err != nil {
			return err
		}
		var ids []s3types.ObjectIdentifier
		for _, v := range page.Versions {
			ids = append(ids, s3types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
		}
		for _, m := range page.DeleteMarkers {
			ids = append(ids, s3types.ObjectIdentifier{Key: m.Key, VersionId: m.VersionId})
		}
		if err := o.deleteVersions(ctx, ids); err != nil {
			return err
		}
	}
	return nil
}

func (o *Objects) deleteVersions(ctx context.Context, ids []s3types.ObjectIdentifier) error {
	for chunk := range slices.Chunk(ids, maxDelete) {
		out, err := o.client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &o.spec.Buckets.Uploads,
			Delete: &s3types.Delete{Objects: chunk, Quiet: aws.Bool(true)}})
		if err != nil {
			return fmt.Errorf("delete objects in bucket %s: %w", o.spec.Buckets.Uploads, err)
		}
		if len(out.Errors) > 0 { // DeleteObjects succeeds also if some objects fail
			first := out.Errors[0]
			return fmt.Errorf("delete objects in bucket %s: %d of %d failed, first %s: %s: %s", o.spec.Buckets.Uploads,
				len(out.Errors), len(chunk), aws.ToString(first.Key), aws.ToString(first.Code), aws.ToString(first.Message))
		}
	}
	return nil
}
