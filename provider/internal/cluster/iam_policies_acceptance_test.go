package cluster_test

import (
	"fmt"
	"regexp"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"github.com/xeroops/xeroops/provider/internal/acctest"
)

// policy creates a managed policy and returns its ARN.
func (a *account) policy(name string) string {
	made, err := a.IAM.CreatePolicy(a.t.Context(), &iam.CreatePolicyInput{PolicyName: &name, PolicyDocument: aws.String(somePolicy)})
	a.must(err)
	return *made.Policy.Arn
}

// hasRole checks path, boundary and managed policies of the app nodes' role.
func (a *account) hasRole(path, boundary string, policies ...string) resource.TestCheckFunc {
	return check(func() error {
		out, err := a.IAM.GetRole(a.t.Context(), &iam.GetRoleInput{RoleName: aws.String(appRole)})
		a.must(err)
		actual := ""
		if b := out.Role.PermissionsBoundary; b != nil {
			actual = aws.ToString(b.PermissionsBoundaryArn)
		}
		if *out.Role.Path != path || actual != boundary {
			return fmt.Errorf("path %s and boundary %q, want %s and %q", *out.Role.Path, actual, path, boundary)
		}
		list, err := a.IAM.ListAttachedRolePolicies(a.t.Context(), &iam.ListAttachedRolePoliciesInput{RoleName: aws.String(appRole)})
		a.must(err)
		var attached []string
		for _, p := range list.AttachedPolicies {
			attached = append(attached, *p.PolicyArn)
		}
		slices.Sort(attached)
		slices.Sort(policies)
		if !slices.Equal(attached, policies) {
			return fmt.Errorf("attached are %v, want %v", attached, policies)
		}
		return nil
	})
}

func TestRolesHaveTheConfiguredPathBoundaryAndPoliciesAndKeepThoseOfOthers(t *testing.T) {
	a := newAccount(t)
	boundary, queue, others := a.policy("boundary"), a.policy("queue"), a.policy("others")
	a.KeepBaseline()
	role := aws.String(appRole)
	config := func(extra string) string { a.extra = extra; return a.config() }
	const path = "/platform/xeroops/eu-west-1/production/"
	all := config(fmt.Sprintf("iam_path = \"/platform/\"\n permissions_boundary = %q\n additional_policy_arns = { app = [%q] }", boundary, queue))
	steps := []resource.TestStep{
		{Config: all, Check: a.hasRole(path, boundary, queue)},
		{PreConfig: func() {
			_, err := a.IAM.AttachRolePolicy(t.Context(), &iam.AttachRolePolicyInput{RoleName: role, PolicyArn: &others})
			a.must(err)
			_, err = a.IAM.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: role, PolicyName: aws.String("others"), PolicyDocument: aws.String(somePolicy)})
			a.must(err)
		}, Config: all, ConfigPlanChecks: nothingToDo()},
	}
	steps = append(steps, acctest.Repairs(resourceName, all, "lacks policies: "+queue, func() {
		_, err := a.IAM.DetachRolePolicy(t.Context(), &iam.DetachRolePolicyInput{RoleName: role, PolicyArn: &queue})
		a.must(err)
	})...)
	steps = append(steps, acctest.Repairs(resourceName, all, "permissions boundary of IAM role "+appRole, func() {
		_, err := a.IAM.DeleteRolePermissionsBoundary(t.Context(), &iam.DeleteRolePermissionsBoundaryInput{RoleName: role})
		a.must(err)
	})...)
	a.Test(resource.TestCase{Steps: append(steps,
		resource.TestStep{Config: all, ConfigPlanChecks: nothingToDo(), Check: a.hasRole(path, boundary, queue, others)},
		resource.TestStep{Config: config(""), ExpectError: regexp.MustCompile(`The IAM path cannot change`)},
		resource.TestStep{Config: config(`iam_path = "/platform/"`), ConfigPlanChecks: inPlace(), Check: a.hasRole(path, "", others)},
		resource.TestStep{Config: config(`iam_path = "/platform/"`), ConfigPlanChecks: nothingToDo()},
		resource.TestStep{Config: config("iam_path = \"/platform/\"\n exclusive_policies = true"), ConfigPlanChecks: inPlace(), Check: a.hasRole(path, "")},
	)})
}

func TestPoliciesOfARoleThatIsNotManagedAreRefused(t *testing.T) {
	a := newAccount(t)
	a.extra = `instance_profiles = { app = "own" }
  additional_policy_arns = { app = ["arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"] }`
	a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: a.config(), PlanOnly: true, ExpectError: acctest.Matching("attach the policies to that IAM role instead")}}})
}
