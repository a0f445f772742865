package cluster

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/xeroops/xeroops/internal/awswait"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// policyName is the name of each role's inline policy.
const policyName = "xeroops"

// iamPath groups a cluster's roles and profiles; IAM can list by it.
func (w *work) iamPath() string {
	return "/xeroops/" + w.Client.Region + "/" + w.spec.Name + "/"
}

// iamPrefix begins the name of each role and profile. IAM is global, so the
// name holds the region.
func (w *work) iamPrefix() string { return "xeroops-" + w.Client.Region + "-" + w.spec.Name + "-" }

func (w *work) iamName(role model.Role) string { return w.iamPrefix() + string(role) }

// managedRoles are the roles in use for which the provider makes IAM roles.
func (w *work) managedRoles() []model.Role {
	var managed []model.Role
	for _, role := range w.spec.roles() {
		if w.spec.Profiles[role] == "" {
			managed = append(managed, role)
		}
	}
	return managed
}

// profileName is the instance profile that nodes of a role run with.
func (w *work) profileName(role model.Role) string {
	if own := w.spec.Profiles[role]; own != "" {
		return own
	}
	return w.iamName(role)
}

func (w *work) ensureRoles(ctx context.Context) error {
	return base.ParallelAll(ctx, stepsFor(w.managedRoles(), func(ctx context.Context, _ int, role model.Role) error {
		if err := w.ensureRole(ctx, role); err != nil {
			return fmt.Errorf("IAM role %s: %w", w.iamName(role), err)
		}
		return nil
	})...)
}

// ensureRole makes role and profile side by side, then makes the one hold what
// it should and the other the one.
func (w *work) ensureRole(ctx context.Context, role model.Role) error {
	name := w.iamName(role)
	policy, err := w.policyFor(ctx, role)
	if err != nil {
		return err
	}
	existing, roleExists := w.seen.roles[role]
	profile, profileExists := w.seen.profiles[role]
	err = base.ParallelAll(ctx,
		when(!roleExists, func(ctx context.Context) error { return w.createRole(ctx, name) }),
		when(!profileExists, func(ctx context.Context) error { return w.createProfile(ctx, name) }),
	)
	if err != nil {
		return err
	}
	return base.ParallelAll(ctx,
		func(ctx context.Context) error {
			if err := w.ensurePolicies(ctx, name, existing, policy, roleExists); err != nil || !roleExists || !w.setTags {
				return err
			}
			return w.tagRole(ctx, name)
		},
		func(ctx context.Context) error {
			if err := w.fillProfile(ctx, name, profile); err != nil || !profileExists || !w.setTags {
				return err
			}
			return w.tagProfile(ctx, name)
		},
	)
}

// when is step, or nothing to do.
func when(needed bool, step base.Step) base.Step {
	if !needed {
		return func(context.Context) error { return nil }
	}
	return step
}

// ensurePolicies gives a role its policy and its trust, and takes away what
// others gave it: a role may do what its nodes need, and nothing else. One call
// after the other, since IAM answers ConcurrentModification to some that change
// one role at the same time.
func (w *work) ensurePolicies(ctx context.Context, name string, existing iamRole, policy string, existed bool) error {
	if !base.SamePolicy(existing.policy, policy) {
		_, err := awswait.Retry(ctx, awswait.ProfilePropagation, awswait.IsNotFound, func(ctx context.Context) (any, error) {
			return w.Client.IAM.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &name, PolicyName: aws.String(policyName), PolicyDocument: &policy})
		})
		if err != nil {
			return err
		}
	}
	if existed && !base.SamePolicy(existing.trust, trustPolicy) {
		_, err := w.Client.IAM.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: &name, PolicyDocument: aws.String(trustPolicy)})
		if err != nil {
			return err
		}
	}
	return w.removePolicies(ctx, name, existing.inline, existing.attached)
}

func (w *work) removePolicies(ctx context.Context, name string, inline, attached []string) error {
	for _, policy := range inline {
		_, err := w.Client.IAM.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &name, PolicyName: &policy})
		if err = awswait.Ignore(err, awswait.IsNotFound); err != nil {
			return fmt.Errorf("delete policy %s: %w", policy, err)
		}
	}
	for _, policy := range attached {
		_, err := w.Client.IAM.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: &name, PolicyArn: &policy})
		if err = awswait.Ignore(err, awswait.IsNotFound); err != nil {
			return fmt.Errorf("detach policy %s: %w", policy, err)
		}
	}
	return nil
}

// fillProfile puts the role into the instance profile of its name.
func (w *work) fillProfile(ctx context.Context, name string, profile iamProfile) error {
	if profile.hasRole {
		return nil
	}
	_, err := awswait.Retry(ctx, awswait.ProfilePropagation, awswait.IsNotFound, func(ctx context.Context) (any, error) {
		return w.Client.IAM.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: &name, RoleName: &name})
	})
	// A profile holds one role: LimitExceeded means that it is in already.
	return awswait.Ignore(err, func(err error) bool { return awswait.HasCode(err, "LimitExceeded") || isEntityExists(err) })
}

func isEntityExists(err error) bool { return awswait.HasCode(err, "EntityAlreadyExists") }

