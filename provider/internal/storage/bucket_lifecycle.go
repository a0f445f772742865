package storage

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/listvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

type lifecycleModel struct {
	Prefix                types.String      `tfsdk:"prefix"`
	ExpireDays            types.Int64       `tfsdk:"expire_days"`
	NoncurrentExpireDays  types.Int64       `tfsdk:"noncurrent_expire_days"`
	Transitions           []transitionModel `tfsdk:"transitions"`
	NoncurrentTransitions []transitionModel `tfsdk:"noncurrent_transitions"`
}

type transitionModel struct {
	Days         types.Int64  `tfsdk:"days"`
	StorageClass types.String `tfsdk:"storage_class"`
}

func (m lifecycleModel) equal(o lifecycleModel) bool {
	return m.Prefix.Equal(o.Prefix) && m.ExpireDays.Equal(o.ExpireDays) && m.NoncurrentExpireDays.Equal(o.NoncurrentExpireDays) &&
		slices.Equal(m.Transitions, o.Transitions) && slices.Equal(m.NoncurrentTransitions, o.NoncurrentTransitions)
}

// storageClasses are the classes that a lifecycle rule can move objects to, from the
// warmest to the coldest: objects only move on in this order (S3 user guide,
// "Transitioning objects using Amazon S3 Lifecycle").
var storageClasses = []string{"STANDARD_IA", "INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"}

// minInfrequentDays is how long objects stay in the class before STANDARD_IA or
// ONEZONE_IA, and then in these (S3 user guide, "Constraints and considerations for
// transitions").
const minInfrequentDays = 30

func isInfrequent(class string) bool { return class == "STANDARD_IA" || class == "ONEZONE_IA" }

func lifecycleObject() schema.NestedAttributeObject {
	days := []validator.Int64{int64validator.Between(1, math.MaxInt32)} // S3 has 32 bits
	sibling := func(name string) path.Expression { return path.MatchRelative().AtParent().AtName(name) }
	any := int64validator.AtLeastOneOf(sibling("expire_days"), sibling("noncurrent_expire_days"), sibling("transitions"), sibling("noncurrent_transitions"))
	return schema.NestedAttributeObject{Validators: []validator.Object{transitionOrder{}}, Attributes: map[string]schema.Attribute{
		"prefix": schema.StringAttribute{Optional: true, Validators: []validator.String{stringvalidator.LengthBetween(1, 1024)},
			MarkdownDescription: "Prefix of the keys of the objects. Default: all objects."},
		"expire_days": schema.Int64Attribute{Optional: true, Validators: append(slices.Clone(days), any),
			MarkdownDescription: "Days after which an object is deleted. With versioning, it becomes an old version."},
		"noncurrent_expire_days": schema.Int64Attribute{Optional: true, Validators: days,
			MarkdownDescription: "Days after which an old version is deleted."},
		"transitions": transitionsAttribute("Storage classes to which objects move, by age. S3 does not move objects smaller than 128 KB."),
		"noncurrent_transitions": transitionsAttribute("Storage classes to which old versions move, by the days since they became old. " +
			"S3 does not move objects smaller than 128 KB."),
	}}
}

func transitionsAttribute(description string) schema.ListNestedAttribute {
	return schema.ListNestedAttribute{
		Optional: true, MarkdownDescription: description, Validators: []validator.List{listvalidator.SizeBetween(1, len(storageClasses))},
		NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
			"days": schema.Int64Attribute{Required: true, Validators: []validator.Int64{int64validator.Between(1, math.MaxInt32)},
				MarkdownDescription: "Days after which objects move: at least 30 to `STANDARD_IA` and `ONEZONE_IA`, and at least 30 more to the class after these."},
			"storage_class": schema.StringAttribute{Required: true, Validators: []validator.String{stringvalidator.OneOf(storageClasses...)},
				MarkdownDescription: "Storage class, in the order `STANDARD_IA`, `INTELLIGENT_TIERING`, `ONEZONE_IA`, `GLACIER_IR`, `GLACIER`, `DEEP_ARCHIVE`."},
		}},
	}
}

// transitionOrder checks a lifecycle rule as S3 does: the order of storage classes and
// days, and that objects expire after their last transition.
type transitionOrder struct{}

func (transitionOrder) Description(context.Context) string {
	return "objects move to colder storage classes, and expire last"
}

func (v transitionOrder) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

