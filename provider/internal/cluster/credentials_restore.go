package cluster

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

// restoreCredentials puts back the credentials that somebody changed or deleted
// since they were written, out of the bucket's own versions: they hold secrets
// that cannot be made again, such as the key of the backups. What is there and
// was not written by this state, as after an import, counts from now on.
func (w *work) restoreCredentials(ctx context.Context) error {
	roles := model.Roles()
	restored := make([]string, len(roles)) // ETags
	lost := make([]bool, len(roles))
	err := base.ParallelAll(ctx, stepsFor(roles, func(ctx context.Context, n int, role model.Role) (err error) {
		key := w.layout().Credentials(role)
		written, is := w.objects.etagOf(key), w.seen.objects[key]
		switch written {
		case is:
		case "":
			w.objects.noteSecret(key, is)
		default:
			restored[n], err = w.restore(ctx, key, written)
			lost[n] = err == nil && restored[n] == ""
		}
		return err
	})...)
	// What was written is lost: at least what the customer gave can be written again.
	w.rewriteCredentials = w.rewriteCredentials || slices.Contains(lost, true)
	for n, role := range roles {
		if restored[n] != "" {
			w.seen.objects[w.layout().Credentials(role)] = restored[n]
		}
	}
	return err
}

// restore copies the version of that ETag over the object and returns the ETag
// of the copy, or "" where the bucket has no such version (any more).
func (w *work) restore(ctx context.Context, key, written string) (string, error) {
	version, err := w.findVersion(ctx, key, written)
	if err != nil {
		return "", fmt.Errorf("look for the version of s3://%s/%s that was written: %w", w.spec.Buckets.Uploads, key, err)
	}
	if version == "" {
		w.objects.forget([]string{key}) // what is there counts now
		return "", nil
	}
	source := url.PathEscape(w.spec.Buckets.Uploads) + "/" + (&url.URL{Path: key}).EscapedPath() + "?versionId=" + url.QueryEscape(version)
	out, err := w.Client.S3.CopyObject(ctx, &s3.CopyObjectInput{Bucket: &w.spec.Buckets.Uploads, Key: &key, CopySource: &source})
	if err != nil {
		return "", fmt.Errorf("restore s3://%s/%s: %w", w.spec.Buckets.Uploads, key, err)
	}
	etag := aws.ToString(out.CopyObjectResult.ETag)
	w.objects.noteSecret(key, etag)
	return etag, nil
}

// findVersion returns the id of an object's version with that ETag, or "".
func (w *work) findVersion(ctx context.Context, key, etag string) (string, error) {
	pages := s3.NewListObjectVersionsPaginator(w.Client.S3, &s3.ListObjectVersionsInput{Bucket: &w.spec.Buckets.Uploads, Prefix: &key})
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
