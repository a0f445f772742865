package storage

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dlm"
	dlmtypes "github.com/aws/aws-sdk-go-v2/service/dlm/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// tagSchedule is the tag of a volume with a snapshot schedule, of its lifecycle policy
// and of its role: the volume's id. The policy selects the volume by it, so that the
// name may change, and copies of the volume's other tags do not matter.
const tagSchedule = "xeroops:snapshot-schedule"

// lifecyclePolicyName is the name of the inline policy of the role.
const lifecyclePolicyName = "snapshots"

func scheduleRole(volume string) string { return "xeroops-snapshots-" + volume }

func (r *volumeResource) scheduleRoleARN(ctx context.Context, volume string) (string, error) {
	partition, err := r.Client.Partition(ctx)
	if err != nil {
		return "", err
	}
	account, err := r.Client.AccountID(ctx)
	return fmt.Sprintf("arn:%s:iam::%s:role/%s", partition, account, scheduleRole(volume)), err
}

// findSchedule returns the lifecycle policy of a volume, or nil. DLM returns the
// policies of a region, at most 100, in one response.
func (r *volumeResource) findSchedule(ctx context.Context, volume string) (*dlmtypes.LifecyclePolicy, error) {
	list, err := r.Client.DLM.GetLifecyclePolicies(ctx, &dlm.GetLifecyclePoliciesInput{})
	if err != nil {
		return nil, err
	}
	for _, p := range list.Policies {
		if p.Tags[tagSchedule] != volume {
			continue
		}
		out, err := r.Client.DLM.GetLifecyclePolicy(ctx, &dlm.GetLifecyclePolicyInput{PolicyId: p.PolicyId})
		if err == nil {
			return out.Policy, nil
		}
		if !isNoPolicy(err) {
			return nil, err
		}
	}
	return nil, nil
}

func isNoPolicy(err error) bool { return awswait.HasCode(err, "ResourceNotFoundException") }

// readSchedule sets the schedule from AWS if the state has one. tags are those of the
// volume.
func (r *volumeResource) readSchedule(ctx context.Context, m *volumeModel, tags map[string]string) error {
	before, err := m.schedule(ctx)
	if err != nil || before == nil {
		return err
	}
	volume := m.ID.ValueString()
	found, err := r.findSchedule(ctx, volume)
	if err != nil {
		return fmt.Errorf("read the snapshot schedule: %w", err)
	}
	switch {
	case found == nil:
		m.Drift = base.Drift([]string{"the snapshot schedule is missing"})
		return nil
	case tags[tagSchedule] != volume:
		m.Drift = base.Drift([]string{"the volume lacks the tag by which its snapshot schedule selects it"})
	}
	role, err := r.scheduleRoleARN(ctx, volume)
	if err != nil {
		return err
	}
	actual := flattenSchedule(found, role, before)
	m.SnapshotSchedule = actual.object()
	if want := before.roleOr(role); actual.RoleARN.Equal(before.RoleARN) && !actual.isAs(found, volume, want) {
		m.Drift = base.Drift([]string{strings.TrimSpace(fmt.Sprintf("the snapshot schedule %s is %s or was changed %s", aws.ToString(found.PolicyId),
			strings.ToLower(string(found.State)), aws.ToString(found.StatusMessage)))})
	}
	return nil
}

func (s *scheduleModel) roleOr(own string) string {
	if s.RoleARN.IsNull() {
		return own
	}
	return s.RoleARN.ValueString()
}

// convergeSchedule creates, changes or removes the schedule; had reports whether the
// volume had one before.
func (r *volumeResource) convergeSchedule(ctx context.Context, m volumeModel, had bool) error {
	wanted, err := m.schedule(ctx)
	if err != nil {
		return err
	}
	if wanted == nil {
		if !had {
			return nil
		}
		return r.removeSchedule(ctx, m.ID.ValueString())
	}
	err = r.putSchedule(ctx, m, *wanted)
	return base.AtAttribute(path.Root("snapshot_schedule"), err)
}