func (transitionOrder) ValidateObject(_ context.Context, req validator.ObjectRequest, resp *validator.ObjectResponse) {
	if req.ConfigValue.IsNull() || req.ConfigValue.IsUnknown() {
		return
	}
	rule := req.ConfigValue.Attributes()
	for transitions, expiration := range map[string]string{"transitions": "expire_days", "noncurrent_transitions": "noncurrent_expire_days"} {
		list, _ := rule[transitions].(types.List)
		expires, _ := rule[expiration].(types.Int64)
		if err := checkTransitions(knownTransitions(list), expires, expiration); err != nil {
			resp.Diagnostics.AddAttributeError(req.Path.AtName(transitions), "Invalid transitions", err.Error()+".")
		}
	}
}

// knownTransitions returns the transitions of a list, or nil if one is unknown.
func knownTransitions(list types.List) []transitionModel {
	var all []transitionModel
	for _, element := range list.Elements() {
		object, ok := element.(types.Object)
		if !ok || object.IsUnknown() {
			return nil
		}
		days, _ := object.Attributes()["days"].(types.Int64)
		class, _ := object.Attributes()["storage_class"].(types.String)
		if days.IsUnknown() || class.IsUnknown() {
			return nil
		}
		all = append(all, transitionModel{days, class})
	}
	return all
}

func checkTransitions(transitions []transitionModel, expires types.Int64, expiration string) error {
	for i, t := range transitions {
		class, days := t.StorageClass.ValueString(), t.Days.ValueInt64()
		if isInfrequent(class) && days < minInfrequentDays {
			return fmt.Errorf("S3 moves objects to %s after %d days at the earliest, not after %d", class, minInfrequentDays, days)
		}
		if i == 0 {
			continue
		}
		before, since := transitions[i-1].StorageClass.ValueString(), days-transitions[i-1].Days.ValueInt64()
		switch {
		case slices.Index(storageClasses, class) <= slices.Index(storageClasses, before), before == "ONEZONE_IA" && class == "GLACIER_IR":
			return fmt.Errorf("S3 does not move objects from %s to %s; list the transitions in the order of time, from warmer to colder classes", before, class)
		case isInfrequent(before) && since < minInfrequentDays:
			return fmt.Errorf("S3 keeps objects in %s for at least %d days, so they can move to %s after %d days, not after %d",
				before, minInfrequentDays, class, days-since+minInfrequentDays, days)
		case since <= 0:
			return fmt.Errorf("objects move to %s after %d days, which is not after their transition to %s", class, days, before)
		}
	}
	if len(transitions) == 0 || expires.IsNull() || expires.IsUnknown() {
		return nil
	}
	if last := transitions[len(transitions)-1].Days.ValueInt64(); expires.ValueInt64() <= last {
		return fmt.Errorf("%s is %d, and has to be more than the %d days of the last transition", expiration, expires.ValueInt64(), last)
	}
	return nil
}

// abortRule is the id of a lifecycle rule of every bucket, which aborts incomplete
// uploads after abortAfterDays: their parts cost money and are not listed.
const (
	abortRule      = "xeroops-abort-uploads"
	abortAfterDays = 7
)

func isAbortRule(rule s3types.LifecycleRule) bool {
	abort := rule.AbortIncompleteMultipartUpload
	return rule.Status == s3types.ExpirationStatusEnabled && abort != nil && aws.ToInt32(abort.DaysAfterInitiation) == abortAfterDays &&
		prefixOf(rule) == "" && rule.Expiration == nil && rule.NoncurrentVersionExpiration == nil && len(rule.Transitions)+len(rule.NoncurrentVersionTransitions) == 0
}

// expandRules returns the rules of a bucket, including abortRule.
func expandRules(rules []lifecycleModel) []s3types.LifecycleRule {
	all := []s3types.LifecycleRule{{
		ID: aws.String(abortRule), Status: s3types.ExpirationStatusEnabled,
		Filter:                         &s3types.LifecycleRuleFilter{Prefix: aws.String("")},
		AbortIncompleteMultipartUpload: &s3types.AbortIncompleteMultipartUpload{DaysAfterInitiation: aws.Int32(abortAfterDays)},
	}}
	for i, m := range rules {
		rule := s3types.LifecycleRule{
			ID: aws.String(fmt.Sprintf("xeroops-rule-%04d", i)), Status: s3types.ExpirationStatusEnabled,
			Filter: &s3types.LifecycleRuleFilter{Prefix: aws.String(m.Prefix.ValueString())},
		}
		if !m.ExpireDays.IsNull() {
			rule.Expiration = &s3types.LifecycleExpiration{Days: int32Of(m.ExpireDays)}
		}
		if !m.NoncurrentExpireDays.IsNull() {
			rule.NoncurrentVersionExpiration = &s3types.NoncurrentVersionExpiration{NoncurrentDays: int32Of(m.NoncurrentExpireDays)}
		}
		for _, t := range m.Transitions {
			rule.Transitions = append(rule.Transitions, s3types.Transition{Days: int32Of(t.Days), StorageClass: s3types.TransitionStorageClass(t.StorageClass.ValueString())})
		}
		for _, t := range m.NoncurrentTransitions {
			rule.NoncurrentVersionTransitions = append(rule.NoncurrentVersionTransitions, s3types.NoncurrentVersionTransition{
				NoncurrentDays: int32Of(t.Days), StorageClass: s3types.TransitionStorageClass(t.StorageClass.ValueString())})
		}
		all = append(all, rule)
	}
	return all
}

