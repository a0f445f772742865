package base

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework-validators/mapvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
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

// AWS's limits on the tags of a resource (EC2 user guide, "Tag restrictions"),
// minus the tags that the provider sets.
const (
	maxTags        = 50 - 8
	maxTagKey      = 128
	maxTagValue    = 256
	displayNameTag = "Name" // shown by the AWS console
)

// TagsAttribute returns the attribute tags.
func TagsAttribute() schema.MapAttribute {
	return schema.MapAttribute{
		ElementType:         tftypes.StringType,
		Optional:            true,
		MarkdownDescription: "Tags of the resource, in addition to the provider's `default_tags`. They override default tags with the same key.",
		Validators:          TagValidators(),
	}
}

// TagsAllAttribute returns the attribute tags_all.
func TagsAllAttribute() schema.MapAttribute {
	return schema.MapAttribute{
		ElementType:         tftypes.StringType,
		Computed:            true,
		MarkdownDescription: "All tags of the resource, including the provider's `default_tags`.",
	}
}

// TagValidators returns validators for AWS's limits on tags.
func TagValidators() []validator.Map {
	return []validator.Map{
		mapvalidator.SizeAtMost(maxTags),
		mapvalidator.KeysAre(stringvalidator.LengthBetween(1, maxTagKey), noReservedPrefix{}),
		mapvalidator.ValueStringsAre(stringvalidator.LengthAtMost(maxTagValue)),
	}
}

type noReservedPrefix struct{}

func (noReservedPrefix) Description(context.Context) string {
	return "the key of a tag must not start with aws: or " + reservedPrefix
}

func (v noReservedPrefix) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

func (v noReservedPrefix) ValidateString(ctx context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	key := strings.ToLower(req.ConfigValue.ValueString())
	if strings.HasPrefix(key, "aws:") || strings.HasPrefix(key, reservedPrefix) {
		resp.Diagnostics.AddAttributeError(req.Path, "Reserved tag", v.Description(ctx)+"; choose another key than "+req.ConfigValue.ValueString()+".")
	}
}

// PlanTags plans tags_all from default_tags and the configured tags, so that a
// change of either and drift cause an update.
func PlanTags(ctx context.Context, defaults map[string]string, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if req.Plan.Raw.IsNull() {
		return
	}
	var tags tftypes.Map
	resp.Diagnostics.Append(req.Plan.GetAttribute(ctx, path.Root("tags"), &tags)...)
	if resp.Diagnostics.HasError() {
		return
	}
	all := tftypes.MapUnknown(tftypes.StringType)
	if own, known := TagMap(tags); known {
		all = mapValue(merge(defaults, own), false)
	}
	resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("tags_all"), all)...)
}

// TagMap returns the content of a map attribute, and whether all of it is known.
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
		tags[k] = s.ValueString()
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

func mapValue(m map[string]string, nullIfEmpty bool) tftypes.Map {
	if len(m) == 0 && nullIfEmpty {
		return tftypes.MapNull(tftypes.StringType)
	}
	value, diags := tftypes.MapValueFrom(context.Background(), tftypes.StringType, m)
	if diags.HasError() {
		panic("convert a map of strings") // does not happen
	}
	return value
}

// EC2Tags returns the tags of a resource: the customer's (tagsAll), the provider's
// own, and extra.
func EC2Tags(name string, tagsAll tftypes.Map, extra map[string]string) []types.Tag {
	var tags []types.Tag
	for k, v := range AllTags(name, tagsAll, extra) {
		tags = append(tags, types.Tag{Key: aws.String(k), Value: aws.String(v)})
	}
	slices.SortFunc(tags, func(a, b types.Tag) int { return strings.Compare(*a.Key, *b.Key) })
	return tags
}

// AllTags is like EC2Tags but returns a map, for services with their own tag type.
func AllTags(name string, tagsAll tftypes.Map, extra map[string]string) map[string]string {
	own, _ := TagMap(tagsAll)
	return merge(map[string]string{displayNameTag: name}, own, extra, map[string]string{TagName: name, TagManagedBy: managedBy})
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
// the tags of the provider and AWS. tags also omits default tags, unless the state
// has them in tags.
func TagsFromAWS(actual, defaults map[string]string, stateTags tftypes.Map) (tags, tagsAll tftypes.Map) {
	inState, _ := TagMap(stateTags)
	own, all := map[string]string{}, map[string]string{}
	for k, v := range actual {
		if isProvidersTag(k, actual, inState, defaults) {
			continue
		}
		all[k] = v
		_, listed := inState[k]
		if byDefault, ok := defaults[k]; listed || !ok || byDefault != v {
			own[k] = v
		}
	}
	emptyIsNull := stateTags.IsNull() || len(own) > 0
	return mapValue(own, emptyIsNull), mapValue(all, false)
}

// isProvidersTag reports whether a tag belongs to AWS or the provider. Name is the
// provider's if it is the resource's name and not configured.
func isProvidersTag(key string, actual, inState, defaults map[string]string) bool {
	if strings.HasPrefix(key, "aws:") || strings.HasPrefix(key, reservedPrefix) {
		return true
	}
	_, listed := inState[key]
	_, byDefault := defaults[key]
	return key == displayNameTag && !listed && !byDefault && actual[key] == actual[TagName]
}

// TagChanges returns the tags to set and the keys to remove to change actual,
// including the provider's own tags, to wanted. AWS's own tags stay.
func TagChanges(actual, wanted map[string]string) (set map[string]string, remove []string) {
	set = map[string]string{}
	for k, v := range wanted {
		if have, ok := actual[k]; !ok || have != v {
			set[k] = v
		}
	}
	for k := range actual {
		if _, ok := wanted[k]; !ok && !strings.HasPrefix(k, "aws:") {
			remove = append(remove, k)
		}
	}
	slices.Sort(remove)
	return set, remove
}

// IsManagedAs reports whether tags belong to a resource that the provider created
// under name.
func IsManagedAs(name string, tags map[string]string) bool {
	return tags[TagName] == name && tags[TagManagedBy] == managedBy
}
