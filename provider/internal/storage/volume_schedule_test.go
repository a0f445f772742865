package storage_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dlm"
	dlmtypes "github.com/aws/aws-sdk-go-v2/service/dlm/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"github.com/xeroops/xeroops/internal/awscalls"
	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/iampolicy"
	"github.com/xeroops/xeroops/internal/fakeaws/inventory"
	"github.com/xeroops/xeroops/provider/internal/acctest"
)

func scheduled(schedule string) string {
	return volumeConfig(20, "snapshot_schedule = { "+schedule+" }")
}

func (a account) lifecycles() *dlm.Client {
	return dlm.NewFromConfig(inventory.Config(a.Front.URL, acctest.Region))
}

func (a account) policies(ctx context.Context) ([]*dlmtypes.LifecyclePolicy, error) {
	list, err := a.lifecycles().GetLifecyclePolicies(ctx, &dlm.GetLifecyclePoliciesInput{})
	if err != nil {
		return nil, err
	}
	var all []*dlmtypes.LifecyclePolicy
	for _, p := range list.Policies {
		out, err := a.lifecycles().GetLifecyclePolicy(ctx, &dlm.GetLifecyclePolicyInput{PolicyId: p.PolicyId})
		if err != nil {
			return nil, err
		}
		all = append(all, out.Policy)
	}
	return all, nil
}

// scheduleIs returns a check of the only lifecycle policy: its role, creation and
// retention, and that it selects the volume.
func (a account) scheduleIs(role, create string, retain int32) resource.TestCheckFunc {
	return acctest.Do(volume, func(ctx context.Context, id string) error {
		all, err := a.policies(ctx)
		if err != nil || len(all) != 1 {
			return errors.Join(err, fmt.Errorf("%d lifecycle policies", len(all)))
		}
		v, err := a.volume(ctx, id)
		if err != nil {
			return err
		}
		p, s := all[0], all[0].PolicyDetails.Schedules[0]
		got := aws.ToString(s.CreateRule.CronExpression)
		if s.CreateRule.Interval != nil {
			got = fmt.Sprint(*s.CreateRule.Interval, " ", s.CreateRule.Times)
		}
		target := p.PolicyDetails.TargetTags[0]
		selected := false
		for _, tag := range v.Tags {
			selected = selected || *tag.Key == *target.Key && *tag.Value == *target.Value
		}
		want := strings.ReplaceAll(role, "VOLUME", id)
		if got != create || *s.RetainRule.Count != retain || *p.ExecutionRoleArn != want || p.State != dlmtypes.GettablePolicyStateValuesEnabled || !selected {
			return fmt.Errorf("%s, %d kept, role %s, %s, selects the volume: %v", got, *s.RetainRule.Count, *p.ExecutionRoleArn, p.State, selected)
		}
		return nil
	})
}

// leftNoSchedule checks that no lifecycle policy is left, and nothing else.
func (a account) leftNoSchedule(s *terraform.State) error {
	all, err := a.policies(context.Background())
	if err != nil || len(all) > 0 {
		return errors.Join(err, fmt.Errorf("%d lifecycle policies are left", len(all)))
	}
	return a.CheckDestroy(s)
}

const ownRole = "arn:aws:iam::123456789012:role/xeroops-snapshots-VOLUME"

func TestSnapshotScheduleIsCreatedChangedAndRemoved(t *testing.T) {
	a := newAccount(t)
	update := expect(volume, plancheck.ResourceActionUpdate)
	daily := scheduled("interval_hours = 24, retain_count = 14")
	renamed := strings.Replace(daily, "db1-data", "db1-disk", 1)
	a.Test(resource.TestCase{CheckDestroy: a.leftNoSchedule, Steps: []resource.TestStep{
		{Config: daily, Check: a.scheduleIs(ownRole, "24 [03:00]", 14)},
		{Config: daily, ConfigPlanChecks: expect(volume, plancheck.ResourceActionNoop)},
		{ResourceName: volume, ImportState: true, ImportStateVerify: true, ImportStateVerifyIgnore: []string{"final_snapshot", "snapshot_schedule"}},
		{Config: scheduled(`interval_hours = 6, start_time = "01:30", retain_count = 28`), ConfigPlanChecks: update, Check: a.scheduleIs(ownRole, "6 [01:30]", 28)},
		{Config: scheduled(`cron = "cron(0 3 ? * SUN *)", retain_count = 4`), ConfigPlanChecks: update, Check: a.scheduleIs(ownRole, "cron(0 3 ? * SUN *)", 4)},
		{Config: renamed, ConfigPlanChecks: update, Check: a.scheduleIs(ownRole, "24 [03:00]", 14)},
		{Config: volumeConfig(20, ""), ConfigPlanChecks: update, Check: func(s *terraform.State) error {
			all, err := a.policies(context.Background())
			if err == nil && len(all) > 0 {
				err = errors.New("the lifecycle policy is left")
			}
			return err
		}},
		{Config: daily, ConfigPlanChecks: update, Check: a.scheduleIs(ownRole, "24 [03:00]", 14)},
	}})
}