func (r *volumeResource) putSchedule(ctx context.Context, m volumeModel, wanted scheduleModel) error {
	volume := m.ID.ValueString()
	own, err := r.scheduleRoleARN(ctx, volume)
	if err != nil {
		return err
	}
	role := wanted.roleOr(own)
	if role == own {
		if err := r.ensureScheduleRole(ctx, m, wanted.Boundary.ValueStringPointer()); err != nil {
			return fmt.Errorf("create the role of the snapshot schedule: %w", err)
		}
	}
	// A response may be lost, so each attempt searches first, and the SDK does not
	// repeat the create.
	passing := func(err error) bool {
		return isRoleUnknown(err) || awswait.OutcomeUnknown(err) || awswait.IsThrottled(err) && !isOverQuota(err)
	}
	_, err = awswait.Retry(ctx, awswait.ProfilePropagation, passing, func(ctx context.Context) (any, error) {
		found, err := r.findSchedule(ctx, volume)
		if err != nil {
			return nil, err
		}
		return nil, r.putLifecyclePolicy(ctx, m, wanted, found, role)
	})
	if err != nil {
		return fmt.Errorf("set the snapshot schedule: %w", err)
	}
	if role != own {
		return r.removeScheduleRole(ctx, volume, role) // that of an earlier configuration
	}
	return nil
}

func (r *volumeResource) putLifecyclePolicy(ctx context.Context, m volumeModel, wanted scheduleModel, found *dlmtypes.LifecyclePolicy, role string) error {
	volume := m.ID.ValueString()
	if found != nil && wanted.isAs(found, volume, role) {
		return nil
	}
	description := aws.String("Snapshots of " + m.Name.ValueString())
	if found != nil {
		_, err := r.Client.DLM.UpdateLifecyclePolicy(ctx, &dlm.UpdateLifecyclePolicyInput{PolicyId: found.PolicyId, Description: description, ExecutionRoleArn: &role,
			State: dlmtypes.SettablePolicyStateValuesEnabled, PolicyDetails: wanted.expand(volume)})
		return err
	}
	_, err := r.Client.DLM.CreateLifecyclePolicy(ctx, &dlm.CreateLifecyclePolicyInput{Description: description, ExecutionRoleArn: &role,
		State: dlmtypes.SettablePolicyStateValuesEnabled, PolicyDetails: wanted.expand(volume),
		Tags: m.scheduleTags()},
		func(o *dlm.Options) { o.Retryer = aws.NopRetryer{} })
	return err
}

// isOverQuota reports whether the region has all the policies that it may have. The SDK
// takes the code for throttling.
func isOverQuota(err error) bool { return awswait.HasCode(err, "LimitExceededException") }

// isRoleUnknown reports whether DLM does not know a new role yet. It has no code for
// it.
func isRoleUnknown(err error) bool {
	return awswait.HasCode(err, "InvalidRequestException") && strings.Contains(err.Error(), "role")
}

// ensureScheduleRole creates the role that only DLM, for this account, can assume, and
// that can do what AWS's policy AWSDataLifecycleManagerServiceRole allows, for this
// volume.
func (r *volumeResource) ensureScheduleRole(ctx context.Context, m volumeModel, boundary *string) error {
	volume := m.ID.ValueString()
	name := aws.String(scheduleRole(volume))
	account, err := r.Client.AccountID(ctx)
	if err != nil {
		return err
	}
	partition, err := r.Client.Partition(ctx)
	if err != nil {
		return err
	}
	volumeARN, err := r.arn(ctx, volume)
	if err != nil {
		return err
	}
	var tags []iamtypes.Tag
	for k, v := range m.scheduleTags() {
		tags = append(tags, iamtypes.Tag{Key: &k, Value: &v})
	}
	_, err = r.Client.IAM.CreateRole(ctx, &iam.CreateRoleInput{RoleName: name, Tags: tags, Description: aws.String("Makes the snapshots of " + m.Name.ValueString()), PermissionsBoundary: boundary,
		AssumeRolePolicyDocument: aws.String(base.PolicyOf(map[string]any{"Effect": "Allow", "Principal": map[string]any{"Service": "dlm.amazonaws.com"}, "Action": "sts:AssumeRole",
			"Condition": map[string]any{"StringEquals": map[string]any{"aws:SourceAccount": account}}}))})
	if awswait.HasCode(err, "EntityAlreadyExists") {
		err = r.setScheduleBoundary(ctx, volume, boundary) // of an earlier or interrupted apply
	}
	if err != nil {
		return err
	}
	snapshots := fmt.Sprintf("arn:%s:ec2:%s::snapshot/*", partition, r.Client.Region)
	_, err = r.Client.IAM.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: name, PolicyName: aws.String(lifecyclePolicyName), PolicyDocument: aws.String(base.PolicyOf(
		map[string]any{"Effect": "Allow", "Action": []string{"ec2:CreateSnapshot", "ec2:CreateSnapshots"}, "Resource": []string{volumeARN, snapshots}},
		map[string]any{"Effect": "Allow", "Action": []string{"ec2:DeleteSnapshot", "ec2:CreateTags"}, "Resource": snapshots},
		map[string]any{"Effect": "Allow", "Action": []string{"ec2:DescribeVolumes", "ec2:DescribeSnapshots", "ec2:DescribeInstances"}, "Resource": "*"},
	))})
	return err
}

