package iamrole

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/xeroops/xeroops/internal/awswait"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// Delete deletes all roles and instance profiles.
func (r *Roles) Delete(ctx context.Context) error { return r.deleteRoles(ctx, model.Roles()) }

// DeleteUnused deletes the roles and profiles that are not managed any more.
func (r *Roles) DeleteUnused(ctx context.Context) error {
	managed := r.spec.ManagedRoles()
	return r.deleteRoles(ctx, slices.DeleteFunc(model.Roles(), func(role model.Role) bool { return slices.Contains(managed, role) }))
}

// deleteRoles deletes roles and profiles of which at least one was observed.
func (r *Roles) deleteRoles(ctx context.Context, roles []model.Role) error {
	roles = slices.DeleteFunc(roles, func(role model.Role) bool {
		_, hasRole := r.roles[role]
		_, hasProfile := r.profiles[role]
		return !hasRole && !hasProfile
	})
	return base.ParallelAll(ctx, base.StepsFor(roles, func(ctx context.Context, _ int, role model.Role) error {
		if err := r.delete(ctx, role); err != nil {
			return fmt.Errorf("delete IAM role %s: %w", r.name(role), err)
		}
		return nil
	})...)
}

func (r *Roles) delete(ctx context.Context, of model.Role) error {
	name := r.name(of)
	hasRole, hasProfile, profileHasRole, err := r.exists(ctx, of)
	if err != nil {
		return err
	}
	step := func(has bool, do base.Step) base.Step {
		return base.StepIf(has, func(ctx context.Context) error { return awswait.Ignore(do(ctx), awswait.IsNotFound) })
	}
	err = base.ParallelAll(ctx,
		step(profileHasRole, func(ctx context.Context) error {
			_, err := r.client.IAM.RemoveRoleFromInstanceProfile(ctx, &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: &name, RoleName: &name})
			return err
		}),
		step(hasRole, func(ctx context.Context) error {
			_, err := r.client.IAM.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &name, PolicyName: aws.String(policyName)})
			return err
		}),
	)
	if err != nil {
		return err
	}
	return base.ParallelAll(ctx,
		step(hasProfile, func(ctx context.Context) error {
			// The role that was just removed from it may still count (eventual consistency).
			_, err := awswait.Retry(ctx, awswait.ProfilePropagation, awswait.IsInUse, func(ctx context.Context) (any, error) {
				return r.client.IAM.DeleteInstanceProfile(ctx, &iam.DeleteInstanceProfileInput{InstanceProfileName: &name})
			})
			return err
		}),
		step(hasRole, func(ctx context.Context) error { return r.deleteRole(ctx, name) }),
	)
}

// exists reports which of a role and its profile exist and belong to the
// cluster. What Observe did not find by its path may have been created by
// somebody else.
func (r *Roles) exists(ctx context.Context, of model.Role) (hasRole, hasProfile, profileHasRole bool, err error) {
	_, hasRole = r.roles[of]
	profile, hasProfile := r.profiles[of]
	profileHasRole = profile.hasRole
	if !hasRole {
		if hasRole, err = r.ownsRole(ctx, r.name(of)); awswait.Ignore(err, awswait.IsNotFound) != nil {
			return false, false, false, err
		}
	}
	if !hasProfile {
		if hasProfile, err = r.ownsProfile(ctx, r.name(of)); awswait.Ignore(err, awswait.IsNotFound) != nil {
			return false, false, false, err
		}
		profileHasRole = hasProfile // possibly
	}
	return hasRole, hasProfile, profileHasRole, nil
}

// deleteRole deletes a role, and the policies that others gave it if IAM
// refuses because of them.
func (r *Roles) deleteRole(ctx context.Context, name string) error {
	_, err := awswait.Retry(ctx, awswait.ProfilePropagation, awswait.IsInUse, func(ctx context.Context) (any, error) {
		out, err := r.client.IAM.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: &name})
		if awswait.IsInUse(err) {
			if err := r.removeAllPolicies(ctx, name); err != nil {
				return nil, err
			}
		}
		return out, err
	})
	return err
}

func (r *Roles) removeAllPolicies(ctx context.Context, name string) error {
	inline, err := r.listInline(ctx, name)
	if err != nil {
		return awswait.Ignore(err, awswait.IsNotFound)
	}
	attached, err := r.listAttached(ctx, name)
	if err != nil {
		return awswait.Ignore(err, awswait.IsNotFound)
	}
	return r.removePolicies(ctx, name, inline, attached)
}
