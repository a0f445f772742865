package storage

import (
	"context"
	"errors"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/aws"
	dlmtypes "github.com/aws/aws-sdk-go-v2/service/dlm/types"
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/xeroops/xeroops/provider/internal/base"
)

// scheduleModel is when snapshots of a volume are created and how many are kept.
type scheduleModel struct {
	IntervalHours types.Int64  `tfsdk:"interval_hours"`
	StartTime     types.String `tfsdk:"start_time"`
	Cron          types.String `tfsdk:"cron"`
	RetainCount   types.Int64  `tfsdk:"retain_count"`
	RoleARN       types.String `tfsdk:"role_arn"`
	Boundary      types.String `tfsdk:"permissions_boundary"`
}

var scheduleTypes = map[string]attr.Type{"interval_hours": types.Int64Type, "start_time": types.StringType, "cron": types.StringType,
	"retain_count": types.Int64Type, "role_arn": types.StringType, "permissions_boundary": types.StringType}

// Limits of Data Lifecycle Manager (DLM API reference, CreateRule and RetainRule).
const maxRetainCount = 1000

var intervalHours = []int64{1, 2, 3, 4, 6, 8, 12, 24}

// defaultStartTime is the default of start_time, which DLM requires.
const defaultStartTime = "03:00"

func scheduleAttribute() schema.SingleNestedAttribute {
	sibling := func(name string) path.Expression { return path.MatchRelative().AtParent().AtName(name) }
	cron := stringvalidator.RegexMatches(regexp.MustCompile(`^cron\([^()\s]+( [^()\s]+){5}\)$`), "use six fields in UTC, such as cron(0 3 * * ? *)")
	return schema.SingleNestedAttribute{
		Optional: true,
		MarkdownDescription: "Snapshots of the volume by schedule, made by Amazon Data Lifecycle Manager, whether or not a node runs. They have the volume's tags, and are consistent as after a loss of power. " +
			"Destroying the volume or removing the attribute removes the schedule and its role; the snapshots stay, and no longer expire.",
		Attributes: map[string]schema.Attribute{
			"interval_hours": schema.Int64Attribute{Optional: true, Validators: []validator.Int64{int64validator.OneOf(intervalHours...), int64validator.ExactlyOneOf(sibling("cron"))},
				MarkdownDescription: "Hours between snapshots: 1, 2, 3, 4, 6, 8, 12 or 24. Set either this or `cron`."},
			"start_time": schema.StringAttribute{Optional: true,
				Validators:          []validator.String{stringvalidator.RegexMatches(regexp.MustCompile(`^([01]\d|2[0-3]):[0-5]\d$`), "use hh:mm in UTC"), stringvalidator.ConflictsWith(sibling("cron"))},
				MarkdownDescription: "Time of day, in UTC, at which the intervals begin: a snapshot is started within an hour of it. Default: `" + defaultStartTime + "`."},
			"cron": schema.StringAttribute{Optional: true, Validators: []validator.String{cron},
				MarkdownDescription: "Schedule as a cron expression of AWS in UTC, such as `cron(0 3 ? * SUN *)`."},
			"retain_count": schema.Int64Attribute{Required: true, Validators: []validator.Int64{int64validator.Between(1, maxRetainCount)},
				MarkdownDescription: "Number of snapshots to keep: 1 to 1,000. The oldest is deleted when a further one is complete."},
			"role_arn": schema.StringAttribute{Optional: true,
				Validators: []validator.String{stringvalidator.RegexMatches(regexp.MustCompile(`^arn:[\w-]+:iam::\d{12}:role/.+$`), "not the ARN of an IAM role")},
				MarkdownDescription: "ARN of the role with which Data Lifecycle Manager makes the snapshots, such as that of `aws dlm create-default-role`. " +
					"Default: the provider creates a role `xeroops-snapshots-VOLUME`, for which it needs permissions of IAM, among them `iam:PassRole`."},
			"permissions_boundary": schema.StringAttribute{Optional: true,
				Validators:          []validator.String{base.PolicyARNValidator(), stringvalidator.ConflictsWith(sibling("role_arn"))},
				MarkdownDescription: "ARN of the policy that is the permissions boundary of the role that the provider creates."},
		},
	}
}

