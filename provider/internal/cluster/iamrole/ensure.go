package iamrole

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/xeroops/xeroops/internal/awswait"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// ensurePolicies gives a role its policies and its boundary, and takes from it
// what is not configured any more or, if ExclusivePolicies is set, what others
// added. The calls run in sequence: IAM answers some concurrent changes of one
// role with ConcurrentModification.
func (r *Roles) ensurePolicies(ctx context.Context, of model.Role, actual, wanted role, existed bool) error {
	name := r.name(of)
	if existed { // first: the operator may have to leave roles without the boundary alone
		if err := r.setBoundary(ctx, name, actual.boundary, wanted.boundary); err != nil {
			return base.AtAttribute(path.Root("permissions_boundary"), err)
		}
	}
	if !base.SamePolicy(actual.policy, wanted.policy) {
		_, err := awswait.Retry(ctx, awswait.ProfilePropagation, awswait.IsNotFound, func(ctx context.Context) (any, error) {
			return r.client.IAM.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &name, PolicyName: aws.String(policyName), PolicyDocument: &wanted.policy})
		})
		if err != nil {
			return err
		}
	}
	if existed && !base.SamePolicy(actual.trust, wanted.trust) {
		_, err := r.client.IAM.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: &name, PolicyDocument: &wanted.trust})
		if err != nil {
			return err
		}
	}
	inline, attached := []string(nil), without(r.Former.AdditionalPolicies[of], wanted.attached)
	if r.spec.IAM.ExclusivePolicies {
		inline, attached = actual.inline, without(actual.attached, wanted.attached)
	}
	if err := r.removePolicies(ctx, name, inline, attached); err != nil { // first: their number is limited
		return err
	}
	return base.AtAttribute(path.Root("additional_policy_arns"), r.attach(ctx, name, without(wanted.attached, actual.attached)))
}

// setBoundary sets the boundary of an existing role, or removes the former one.
func (r *Roles) setBoundary(ctx context.Context, name, actual, wanted string) error {
	switch {
	case wanted == "" && r.Former.PermissionsBoundary != "":
		_, err := r.client.IAM.DeleteRolePermissionsBoundary(ctx, &iam.DeleteRolePermissionsBoundaryInput{RoleName: &name})
		return awswait.Ignore(err, awswait.IsNotFound)
	case wanted != actual:
		_, err := r.client.IAM.PutRolePermissionsBoundary(ctx, &iam.PutRolePermissionsBoundaryInput{RoleName: &name, PermissionsBoundary: &wanted})
		return err
	}
	return nil
}

func (r *Roles) attach(ctx context.Context, name string, policies []string) error {
	for _, policy := range policies {
		_, err := awswait.Retry(ctx, awswait.ProfilePropagation, isRoleNotVisible, func(ctx context.Context) (any, error) {
			return r.client.IAM.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: &name, PolicyArn: &policy})
		})
		if err != nil {
			return fmt.Errorf("attach policy %s: %w", policy, err)
		}
	}
	return nil
}

// isRoleNotVisible reports whether IAM does not know a new role yet. It has the
// same code for a policy that does not exist.
func isRoleNotVisible(err error) bool {
	return awswait.HasCode(err, "NoSuchEntity") && strings.Contains(strings.ToLower(err.Error()), "role with name")
}

func (r *Roles) removePolicies(ctx context.Context, name string, inline, attached []string) error {
	for _, policy := range inline {
		_, err := r.client.IAM.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &name, PolicyName: &policy})
		if err = awswait.Ignore(err, awswait.IsNotFound); err != nil {
			return fmt.Errorf("delete policy %s: %w", policy, err)
		}
	}
	for _, policy := range attached {
		_, err := r.client.IAM.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: &name, PolicyArn: &policy})
		if err = awswait.Ignore(err, awswait.IsNotFound); err != nil {
			return fmt.Errorf("detach policy %s: %w", policy, err)
		}
	}
	return nil
}

// without returns the elements of all that are not in others.
func without(all, others []string) []string {
	var rest []string
	for _, one := range all {
		if !slices.Contains(others, one) {
			rest = append(rest, one)
		}
	}
	return rest
}