// flattenRules returns the rules as attributes, in the order in which they were
// created, and a text for each that attributes cannot express.
func flattenRules(rules []s3types.LifecycleRule) (models []lifecycleModel, foreign []string) {
	sorted := slices.SortedFunc(slices.Values(rules), func(a, b s3types.LifecycleRule) int {
		return cmp.Compare(aws.ToString(a.ID), aws.ToString(b.ID))
	})
	for _, rule := range sorted {
		switch {
		case isAbortRule(rule):
		case !expressible(rule):
			foreign = append(foreign, fmt.Sprintf("lifecycle rule %q was not created by the provider", aws.ToString(rule.ID)))
		default:
			models = append(models, flattenRule(rule))
		}
	}
	return models, foreign
}

func flattenRule(rule s3types.LifecycleRule) lifecycleModel {
	var m lifecycleModel
	if prefix := prefixOf(rule); prefix != "" {
		m.Prefix = types.StringValue(prefix)
	}
	if e := rule.Expiration; e != nil {
		m.ExpireDays = types.Int64Value(int64(aws.ToInt32(e.Days)))
	}
	if e := rule.NoncurrentVersionExpiration; e != nil {
		m.NoncurrentExpireDays = types.Int64Value(int64(aws.ToInt32(e.NoncurrentDays)))
	}
	for _, t := range rule.Transitions {
		m.Transitions = append(m.Transitions, flattenTransition(t.Days, t.StorageClass))
	}
	for _, t := range rule.NoncurrentVersionTransitions {
		m.NoncurrentTransitions = append(m.NoncurrentTransitions, flattenTransition(t.NoncurrentDays, t.StorageClass))
	}
	byDays := func(a, b transitionModel) int { return cmp.Compare(a.Days.ValueInt64(), b.Days.ValueInt64()) }
	slices.SortFunc(m.Transitions, byDays)
	slices.SortFunc(m.NoncurrentTransitions, byDays)
	return m
}

func flattenTransition(days *int32, class s3types.TransitionStorageClass) transitionModel {
	return transitionModel{types.Int64Value(int64(aws.ToInt32(days))), types.StringValue(string(class))}
}

// expressible reports whether attributes can express a rule.
func expressible(rule s3types.LifecycleRule) bool {
	if rule.Status != s3types.ExpirationStatusEnabled || rule.AbortIncompleteMultipartUpload != nil {
		return false
	}
	if f := rule.Filter; f != nil && (f.And != nil || f.Tag != nil || f.ObjectSizeGreaterThan != nil || f.ObjectSizeLessThan != nil) {
		return false
	}
	if e := rule.Expiration; e != nil && e.Days == nil {
		return false
	}
	if e := rule.NoncurrentVersionExpiration; e != nil && (e.NoncurrentDays == nil || e.NewerNoncurrentVersions != nil) {
		return false
	}
	if slices.ContainsFunc(rule.Transitions, func(t s3types.Transition) bool { return t.Days == nil }) ||
		slices.ContainsFunc(rule.NoncurrentVersionTransitions, func(t s3types.NoncurrentVersionTransition) bool {
			return t.NoncurrentDays == nil || t.NewerNoncurrentVersions != nil
		}) {
		return false
	}
	return rule.Expiration != nil || rule.NoncurrentVersionExpiration != nil || len(rule.Transitions)+len(rule.NoncurrentVersionTransitions) > 0
}

func prefixOf(rule s3types.LifecycleRule) string {
	if rule.Filter != nil {
		return aws.ToString(rule.Filter.Prefix)
	}
	return aws.ToString(rule.Prefix) //nolint:staticcheck // set by older tools
}

// hasRules reports whether the actual rules are equivalent to the wanted ones.
func (p *bucketParts) hasRules(wanted []lifecycleModel) bool {
	models, foreign := flattenRules(p.rules)
	return len(foreign) == 0 && slices.EqualFunc(models, wanted, lifecycleModel.equal) && slices.ContainsFunc(p.rules, isAbortRule)
}
