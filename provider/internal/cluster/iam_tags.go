package cluster

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/xeroops/xeroops/provider/internal/base"
)

// iamTags are the tags that a role or instance profile should have.
func (w *work) iamTags(name string) map[string]string {
	return base.AllTags(name, w.spec.TagsAll, map[string]string{base.TagCluster: w.spec.Name})
}

func newIAMTags(from map[string]string) []iamtypes.Tag {
	var tags []iamtypes.Tag
	for k, v := range from {
		tags = append(tags, iamtypes.Tag{Key: aws.String(k), Value: aws.String(v)})
	}
	return tags
}

func flattenIAMTags(tags []iamtypes.Tag) map[string]string {
	m := map[string]string{}
	for _, t := range tags {
		m[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return m
}

// tagRole makes an existing role's tags what is wanted.
func (w *work) tagRole(ctx context.Context, name string) error {
	out, err := w.Client.IAM.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
	if err != nil {
		return err
	}
	set, remove := base.TagChanges(flattenIAMTags(out.Role.Tags), w.iamTags(name))
	if len(set) > 0 {
		if _, err := w.Client.IAM.TagRole(ctx, &iam.TagRoleInput{RoleName: &name, Tags: newIAMTags(set)}); err != nil {
			return err
		}
	}
	if len(remove) > 0 {
		_, err = w.Client.IAM.UntagRole(ctx, &iam.UntagRoleInput{RoleName: &name, TagKeys: remove})
	}
	return err
}

// tagProfile makes an existing instance profile's tags what is wanted.
func (w *work) tagProfile(ctx context.Context, name string) error {
	out, err := w.Client.IAM.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: &name})
	if err != nil {
		return err
	}
	set, remove := base.TagChanges(flattenIAMTags(out.InstanceProfile.Tags), w.iamTags(name))
	if len(set) > 0 {
		if _, err := w.Client.IAM.TagInstanceProfile(ctx, &iam.TagInstanceProfileInput{InstanceProfileName: &name, Tags: newIAMTags(set)}); err != nil {
			return err
		}
	}
	if len(remove) > 0 {
		_, err = w.Client.IAM.UntagInstanceProfile(ctx, &iam.UntagInstanceProfileInput{InstanceProfileName: &name, TagKeys: remove})
	}
	return err
}
