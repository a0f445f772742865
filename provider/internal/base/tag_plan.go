package base

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/hashicorp/terraform-plugin-framework-validators/mapvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	tftypes "github.com/hashicorp/terraform-plugin-framework/types"
)

// AWS's limits on the tags of a resource, in characters (EC2 user guide, "Tag your
// Amazon EC2 resources"; IAM and S3 have the same). Tags of AWS itself do not count.
const (
	maxTags     = 50
	maxTagKey   = 128
	maxTagValue = 256
)

// TagRules are the rules for the tags of one type of resource.
type TagRules struct {
	// Extra is how many tags the provider sets besides Name, TagName, TagManagedBy and TagClaim,
	// on the object of the resource with the most.
	Extra int
	// Service is IAM or S3 if tags are set on objects of that service, which allow
	// fewer characters than EC2.
	Service string
	// Parts returns the tags of parts of the resource that have tags of their own, by
	// the part's name; nil if there are none. They override those of the resource.
	Parts func(ctx context.Context, from Attributes, diags *diag.Diagnostics) map[string]TagAttribute
}

// Attributes is a plan or a state.
type Attributes interface {
	GetAttribute(ctx context.Context, path path.Path, target any) diag.Diagnostics
}

// TagAttribute is a map of tags at a path.
type TagAttribute struct {
	Path path.Path
	Tags tftypes.Map
}

var tagsPath = path.Root("tags")

// PlanTags plans tags_all from default_tags and the configured tags, so that a
// change of either and drift cause an update. It refuses what AWS would refuse, and
// keeps in the private state which keys the provider sets.
func (p *ProviderData) PlanTags(ctx context.Context, rules TagRules, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if req.Plan.Raw.IsNull() {
		return
	}
	var tags tftypes.Map
	resp.Diagnostics.Append(req.Plan.GetAttribute(ctx, tagsPath, &tags)...)
	if resp.Diagnostics.HasError() {
		return
	}
	all := tftypes.MapUnknown(tftypes.StringType)
	if own, known := TagMap(tags); known {
		all = mapValue(p.Tags.Merge(own))
	}
	resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("tags_all"), all)...)
	parts := rules.partsOf(ctx, req.Plan, &resp.Diagnostics)
	p.Tags.check(rules, TagAttribute{tagsPath, tags}, parts, &resp.Diagnostics)

	keys := readTagKeys(ctx, req.Private, &resp.Diagnostics)
	keys.add("", all)
	for part, a := range parts {
		keys.add(part, a.Tags)
	}
	if !req.State.Raw.IsNull() {
		var former tftypes.Map
		resp.Diagnostics.Append(req.State.GetAttribute(ctx, path.Root("tags_all"), &former)...)
		keys.add("", former)
		for part, a := range rules.partsOf(ctx, req.State, &resp.Diagnostics) {
			keys.add(part, a.Tags)
		}
	}
	resp.Diagnostics.Append(writeTagKeys(ctx, resp.Private, keys)...)
}

func (r TagRules) partsOf(ctx context.Context, from Attributes, diags *diag.Diagnostics) map[string]TagAttribute {
	if r.Parts == nil {
		return nil
	}
	return r.Parts(ctx, from, diags)
}

// check checks the tags of a resource, and of each part together with them.
func (s TagSettings) check(rules TagRules, tags TagAttribute, parts map[string]TagAttribute, diags *diag.Diagnostics) {
	s.checkMerged(rules, diags, tags)
	s.warnIgnored(tags, diags)
	if diags.HasError() {
		return // once is enough
	}
	for _, part := range slices.Sorted(maps.Keys(parts)) {
		s.checkMerged(rules, diags, tags, parts[part])
		s.warnIgnored(parts[part], diags)
	}
}

// mergedTag is one of the tags of a resource. The attribute at has it, or the
// provider's default_tags if at is empty.
type mergedTag struct {
	key, value string // value is "" if it is not known yet
	at         path.Path
}

func (t mergedTag) attribute() string {
	if t.at.Equal(path.Empty()) {
		return "default_tags"
	}
	return t.at.String()
}

func (t mergedTag) addError(diags *diag.Diagnostics, summary, format string, args ...any) {
	detail := fmt.Sprintf(format, args...)
	if t.at.Equal(path.Empty()) {
		diags.AddError(summary, detail)
		return
	}
	diags.AddAttributeError(t.at.AtMapKey(t.key), summary, detail)
}