// schedule returns the configured schedule, or nil.
func (m *volumeModel) schedule(ctx context.Context) (*scheduleModel, error) {
	if m.SnapshotSchedule.IsNull() || m.SnapshotSchedule.IsUnknown() {
		return nil, nil
	}
	var s scheduleModel
	if diags := m.SnapshotSchedule.As(ctx, &s, basetypes.ObjectAsOptions{}); diags.HasError() {
		return nil, base.AtAttribute(path.Root("snapshot_schedule"), errors.New(diags[0].Detail()))
	}
	return &s, nil
}

func (s *scheduleModel) expand(volume string) *dlmtypes.PolicyDetails {
	create := &dlmtypes.CreateRule{}
	if !s.Cron.IsNull() {
		create.CronExpression = s.Cron.ValueStringPointer()
	} else {
		start := defaultStartTime
		if !s.StartTime.IsNull() {
			start = s.StartTime.ValueString()
		}
		create.Interval, create.IntervalUnit, create.Times = int32Of(s.IntervalHours), dlmtypes.IntervalUnitValuesHours, []string{start}
	}
	return &dlmtypes.PolicyDetails{
		PolicyType: dlmtypes.PolicyTypeValuesEbsSnapshotManagement, ResourceTypes: []dlmtypes.ResourceTypeValues{dlmtypes.ResourceTypeValuesVolume},
		TargetTags: []dlmtypes.Tag{{Key: aws.String(tagSchedule), Value: &volume}},
		Schedules: []dlmtypes.Schedule{{Name: aws.String("xeroops"), CopyTags: aws.Bool(true), CreateRule: create,
			RetainRule: &dlmtypes.RetainRule{Count: int32Of(s.RetainCount)}}},
	}
}

// flattenSchedule returns the schedule of a policy; ownRole is the ARN of the role that
// the provider creates. before is the schedule in the state, whose start_time may be
// the default.
func flattenSchedule(p *dlmtypes.LifecyclePolicy, ownRole string, before *scheduleModel) *scheduleModel {
	s := &scheduleModel{}
	if before != nil {
		s.Boundary = before.Boundary // of the role
	}
	if arn := aws.ToString(p.ExecutionRoleArn); arn != ownRole {
		s.RoleARN = types.StringValue(arn)
	}
	if p.PolicyDetails == nil || len(p.PolicyDetails.Schedules) == 0 {
		return s
	}
	found := p.PolicyDetails.Schedules[0]
	if found.RetainRule != nil && found.RetainRule.Count != nil {
		s.RetainCount = types.Int64Value(int64(*found.RetainRule.Count))
	}
	if rule := found.CreateRule; rule != nil {
		s.Cron = types.StringPointerValue(rule.CronExpression)
		if rule.Interval != nil {
			s.IntervalHours = types.Int64Value(int64(*rule.Interval))
		}
		if len(rule.Times) > 0 && (rule.Times[0] != defaultStartTime || before != nil && !before.StartTime.IsNull()) {
			s.StartTime = types.StringValue(rule.Times[0])
		}
	}
	return s
}

func (s *scheduleModel) object() types.Object {
	return types.ObjectValueMust(scheduleTypes, map[string]attr.Value{"interval_hours": s.IntervalHours, "start_time": s.StartTime, "cron": s.Cron,
		"retain_count": s.RetainCount, "role_arn": s.RoleARN, "permissions_boundary": s.Boundary})
}

// isAs reports whether a policy has the schedule and nothing else.
func (s *scheduleModel) isAs(p *dlmtypes.LifecyclePolicy, volume, role string) bool {
	if p.State != dlmtypes.GettablePolicyStateValuesEnabled || p.PolicyDetails == nil || len(p.PolicyDetails.Schedules) != 1 || aws.ToString(p.ExecutionRoleArn) != role {
		return false
	}
	target := p.PolicyDetails.TargetTags
	same := len(target) == 1 && aws.ToString(target[0].Key) == tagSchedule && aws.ToString(target[0].Value) == volume
	return same && flattenSchedule(p, role, s).withRole(s.RoleARN).object().Equal(s.object())
}

func (s *scheduleModel) withRole(arn types.String) *scheduleModel {
	with := *s
	with.RoleARN = arn
	return &with
}