func TestSnapshotScheduleWithARoleOfTheCustomers(t *testing.T) {
	a := newAccount(t)
	if _, err := a.IAM.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("dlm"), AssumeRolePolicyDocument: aws.String("{}")}); err != nil {
		t.Fatal(err)
	}
	a.KeepBaseline()
	role := "arn:aws:iam::123456789012:role/dlm"
	a.Test(resource.TestCase{CheckDestroy: a.leftNoSchedule, Steps: []resource.TestStep{
		{Config: scheduled("interval_hours = 24, retain_count = 7"), Check: a.scheduleIs(ownRole, "24 [03:00]", 7)},
		{Config: scheduled(`interval_hours = 24, retain_count = 7, role_arn = "` + role + `"`), ConfigPlanChecks: expect(volume, plancheck.ResourceActionUpdate), Check: a.scheduleIs(role, "24 [03:00]", 7)},
		{Config: scheduled(`interval_hours = 24, retain_count = 7, role_arn = "` + role + `"`), ConfigPlanChecks: expect(volume, plancheck.ResourceActionNoop)},
	}})
}

// TestTheRoleOfASnapshotScheduleHasTheBoundary gives the role a boundary when it exists
// already, and checks that the boundary of the guide allows what the role needs.
func TestTheRoleOfASnapshotScheduleHasTheBoundary(t *testing.T) {
	a := newAccount(t)
	text, err := os.ReadFile("../../../docs/policies/boundary.json")
	if err != nil {
		t.Fatal(err)
	}
	document := awscalls.Fill(string(text), "aws", "amazonaws.com", "123456789012", acctest.Region)
	policy, err := a.IAM.CreatePolicy(t.Context(), &iam.CreatePolicyInput{PolicyName: aws.String("xeroops-boundary"), PolicyDocument: &document})
	if err != nil {
		t.Fatal(err)
	}
	a.KeepBaseline()
	boundary, err := iampolicy.Parse([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	has := func(want string) resource.TestCheckFunc {
		return acctest.Do(volume, func(ctx context.Context, id string) error {
			role, err := a.IAM.GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String("xeroops-snapshots-" + id)})
			if err != nil {
				return err
			}
			got := ""
			if b := role.Role.PermissionsBoundary; b != nil {
				got = *b.PermissionsBoundaryArn
			}
			if got != want {
				return fmt.Errorf("the boundary is %q, want %q", got, want)
			}
			out, err := a.IAM.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: role.Role.RoleName, PolicyName: aws.String("snapshots")})
			if err != nil {
				return err
			}
			inline, err := url.QueryUnescape(*out.PolicyDocument)
			if err != nil {
				return err
			}
			return within(inline, boundary)
		})
	}
	plain := scheduled("interval_hours = 24, retain_count = 14")
	bounded := scheduled("interval_hours = 24, retain_count = 14, permissions_boundary = \"" + *policy.Policy.Arn + "\"")
	update := expect(volume, plancheck.ResourceActionUpdate)
	a.Test(resource.TestCase{CheckDestroy: a.leftNoSchedule, Steps: []resource.TestStep{
		{Config: plain, Check: has("")},
		{Config: bounded, ConfigPlanChecks: update, Check: has(*policy.Policy.Arn)},
		{Config: bounded, ConfigPlanChecks: expect(volume, plancheck.ResourceActionNoop)},
		{Config: plain, ConfigPlanChecks: update, Check: has("")},
		{Config: volumeConfig(20, "")},
		{Config: bounded, Check: has(*policy.Policy.Arn)},
	}})
}

// within returns an error if a boundary does not allow all that a policy allows.
func within(policy string, boundary iampolicy.Document) error {
	document, err := iampolicy.Parse([]byte(policy))
	if err != nil {
		return err
	}
	for _, s := range document.Statements {
		for _, action := range s.Actions {
			for _, pattern := range s.Resources {
				if iampolicy.Evaluate(iampolicy.Request{Action: action, Resource: pattern}, boundary) != iampolicy.Allow {
					return fmt.Errorf("the boundary does not allow %s on %s", action, pattern)
				}
			}
		}
	}
	return nil
}

