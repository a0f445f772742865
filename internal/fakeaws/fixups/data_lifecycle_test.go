package fixups_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dlm"
	"github.com/aws/aws-sdk-go-v2/service/dlm/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/xeroops/xeroops/internal/fakeaws/inventory"
)

func TestLifecyclePoliciesAreKept(t *testing.T) {
	f := newFixture(t, fast)
	client := dlm.NewFromConfig(inventory.Config(f.front.URL, "eu-west-1"))
	in := &dlm.CreateLifecyclePolicyInput{Description: aws.String("Snapshots of db1"), ExecutionRoleArn: aws.String("arn:aws:iam::123456789012:role/snapshots"),
		State: types.SettablePolicyStateValuesEnabled, Tags: map[string]string{"a": "b"}, PolicyDetails: &types.PolicyDetails{ResourceTypes: []types.ResourceTypeValues{types.ResourceTypeValuesVolume},
			TargetTags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}, Schedules: []types.Schedule{{Name: aws.String("s"),
				CreateRule: &types.CreateRule{Interval: aws.Int32(24), IntervalUnit: types.IntervalUnitValuesHours}, RetainRule: &types.RetainRule{Count: aws.Int32(7)}}}}}
	_, err := client.CreateLifecyclePolicy(ctx, in)
	f.refused(err, "InvalidRequestException") // no such role
	_, err = f.iam.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("snapshots"), AssumeRolePolicyDocument: aws.String("{}")})
	f.ok(err)
	made, err := client.CreateLifecyclePolicy(ctx, in)
	f.ok(err)
	list, err := client.GetLifecyclePolicies(ctx, &dlm.GetLifecyclePoliciesInput{})
	f.ok(err)
	if len(list.Policies) != 1 || *list.Policies[0].PolicyId != *made.PolicyId || list.Policies[0].Tags["a"] != "b" {
		t.Errorf("policies are %+v", list.Policies)
	}
	_, err = client.UpdateLifecyclePolicy(ctx, &dlm.UpdateLifecyclePolicyInput{PolicyId: made.PolicyId, State: types.SettablePolicyStateValuesDisabled})
	f.ok(err)
	got, err := client.GetLifecyclePolicy(ctx, &dlm.GetLifecyclePolicyInput{PolicyId: made.PolicyId})
	f.ok(err)
	if s := got.Policy.PolicyDetails.Schedules[0]; got.Policy.State != types.GettablePolicyStateValuesDisabled || *s.RetainRule.Count != 7 || *s.CreateRule.Interval != 24 {
		t.Errorf("the policy is %+v", got.Policy)
	}
	_, err = client.DeleteLifecyclePolicy(ctx, &dlm.DeleteLifecyclePolicyInput{PolicyId: made.PolicyId})
	f.ok(err)
	_, err = client.GetLifecyclePolicy(ctx, &dlm.GetLifecyclePolicyInput{PolicyId: made.PolicyId})
	f.refused(err, "ResourceNotFoundException")
}
