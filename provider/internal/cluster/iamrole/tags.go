package iamrole

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/xeroops/xeroops/provider/internal/base"
)

// tags returns the tags of the role or instance profile with that name.
func (r *Roles) tags(name string) map[string]string {
	customers, _ := base.TagMap(r.spec.TagsAll)
	return base.AllTagsWithoutName(name, customers, map[string]string{base.TagCluster: r.spec.Name})
}

func newTags(from map[string]string) []iamtypes.Tag {
	var tags []iamtypes.Tag
	for k, v := range from {
		tags = append(tags, iamtypes.Tag{Key: aws.String(k), Value: aws.String(v)})
	}
	return tags
}

func flattenTags(tags []iamtypes.Tag) map[string]string {
	m := map[string]string{}
	for _, t := range tags {
		m[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return m
}

// tagRole sets the tags of an existing role.
func (r *Roles) tagRole(ctx context.Context, name string) error {
	out, err := r.client.IAM.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
	if err != nil {
		return err
	}
	wanted := r.tags(name)
	set, remove := r.ManagedTags.Changes(flattenTags(out.Role.Tags), wanted)
	// Setting Owner replaces owner: keys of roles ignore case, those of instance
	// profiles do not (IAM user guide, "Tags for IAM resources").
	remove = slices.DeleteFunc(remove, func(key string) bool {
		return slices.ContainsFunc(slices.Collect(maps.Keys(wanted)), func(other string) bool { return strings.EqualFold(key, other) })
	})
	if len(set) > 0 {
		if _, err := r.client.IAM.TagRole(ctx, &iam.TagRoleInput{RoleName: &name, Tags: newTags(set)}); err != nil {
			return err
		}
	}
	if len(remove) > 0 {
		_, err = r.client.IAM.UntagRole(ctx, &iam.UntagRoleInput{RoleName: &name, TagKeys: remove})
	}
	return err
}

// tagProfile sets the tags of an existing instance profile.
func (r *Roles) tagProfile(ctx context.Context, name string) error {
	out, err := r.client.IAM.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: &name})
	if err != nil {
		return err
	}
	set, remove := r.ManagedTags.Changes(flattenTags(out.InstanceProfile.Tags), r.tags(name))
	if len(set) > 0 {
		if _, err := r.client.IAM.TagInstanceProfile(ctx, &iam.TagInstanceProfileInput{InstanceProfileName: &name, Tags: newTags(set)}); err != nil {
			return err
		}
	}
	if len(remove) > 0 {
		_, err = r.client.IAM.UntagInstanceProfile(ctx, &iam.UntagInstanceProfileInput{InstanceProfileName: &name, TagKeys: remove})
	}
	return err
}