func TestSnapshotScheduleDriftIsShownAndReverted(t *testing.T) {
	a := newAccount(t)
	daily := scheduled("interval_hours = 24, retain_count = 14")
	change := func(f func(ctx context.Context, c *dlm.Client, id *string) error) func() {
		return a.behindTerraform(func(ctx context.Context) error {
			all, err := a.policies(ctx)
			if err != nil || len(all) != 1 {
				return errors.Join(err, fmt.Errorf("%d lifecycle policies", len(all)))
			}
			return f(ctx, a.lifecycles(), all[0].PolicyId)
		})
	}
	steps := []resource.TestStep{{Config: daily, Check: a.note(volume)}}
	steps = append(steps, repairs(volume, daily, "is disabled", change(func(ctx context.Context, c *dlm.Client, id *string) error {
		_, err := c.UpdateLifecyclePolicy(ctx, &dlm.UpdateLifecyclePolicyInput{PolicyId: id, State: dlmtypes.SettablePolicyStateValuesDisabled})
		return err
	}))...)
	steps = append(steps, repairs(volume, daily, "the snapshot schedule is missing", change(func(ctx context.Context, c *dlm.Client, id *string) error {
		_, err := c.DeleteLifecyclePolicy(ctx, &dlm.DeleteLifecyclePolicyInput{PolicyId: id})
		return err
	}))...)
	steps = append(steps, repairs(volume, daily, "lacks the tag", a.behindTerraform(func(ctx context.Context) error {
		_, err := a.EC2.DeleteTags(ctx, &ec2.DeleteTagsInput{Resources: []string{*a.id(volume)}, Tags: []ec2types.Tag{{Key: aws.String("xeroops:snapshot-schedule")}}})
		return err
	}))...)
	steps[len(steps)-1].Check = a.scheduleIs(ownRole, "24 [03:00]", 14)
	a.Test(resource.TestCase{CheckDestroy: a.leftNoSchedule, Steps: steps})
}

func TestSnapshotScheduleSurvivesLostResponses(t *testing.T) {
	for _, effect := range []fakeaws.Effect{fakeaws.DropAfter, fakeaws.ServerError, fakeaws.Throttle} {
		t.Run(string(effect), func(t *testing.T) {
			a := newAccount(t)
			for _, action := range []string{"GetLifecyclePolicies", "GetLifecyclePolicy", "CreateLifecyclePolicy", "UpdateLifecyclePolicy", "DeleteLifecyclePolicy",
				"CreateRole", "PutRolePolicy", "GetRole", "DeleteRolePolicy", "DeleteRole"} {
				if err := a.Front.Inject(fakeaws.Fault{Action: action, Nth: 1, Effect: effect}); err != nil {
					t.Fatal(err)
				}
			}
			a.Test(resource.TestCase{CheckDestroy: a.leftNoSchedule, Steps: []resource.TestStep{
				{Config: scheduled("interval_hours = 24, retain_count = 14"), Check: a.scheduleIs(ownRole, "24 [03:00]", 14)},
				{Config: scheduled("interval_hours = 12, retain_count = 14"), Check: a.scheduleIs(ownRole, "12 [03:00]", 14)},
			}})
		})
	}
}

func TestScheduleThatFailedIsContinued(t *testing.T) {
	a := newAccount(t)
	daily := scheduled("interval_hours = 24, retain_count = 14")
	if err := a.Front.Inject(fakeaws.Fault{Action: "CreateLifecyclePolicy", Effect: fakeaws.Fail, Code: "LimitExceededException", Message: "100 policies"}); err != nil {
		t.Fatal(err)
	}
	a.Test(resource.TestCase{CheckDestroy: a.leftNoSchedule, Steps: []resource.TestStep{
		{Config: daily, ExpectError: matching(`LimitExceededException`)},
		{Config: daily, Check: a.scheduleIs(ownRole, "24 [03:00]", 14)},
	}})
}

func TestScheduleWaitsForItsRole(t *testing.T) {
	a := newAccount(t)
	for _, fault := range []fakeaws.Fault{
		{Action: "CreateLifecyclePolicy", Effect: fakeaws.Fail, Code: "InvalidRequestException", Message: "The role cannot be assumed", Times: 2},
		{Action: "DeleteRole", Effect: fakeaws.Fail, Status: 409, Code: "DeleteConflict", Message: "must delete policies first"},
	} {
		if err := a.Front.Inject(fault); err != nil {
			t.Fatal(err)
		}
	}
	a.Test(resource.TestCase{CheckDestroy: a.leftNoSchedule, Steps: []resource.TestStep{
		{Config: scheduled("interval_hours = 24, retain_count = 14"), Check: a.scheduleIs(ownRole, "24 [03:00]", 14)},
	}})
}

func TestSnapshotScheduleErrorsSayWhatToDo(t *testing.T) {
	for name, tc := range map[string]struct{ schedule, says string }{
		"neither":  {"retain_count = 1", `Exactly one of these attributes|No attribute specified when one`},
		"both":     {`interval_hours = 24, cron = "cron(0 3 ? * SUN *)", retain_count = 1`, `2 attributes specified when one`},
		"interval": {"interval_hours = 5, retain_count = 1", `must be one of`},
		"time":     {`interval_hours = 24, start_time = "24:00", retain_count = 1`, `use hh:mm in UTC`},
		"cron":     {`cron = "0 3 * * *", retain_count = 1`, `use six fields`},
		"count":    {"interval_hours = 24, retain_count = 1001", `between 1 and 1000`},
		"role":     {`interval_hours = 24, retain_count = 1, role_arn = "dlm"`, `not the ARN of an IAM role`},
	} {
		t.Run(name, func(t *testing.T) {
			newAccount(t).Test(resource.TestCase{Steps: []resource.TestStep{{Config: scheduled(tc.schedule), PlanOnly: true, ExpectError: matching(tc.says)}}})
		})
	}
}
