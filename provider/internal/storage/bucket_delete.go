package storage

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// maxKept is the maximum number of objects that an error names.
const maxKept = 5

// delete deletes a bucket, with its content if force is true. It repeats this
// because objects may be written concurrently.
func (r *bucketResource) delete(ctx context.Context, m bucketModel) error {
	name, force := m.ID.ValueString(), m.ForceDestroy.ValueBool()
	_, err := awswait.Retry(ctx, awswait.DependencyRelease, func(err error) bool { return awswait.IsBucketConflict(err) || force && isNotEmpty(err) },
		func(ctx context.Context) (any, error) {
			_, err := r.Client.S3.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &name})
			if force && isNotEmpty(err) {
				if err := r.empty(ctx, name); err != nil {
					return nil, err
				}
				_, err = r.Client.S3.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &name})
			}
			return nil, awswait.Ignore(err, isNoBucket)
		})
	if isNotEmpty(err) && !force {
		err = base.AtAttribute(path.Root("force_destroy"), fmt.Errorf(
			"the bucket is not empty; to delete all objects with all versions, set force_destroy = true, apply, and destroy again: %w", err))
	}
	var kept *keptError
	if isNotEmpty(err) || errors.As(err, &kept) {
		return explainLock(m.ObjectLock, err)
	}
	return err
}

// keptError is the error of objects that S3 did not delete.
type keptError struct{ error }

func (e *keptError) Unwrap() error { return e.error }

func isNotEmpty(err error) bool { return awswait.HasCode(err, "BucketNotEmpty") }

// empty deletes all objects with their versions and delete markers.
func (r *bucketResource) empty(ctx context.Context, name string) error {
	pages := s3.NewListObjectVersionsPaginator(r.Client.S3, &s3.ListObjectVersionsInput{Bucket: &name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if isNoBucket(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list the objects: %w", err)
		}
		var batch []s3types.ObjectIdentifier // a page has at most 1,000, the limit of DeleteObjects
		for _, v := range page.Versions {
			batch = append(batch, s3types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
		}
		for _, marker := range page.DeleteMarkers {
			batch = append(batch, s3types.ObjectIdentifier{Key: marker.Key, VersionId: marker.VersionId})
		}
		if len(batch) == 0 {
			continue
		}
		out, err := r.Client.S3.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &name, Delete: &s3types.Delete{Objects: batch, Quiet: aws.Bool(true)}})
		if err != nil {
			return fmt.Errorf("delete objects: %w", err)
		}
		if len(out.Errors) > 0 {
			return kept(out.Errors)
		}
	}
	return nil
}

// kept returns an error with the objects that S3 did not delete. Their errors are
// in a successful response.
func kept(failed []s3types.Error) error {
	var errs []error
	for i, f := range failed {
		if i == maxKept {
			errs = append(errs, fmt.Errorf("and %d more", len(failed)-maxKept))
			break
		}
		errs = append(errs, fmt.Errorf("%s (version %s): %s: %s", aws.ToString(f.Key), aws.ToString(f.VersionId), aws.ToString(f.Code), aws.ToString(f.Message)))
	}
	return &keptError{fmt.Errorf("S3 did not delete %d objects; remove their protection and destroy again: %w", len(failed), errors.Join(errs...))}
}
