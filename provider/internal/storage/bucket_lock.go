package storage

import (
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/provider/internal/base"
)

type objectLockModel struct {
	Mode  types.String `tfsdk:"mode"`
	Days  types.Int64  `tfsdk:"days"`
	Years types.Int64  `tfsdk:"years"`
}

// maxLockDays and maxLockYears are S3's limits on a default retention (S3 user guide,
// "Object Lock considerations": up to 100 years).
const maxLockDays, maxLockYears = 36500, 100

func objectLockAttribute() schema.SingleNestedAttribute {
	sibling := func(name string) path.Expression { return path.MatchRelative().AtParent().AtName(name) }
	return schema.SingleNestedAttribute{
		Optional: true,
		MarkdownDescription: "Object Lock: versions of objects cannot be deleted or overwritten while they are retained, not even with `force_destroy`, so the bucket cannot be " +
			"destroyed before. It is enabled when the bucket is created, and cannot be disabled; a change of the default retention applies to new objects. Needs `versioning`. " +
			"`{}` enables it without a default retention, for programs that set it per object.",
		Attributes: map[string]schema.Attribute{
			"mode": schema.StringAttribute{Optional: true,
				Validators: []validator.String{stringvalidator.OneOf("GOVERNANCE", "COMPLIANCE")},
				MarkdownDescription: "Mode of the default retention: `GOVERNANCE`, which principals with the permission `s3:BypassGovernanceRetention` can bypass, " +
					"or `COMPLIANCE`, which nobody can, the account's root included. With it, set `days` or `years`."},
			"days": schema.Int64Attribute{Optional: true,
				Validators:          []validator.Int64{int64validator.Between(1, maxLockDays), int64validator.ConflictsWith(sibling("years")), int64validator.AlsoRequires(sibling("mode"))},
				MarkdownDescription: "Days of the default retention: 1 to 36,500."},
			"years": schema.Int64Attribute{Optional: true,
				Validators:          []validator.Int64{int64validator.Between(1, maxLockYears), int64validator.AlsoRequires(sibling("mode"))},
				MarkdownDescription: "Years of the default retention: 1 to 100."},
		},
	}
}

// checkLock returns an error if the settings of a bucket exclude each other.
func (m *bucketModel) checkLock() error {
	if lock := m.ObjectLock; lock != nil {
		switch {
		case !m.Versioning.IsUnknown() && !m.Versioning.IsNull() && !m.Versioning.ValueBool():
			return base.AtAttribute(path.Root("versioning"), errors.New("object_lock needs versioning; remove versioning = false"))
		case !lock.Mode.IsNull() && !lock.Mode.IsUnknown() && lock.Days.IsNull() && lock.Years.IsNull():
			return base.AtAttribute(path.Root("object_lock"), errors.New("mode needs days or years; without a default retention, omit all three"))
		}
	}
	return nil
}

// checkLockChange returns an error if a bucket that is not replaced would get Object
// Lock or lose it.
func checkLockChange(planned, state types.Object) error {
	switch {
	case planned.IsUnknown() || planned.IsNull() == state.IsNull():
		return nil
	case planned.IsNull():
		return base.AtAttribute(path.Root("object_lock"), errors.New("S3 does not disable Object Lock; keep object_lock, or use another name for a bucket without it"))
	}
	return base.AtAttribute(path.Root("object_lock"), errors.New("xeroops_bucket enables Object Lock only when it creates a bucket, so that no object is without it; "+
		"create another bucket and copy the objects"))
}

func expandLock(m *objectLockModel) *s3types.ObjectLockConfiguration {
	c := &s3types.ObjectLockConfiguration{ObjectLockEnabled: s3types.ObjectLockEnabledEnabled}
	if !m.Mode.IsNull() {
		c.Rule = &s3types.ObjectLockRule{DefaultRetention: &s3types.DefaultRetention{
			Mode: s3types.ObjectLockRetentionMode(m.Mode.ValueString()), Days: int32Of(m.Days), Years: int32Of(m.Years)}}
	}
	return c
}

// flattenLock returns the model of a configuration, or nil if Object Lock is not
// enabled.
func flattenLock(c *s3types.ObjectLockConfiguration) *objectLockModel {
	if c == nil || c.ObjectLockEnabled != s3types.ObjectLockEnabledEnabled {
		return nil
	}
	m := &objectLockModel{}
	if c.Rule == nil || c.Rule.DefaultRetention == nil {
		return m
	}
	retention := c.Rule.DefaultRetention
	m.Mode = types.StringValue(string(retention.Mode))
	if days := aws.ToInt32(retention.Days); days > 0 {
		m.Days = types.Int64Value(int64(days))
	}
	if years := aws.ToInt32(retention.Years); years > 0 {
		m.Years = types.Int64Value(int64(years))
	}
	return m
}

func (m *objectLockModel) equal(o *objectLockModel) bool {
	if m == nil || o == nil {
		return m == o
	}
	return m.Mode.Equal(o.Mode) && m.Days.Equal(o.Days) && m.Years.Equal(o.Years)
}

// explainLock adds to the error of a destroy why objects of a locked bucket stay.
func explainLock(lock *objectLockModel, err error) error {
	if err == nil || lock == nil {
		return err
	}
	return base.AtAttribute(path.Root("object_lock"), fmt.Errorf("%w\n\nThe bucket has Object Lock. S3 keeps a version until its retention ends and it has no legal hold. Versions retained in mode GOVERNANCE "+
		"can be deleted before by a principal with s3:BypassGovernanceRetention (aws s3api delete-object --bypass-governance-retention); in mode COMPLIANCE by nobody. "+
		"Destroy again after the last retention has ended, or keep the bucket: terraform state rm", err))
}