// setScheduleBoundary gives the volume's existing role its boundary, or takes it away.
func (r *volumeResource) setScheduleBoundary(ctx context.Context, volume string, boundary *string) error {
	role, err := r.findScheduleRole(ctx, volume)
	if err != nil {
		return err
	}
	actual := ""
	if role.PermissionsBoundary != nil {
		actual = aws.ToString(role.PermissionsBoundary.PermissionsBoundaryArn)
	}
	switch {
	case aws.ToString(boundary) == actual:
		return nil
	case boundary == nil:
		_, err = r.Client.IAM.DeleteRolePermissionsBoundary(ctx, &iam.DeleteRolePermissionsBoundaryInput{RoleName: role.RoleName})
	default:
		_, err = r.Client.IAM.PutRolePermissionsBoundary(ctx, &iam.PutRolePermissionsBoundaryInput{RoleName: role.RoleName, PermissionsBoundary: boundary})
	}
	return err
}

// findScheduleRole returns the role that the provider created for a volume, or an error
// if the role of that name is another's.
func (r *volumeResource) findScheduleRole(ctx context.Context, volume string) (*iamtypes.Role, error) {
	out, err := r.Client.IAM.GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String(scheduleRole(volume))})
	if err != nil {
		return nil, err
	}
	for _, tag := range out.Role.Tags {
		if aws.ToString(tag.Key) == tagSchedule && aws.ToString(tag.Value) == volume {
			return out.Role, nil
		}
	}
	return nil, fmt.Errorf("the role %s exists and was not created by the provider for %s; delete it, or set role_arn", scheduleRole(volume), volume)
}

// removeSchedule deletes a volume's lifecycle policy and the role of it. Snapshots
// stay.
func (r *volumeResource) removeSchedule(ctx context.Context, volume string) error {
	found, err := r.findSchedule(ctx, volume)
	if err != nil {
		return fmt.Errorf("find the snapshot schedule: %w", err)
	}
	if found != nil {
		_, err = r.Client.DLM.DeleteLifecyclePolicy(ctx, &dlm.DeleteLifecyclePolicyInput{PolicyId: found.PolicyId})
		if err := awswait.Ignore(err, isNoPolicy); err != nil {
			return fmt.Errorf("delete the snapshot schedule %s: %w", aws.ToString(found.PolicyId), err)
		}
	}
	used := ""
	if found != nil {
		used = aws.ToString(found.ExecutionRoleArn)
	}
	return r.removeScheduleRole(ctx, volume, used)
}

// removeScheduleRole deletes the role that the provider created, if there is one. Where
// the schedule used another role, IAM may be managed elsewhere, and it is no error if
// the role may not be read.
func (r *volumeResource) removeScheduleRole(ctx context.Context, volume, used string) error {
	name := aws.String(scheduleRole(volume))
	_, err := r.findScheduleRole(ctx, volume)
	foreign := used != "" && !strings.HasSuffix(used, "/"+*name)
	if awswait.IsNotFound(err) || foreign && awswait.HasCode(err, "AccessDenied") {
		return nil
	}
	if err == nil {
		_, err = r.Client.IAM.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: name, PolicyName: aws.String(lifecyclePolicyName)})
		err = awswait.Ignore(err, awswait.IsNotFound)
	}
	if err == nil {
		// The policy that was just removed may count for a while.
		_, err = awswait.Retry(ctx, awswait.ProfilePropagation, awswait.IsInUse, func(ctx context.Context) (any, error) {
			_, err := r.Client.IAM.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: name})
			return nil, awswait.Ignore(err, awswait.IsNotFound)
		})
	}
	if err != nil {
		return fmt.Errorf("delete the role %s of the snapshot schedule: %w", *name, err)
	}
	return nil
}

// hasSchedule reports whether an object of snapshot_schedule is set.
func hasSchedule(o types.Object) bool { return !o.IsNull() && !o.IsUnknown() }

// scheduleTags returns the tags of the lifecycle policy and of the role.
func (m *volumeModel) scheduleTags() map[string]string {
	customers, _ := base.TagMap(m.TagsAll)
	return base.AllTags(m.Name.ValueString(), customers, map[string]string{tagSchedule: m.ID.ValueString()})
}

func scheduleTag(m volumeModel) map[string]string {
	if !hasSchedule(m.SnapshotSchedule) || m.ID.ValueString() == "" {
		return nil
	}
	return map[string]string{tagSchedule: m.ID.ValueString()}
}