// checkMerged checks the tags of one object: the default tags and those of the
// attributes, the later of which override the earlier ones.
func (s TagSettings) checkMerged(rules TagRules, diags *diag.Diagnostics, attributes ...TagAttribute) {
	merged := map[string]mergedTag{}
	for key, value := range s.Default {
		merged[key] = mergedTag{key, value, path.Empty()}
	}
	for _, a := range attributes {
		for key, value := range a.Tags.Elements() {
			if text, ok := value.(tftypes.String); ok && !text.IsNull() {
				merged[key] = mergedTag{key, text.ValueString(), a.Path}
			}
		}
	}
	maps.DeleteFunc(merged, func(key string, _ mergedTag) bool { return s.Ignores(key) })
	byFoldedKey := map[string]mergedTag{}
	for _, key := range slices.Sorted(maps.Keys(merged)) {
		tag := merged[key]
		if rules.Service != "" {
			tag.checkCharacters(rules.Service, diags)
		}
		if other, twice := byFoldedKey[strings.ToLower(key)]; twice {
			tag.addError(diags, "Two keys differ only in case",
				"%s has tag %q and %s has tag %q. IAM takes them for one key, so no resource may have both; use one spelling.",
				other.attribute(), other.key, tag.attribute(), key)
		}
		byFoldedKey[strings.ToLower(key)] = tag
	}
	rules.checkNumber(merged, attributes, diags)
}

// allowedCharacters describes the characters that isAllowed allows.
const allowedCharacters = "letters, digits, spaces and _ . : / = + - @"

// isAllowed reports whether IAM and S3 allow a character in tags: the pattern
// [\p{L}\p{Z}\p{N}_.:/=+\-@]* (IAM API reference, "Tag"; S3 user guide, "Using cost
// allocation S3 bucket tags").
func isAllowed(r rune) bool {
	return unicode.In(r, unicode.L, unicode.Z, unicode.N) || strings.ContainsRune("_.:/=+-@", r)
}

func (t mergedTag) checkCharacters(service string, diags *diag.Diagnostics) {
	for _, text := range []struct{ what, text string }{{"key", t.key}, {"value", t.value}} {
		for _, r := range text.text {
			if !isAllowed(r) {
				t.addError(diags, "Character not allowed in a tag", "The %s of tag %q in %s has the character %q. %s allows only %s.",
					text.what, t.key, t.attribute(), r, service, allowedCharacters)
				break
			}
		}
	}
}

func (r TagRules) checkNumber(merged map[string]mergedTag, attributes []TagAttribute, diags *diag.Diagnostics) {
	own := 4 + r.Extra
	if _, configured := merged[displayNameTag]; configured {
		own--
	}
	if len(merged)+own <= maxTags {
		return
	}
	names := []string{"default_tags"}
	for _, a := range attributes {
		names = append(names, a.Path.String())
	}
	diags.AddAttributeError(attributes[len(attributes)-1].Path, "Too many tags",
		fmt.Sprintf("%s have %d different keys, and the provider sets %d tags of its own. AWS allows %d tags on a resource; remove %d.",
			strings.Join(names, " and "), len(merged), own, maxTags, len(merged)+own-maxTags))
}

// warnIgnored warns of configured tags that ignore_tags has.
func (s TagSettings) warnIgnored(a TagAttribute, diags *diag.Diagnostics) {
	for _, key := range slices.Sorted(maps.Keys(a.Tags.Elements())) {
		if s.Ignores(key) && hasValue(a.Tags, key) {
			diags.AddAttributeWarning(a.Path.AtMapKey(key), "Tag is ignored",
				fmt.Sprintf("The provider's ignore_tags has the key %q, so this tag is neither set nor removed. Remove it from %s or from ignore_tags.", key, a.Path))
		}
	}
}

// TagValidators returns validators for what AWS requires of each tag.
func TagValidators() []validator.Map {
	return []validator.Map{
		mapvalidator.KeysAre(stringvalidator.UTF8LengthBetween(1, maxTagKey), noReservedPrefix{}),
		mapvalidator.ValueStringsAre(stringvalidator.UTF8LengthAtMost(maxTagValue)),
	}
}

type noReservedPrefix struct{}

func (noReservedPrefix) Description(context.Context) string {
	return "the key of a tag must not start with aws: or " + reservedPrefix
}

func (v noReservedPrefix) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

func (v noReservedPrefix) ValidateString(ctx context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	if isReserved(req.ConfigValue.ValueString()) {
		resp.Diagnostics.AddAttributeError(req.Path, "Reserved tag", v.Description(ctx)+"; choose another key than "+req.ConfigValue.ValueString()+".")
	}
}
