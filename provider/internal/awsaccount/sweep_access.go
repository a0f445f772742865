package main

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/xeroops/xeroops/internal/awswait"
)

// roles deletes the roles and instance profiles of the cluster, which are found by
// their path.
func (s *sweeper) roles(ctx context.Context) error {
	path := aws.String("/xeroops/" + s.region + "/" + project + "/")
	profiles, err := s.iam.ListInstanceProfiles(ctx, &iam.ListInstanceProfilesInput{PathPrefix: path})
	if err != nil {
		return err
	}
	for _, p := range profiles.InstanceProfiles {
		err = errors.Join(err, s.delete(ctx, "instance profile", p.InstanceProfileName, func(ctx context.Context) error {
			for _, r := range p.Roles {
				if _, err := s.iam.RemoveRoleFromInstanceProfile(ctx, &iam.RemoveRoleFromInstanceProfileInput{
					InstanceProfileName: p.InstanceProfileName, RoleName: r.RoleName}); awswait.Ignore(err, awswait.IsNotFound) != nil {
					return err
				}
			}
			_, err := s.iam.DeleteInstanceProfile(ctx, &iam.DeleteInstanceProfileInput{InstanceProfileName: p.InstanceProfileName})
			return err
		}))
	}
	roles, listed := s.iam.ListRoles(ctx, &iam.ListRolesInput{PathPrefix: path})
	if listed != nil {
		return errors.Join(err, listed)
	}
	for _, r := range roles.Roles {
		err = errors.Join(err, s.delete(ctx, "role", r.RoleName, func(ctx context.Context) error { return s.role(ctx, r.RoleName) }))
	}
	return err
}

func (s *sweeper) role(ctx context.Context, name *string) error {
	inline, err := s.iam.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: name})
	if err != nil {
		return err
	}
	for _, policy := range inline.PolicyNames {
		if _, err := s.iam.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: name, PolicyName: &policy}); err != nil {
			return err
		}
	}
	_, err = s.iam.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: name})
	return err
}

// buckets deletes the account's buckets with the tag, and their content.
func (s *sweeper) buckets(ctx context.Context) error {
	out, err := s.s3.ListBuckets(ctx, nil)
	if err != nil {
		return err
	}
	for _, b := range out.Buckets {
		if !strings.HasSuffix(aws.ToString(b.Name), "-"+s.account) {
			continue
		}
		tags, tagsErr := s.s3.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: b.Name, ExpectedBucketOwner: &s.account})
		if tagsErr != nil || !hasProject(tags.TagSet) {
			continue // not ours, or in another region
		}
		err = errors.Join(err, s.delete(ctx, "bucket", b.Name, func(ctx context.Context) error { return s.bucket(ctx, b.Name) }))
	}
	return err
}

func hasProject(tags []s3types.Tag) bool {
	for _, t := range tags {
		if aws.ToString(t.Key) == "project" && aws.ToString(t.Value) == project {
			return true
		}
	}
	return false
}

func (s *sweeper) bucket(ctx context.Context, name *string) error {
	pages := s3.NewListObjectVersionsPaginator(s.s3, &s3.ListObjectVersionsInput{Bucket: name, ExpectedBucketOwner: &s.account})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		var batch []s3types.ObjectIdentifier // a page has at most 1,000, the limit of DeleteObjects
		for _, v := range page.Versions {
			batch = append(batch, s3types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
		}
		for _, m := range page.DeleteMarkers {
			batch = append(batch, s3types.ObjectIdentifier{Key: m.Key, VersionId: m.VersionId})
		}
		if len(batch) == 0 {
			continue
		}
		if _, err := s.s3.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: name, ExpectedBucketOwner: &s.account, Delete: &s3types.Delete{Objects: batch}}); err != nil {
			return err
		}
	}
	_, err := s.s3.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: name, ExpectedBucketOwner: &s.account})
	return err
}