// trustPolicy lets instances take a role, and nobody else.
const trustPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

func (w *work) createRole(ctx context.Context, name string) error {
	_, err := w.Client.IAM.CreateRole(ctx, &iam.CreateRoleInput{RoleName: &name, Path: aws.String(w.iamPath()),
		AssumeRolePolicyDocument: aws.String(trustPolicy), Description: aws.String("Node of XeroOps cluster " + w.spec.Name), Tags: newIAMTags(w.iamTags(name))})
	return w.orOwn(ctx, err, "role", name, w.isOwnRole)
}

func (w *work) createProfile(ctx context.Context, name string) error {
	_, err := w.Client.IAM.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: &name, Path: aws.String(w.iamPath()), Tags: newIAMTags(w.iamTags(name))})
	return w.orOwn(ctx, err, "instance profile", name, w.isOwnProfile)
}

// orOwn takes what exists already for made: a create whose answer got lost, unless
// it is somebody else's.
func (w *work) orOwn(ctx context.Context, created error, kind, name string, isOwn func(ctx context.Context, name string) (bool, error)) error {
	if !isEntityExists(created) {
		return created
	}
	own, err := awswait.Retry(ctx, awswait.ProfilePropagation, awswait.IsNotFound, func(ctx context.Context) (bool, error) { return isOwn(ctx, name) })
	if err == nil && !own {
		return fmt.Errorf("the account has an IAM %s %s that is not this cluster's (path %s and tag %s = %s); delete that one, choose another name for the cluster, or give the role a profile of your own in instance_profiles",
			kind, name, w.iamPath(), base.TagCluster, w.spec.Name)
	}
	return err
}

func (w *work) isOwnRole(ctx context.Context, name string) (bool, error) {
	out, err := w.Client.IAM.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
	if err != nil {
		return false, err
	}
	return w.isOwn(out.Role.Path, out.Role.Tags), nil
}

func (w *work) isOwnProfile(ctx context.Context, name string) (bool, error) {
	out, err := w.Client.IAM.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: &name})
	if err != nil {
		return false, err
	}
	return w.isOwn(out.InstanceProfile.Path, out.InstanceProfile.Tags), nil
}

func (w *work) isOwn(path *string, tags []iamtypes.Tag) bool {
	return aws.ToString(path) == w.iamPath() && flattenIAMTags(tags)[base.TagCluster] == w.spec.Name
}

// deleteRoles deletes roles and profiles, whatever half of them exists.
func (w *work) deleteRoles(ctx context.Context, roles []model.Role) error {
	return base.ParallelAll(ctx, stepsFor(roles, func(ctx context.Context, _ int, role model.Role) error {
		if err := w.deleteRole(ctx, role); err != nil {
			return fmt.Errorf("delete IAM role %s: %w", w.iamName(role), err)
		}
		return nil
	})...)
}

func (w *work) deleteRole(ctx context.Context, role model.Role) error {
	name := w.iamName(role)
	_, hasRole := w.seen.roles[role]
	profile, hasProfile := w.seen.profiles[role]
	gone := func(err error) error { return awswait.Ignore(err, awswait.IsNotFound) }
	// What is not under the cluster's path may be somebody else's of that name.
	if !hasRole {
		var err error
		if hasRole, err = w.isOwnRole(ctx, name); gone(err) != nil {
			return err
		}
	}
	if !hasProfile {
		var err error
		if hasProfile, err = w.isOwnProfile(ctx, name); gone(err) != nil {
			return err
		}
		profile.hasRole = hasProfile // it may
	}
	step := func(has bool, do base.Step) base.Step {
		return when(has, func(ctx context.Context) error { return gone(do(ctx)) })
	}
	err := base.ParallelAll(ctx,
		step(profile.hasRole, func(ctx context.Context) error {
			_, err := w.Client.IAM.RemoveRoleFromInstanceProfile(ctx, &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: &name, RoleName: &name})
			return err
		}),
		step(hasRole, func(ctx context.Context) error {
			_, err := w.Client.IAM.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &name, PolicyName: aws.String(policyName)})
			return err
		}),
	)
	if err != nil {
		return err
	}
	return base.ParallelAll(ctx,
		step(hasProfile, func(ctx context.Context) error {
			_, err := w.Client.IAM.DeleteInstanceProfile(ctx, &iam.DeleteInstanceProfileInput{InstanceProfileName: &name})
			return err
		}),
		step(hasRole, func(ctx context.Context) error {
			_, err := awswait.Retry(ctx, awswait.ProfilePropagation, awswait.IsInUse, func(ctx context.Context) (any, error) {
				out, err := w.Client.IAM.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: &name})
				if awswait.IsInUse(err) { // by policies that others gave it, perhaps
					if err := w.stripRole(ctx, name); err != nil {
						return nil, err
					}
				}
				return out, err
			})
			return err
		}),
	)
}

// stripRole takes away all policies that a role has.
func (w *work) stripRole(ctx context.Context, name string) error {
	var role iamRole
	if err := w.readRole(ctx, name, &role); err != nil {
		return err
	}
	return w.removePolicies(ctx, name, role.inline, role.attached)
}
