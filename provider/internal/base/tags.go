package base

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	tftypes "github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/internal/cluster"
)

// Tags that the provider sets itself. Customers' tags must not start with
// reservedPrefix, and the attributes tags and tags_all do not show them.
const (
	reservedPrefix = "xeroops:"

	TagName      = cluster.TagName
	TagManagedBy = "xeroops:managed-by" // managedBy
	TagCluster   = cluster.TagCluster
	TagNode      = cluster.TagNode
	TagRole      = cluster.TagRole

	managedBy = "terraform"
)

// displayNameTag is the tag that the AWS console shows as a resource's name.
const displayNameTag = "Name"

// TagsAttribute returns the attribute tags.
func TagsAttribute() schema.MapAttribute {
	return schema.MapAttribute{
		ElementType: tftypes.StringType,
		Optional:    true,
		MarkdownDescription: "Tags of the resource, in addition to the provider's `default_tags`. They override default tags with the same key. " +
			"A tag whose value is null is not set. Tags that others add to the resource stay.",
		Validators: TagValidators(),
	}
}

// TagsAllAttribute returns the attribute tags_all.
func TagsAllAttribute() schema.MapAttribute {
	return schema.MapAttribute{
		ElementType:         tftypes.StringType,
		Computed:            true,
		MarkdownDescription: "All tags that the provider sets on the resource, including `default_tags` and without `ignore_tags`.",
	}
}

// TagSettings are the provider's settings for the tags of all resources.
type TagSettings struct {
	Default                    map[string]string // default_tags
	IgnoreKeys, IgnorePrefixes []string          // ignore_tags
}

// Ignores reports whether ignore_tags has the key of a customer's tag. Such a tag is
// not read, set or removed.
func (s TagSettings) Ignores(key string) bool {
	if isReserved(key) {
		return false
	}
	return slices.Contains(s.IgnoreKeys, key) || slices.ContainsFunc(s.IgnorePrefixes, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
}

// Merge returns the tags of several attributes, the later of which override the
// earlier ones, with the default tags and without ignored ones.
func (s TagSettings) Merge(attributes ...map[string]string) map[string]string {
	all := merge(append([]map[string]string{s.Default}, attributes...)...)
	maps.DeleteFunc(all, func(key, _ string) bool { return s.Ignores(key) })
	return all
}

// TagMap returns the content of a map attribute without null values, and whether all
// of it is known.
func TagMap(m tftypes.Map) (tags map[string]string, known bool) {
	tags = map[string]string{}
	if m.IsUnknown() {
		return nil, false
	}
	for k, v := range m.Elements() {
		s, ok := v.(tftypes.String)
		if !ok || s.IsUnknown() {
			return nil, false
		}
		if !s.IsNull() {
			tags[k] = s.ValueString()
		}
	}
	return tags, true
}

func merge(ms ...map[string]string) map[string]string {
	all := map[string]string{}
	for _, m := range ms {
		maps.Copy(all, m)
	}
	return all
}

func mapValue[V string | tftypes.String](m map[string]V) tftypes.Map {
	value, diags := tftypes.MapValueFrom(context.Background(), tftypes.StringType, m)
	if diags.HasError() {
		panic("convert a map of strings") // does not happen
	}
	return value
}

// EC2Tags returns the tags of a resource: the customer's (tagsAll), the provider's
// own, and extra.
func EC2Tags(name string, tagsAll tftypes.Map, extra map[string]string) []types.Tag {
	own, _ := TagMap(tagsAll)
	return ExpandEC2Tags(AllTags(name, own, extra))
}

// ExpandEC2Tags returns a map as EC2 tags, sorted by key.
func ExpandEC2Tags(m map[string]string) []types.Tag {
	var tags []types.Tag
	for _, k := range slices.Sorted(maps.Keys(m)) {
		tags = append(tags, types.Tag{Key: aws.String(k), Value: aws.String(m[k])})
	}
	return tags
}

// AllTags returns the tags of a resource: the customer's, the provider's own, and
// extra.
func AllTags(name string, customers, extra map[string]string) map[string]string {
	return merge(map[string]string{displayNameTag: name}, customers, extra, ownTags(name))
}

// AllTagsWithoutName is like AllTags, but Name is only the customer's: IAM ignores
// the case of keys, so the provider's Name would be the customer's name.
func AllTagsWithoutName(name string, customers, extra map[string]string) map[string]string {
	return merge(customers, extra, ownTags(name))
}

func ownTags(name string) map[string]string {
	return map[string]string{TagName: name, TagManagedBy: managedBy}
}

// FlattenEC2Tags returns EC2 tags as a map.
func FlattenEC2Tags(tags []types.Tag) map[string]string {
	m := map[string]string{}
	for _, t := range tags {
		m[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return m
}

// TagsFromAWS returns the values of tags and tags_all for the actual tags. It omits
// the tags of the provider, of AWS and of others. Tags that the state does not have
// belong to others, except after an import, when tags_all is null. tags also omits
// default tags, unless the state has them in tags, and keeps those of the state that
// are null or ignored.
func (s TagSettings) TagsFromAWS(actual map[string]string, stateTags, stateAll tftypes.Map) (tags, tagsAll tftypes.Map) {
	imported := stateAll.IsNull()
	own, all := map[string]tftypes.String{}, map[string]string{}
	for k, v := range actual {
		listed := hasValue(stateTags, k)
		byDefault, isDefault := s.Default[k]
		switch {
		case isReserved(k) || s.Ignores(k):
			continue
		case listed || hasValue(stateAll, k):
		case k == displayNameTag && !isDefault:
			if v == actual[TagName] {
				continue // the provider's; with another value, it was changed
			}
		case !imported:
			continue
		}
		all[k] = v
		if listed || imported && (!isDefault || byDefault != v) {
			own[k] = tftypes.StringValue(v)
		}
	}
	for k, v := range stateTags.Elements() {
		if value, ok := v.(tftypes.String); ok && (value.IsNull() || s.Ignores(k)) {
			own[k] = value
		}
	}
	if len(own) == 0 && stateTags.IsNull() {
		return stateTags, mapValue(all)
	}
	return mapValue(own), mapValue(all)
}

// isReserved reports whether a key is one of AWS or of the provider.
func isReserved(key string) bool {
	key = strings.ToLower(key)
	return strings.HasPrefix(key, "aws:") || strings.HasPrefix(key, reservedPrefix)
}

func hasValue(m tftypes.Map, key string) bool {
	value, ok := m.Elements()[key]
	return ok && !value.IsNull()
}

// IsManagedAs reports whether tags belong to a resource that the provider created
// under name.
func IsManagedAs(name string, tags map[string]string) bool {
	return tags[TagName] == name && tags[TagManagedBy] == managedBy
}
