package clusterobject

import (
	"context"
	"fmt"
	"net/url"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/xeroops/xeroops/internal/awswait"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// restoreCredentials restores the credentials that somebody changed or deleted
// since they were written from the bucket's versions: they contain secrets that
// cannot be generated again, such as the key of the backups. Credentials without
// a record, as after an import, are recorded as they are.
func (o *Objects) restoreCredentials(ctx context.Context) error {
	roles := model.Roles()
	restored := make([]string, len(roles)) // ETags
	lost := make([]bool, len(roles))
	err := base.ParallelAll(ctx, base.StepsFor(roles, func(ctx context.Context, n int, role model.Role) (err error) {
		key := o.layout.Credentials(role)
		written, actual := o.records.etag(key), o.actual[key]
		switch written {
		case actual:
		case "":
			o.records.set(key, Record{ETag: actual})
		default:
			restored[n], err = o.restore(ctx, key, written)
			lost[n] = err == nil && restored[n] == ""
		}
		return err
	})...)
	// The configured credentials, at least, can be written again.
	o.RewriteCredentials = o.RewriteCredentials || slices.Contains(lost, true)
	for n, role := range roles {
		if restored[n] != "" {
			o.actual[o.layout.Credentials(role)] = restored[n]
		}
	}
	return err
}

// restore copies the version with that ETag over the object and returns the
// ETag of the copy, or "" if the bucket has no such version.
func (o *Objects) restore(ctx context.Context, key, written string) (string, error) {
	version, err := o.findVersion(ctx, key, written)
	if err != nil {
		return "", fmt.Errorf("find the written version of s3://%s/%s: %w", o.spec.Buckets.Uploads, key, err)
	}
	if version == "" {
		o.records.remove(key) // the current version becomes the valid one
		return "", nil
	}
	source := url.PathEscape(o.spec.Buckets.Uploads) + "/" + (&url.URL{Path: key}).EscapedPath() + "?versionId=" + url.QueryEscape(version)
	out, err := o.client.CopyObject(ctx, &s3.CopyObjectInput{Bucket: &o.spec.Buckets.Uploads, Key: &key, CopySource: &source})
	if err != nil {
		return "", fmt.Errorf("restore s3://%s/%s: %w", o.spec.Buckets.Uploads, key, err)
	}
	etag := aws.ToString(out.CopyObjectResult.ETag)
	o.records.set(key, Record{ETag: etag, Internal: o.records.internal(key)})
	return etag, nil
}

// findVersion returns the id of the version of an object that has the ETag, or
// "".
func (o *Objects) findVersion(ctx context.Context, key, etag string) (string, error) {
	pages := s3.NewListObjectVersionsPaginator(o.client, &s3.ListObjectVersionsInput{Bucket: &o.spec.Buckets.Uploads, Prefix: &key})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", awswait.Ignore(err, awswait.IsNotFound)
		}
		for _, v := range page.Versions {
			if aws.ToString(v.Key) == key && aws.ToString(v.ETag) == etag {
				return aws.ToString(v.VersionId), nil
			}
		}
	}
	return "", nil
}
