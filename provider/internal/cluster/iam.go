package cluster

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

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

// ensureRole makes role and profile side by side, then puts the policy into
// the one and the one into the other.
func (w *work) ensureRole(ctx context.Context, role model.Role) error {
	name := w.iamName(role)
	policy, err := w.policyFor(ctx, role)
	if err != nil {
		return err
	}
	existing, roleExists := w.seen.roles[role]
	profile, profileExists := w.seen.profiles[role]
	err = base.ParallelAll(ctx,
		func(ctx context.Context) error {
			if roleExists {
				return nil
			}
			return w.createRole(ctx, name)
		},
		func(ctx context.Context) error {
			if profileExists {
				return nil
			}
			return w.createProfile(ctx, name)
		},
	)
	if err != nil {
		return err
	}
	return base.ParallelAll(ctx,
		func(ctx context.Context) error {
			if base.SamePolicy(existing.policy, policy) {
				return nil
			}
			_, err := awswait.Retry(ctx, awswait.ProfilePropagation, awswait.IsNotFound, func(ctx context.Context) (any, error) {
				return w.Client.IAM.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &name, PolicyName: aws.String(policyName), PolicyDocument: &policy})
			})
			return err
		},
		func(ctx context.Context) error {
			if profile.hasRole {
				return nil
			}
			_, err := awswait.Retry(ctx, awswait.ProfilePropagation, awswait.IsNotFound, func(ctx context.Context) (any, error) {
				return w.Client.IAM.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: &name, RoleName: &name})
			})
			// A profile holds one role: LimitExceeded means that it is in already.
			return awswait.Ignore(err, func(err error) bool { return awswait.HasCode(err, "LimitExceeded") || isEntityExists(err) })
		},
	)
}

func isEntityExists(err error) bool { return awswait.HasCode(err, "EntityAlreadyExists") }

func (w *work) createRole(ctx context.Context, name string) error {
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	_, err := w.Client.IAM.CreateRole(ctx, &iam.CreateRoleInput{RoleName: &name, Path: aws.String(w.iamPath()),
		AssumeRolePolicyDocument: &trust, Description: aws.String("Node of XeroOps cluster " + w.spec.Name), Tags: w.iamTags(name)})
	if !isEntityExists(err) {
		return err
	}
	// An answer that got lost, or somebody else's.
	own, err := awswait.Retry(ctx, awswait.ProfilePropagation, awswait.IsNotFound, func(ctx context.Context) (bool, error) { return w.isOwnRole(ctx, name) })
	if err == nil && !own {
		return w.notOwn("role " + name)
	}
	return err
}

func (w *work) createProfile(ctx context.Context, name string) error {
	_, err := w.Client.IAM.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: &name, Path: aws.String(w.iamPath()), Tags: w.iamTags(name)})
	if !isEntityExists(err) {
		return err
	}
	own, err := awswait.Retry(ctx, awswait.ProfilePropagation, awswait.IsNotFound, func(ctx context.Context) (bool, error) { return w.isOwnProfile(ctx, name) })
	if err == nil && !own {
		return w.notOwn("instance profile " + name)
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
	return aws.ToString(path) == w.iamPath() && slices.ContainsFunc(tags, func(t iamtypes.Tag) bool {
		return aws.ToString(t.Key) == base.TagCluster && aws.ToString(t.Value) == w.spec.Name
	})
}

func (w *work) notOwn(what string) error {
	return fmt.Errorf("the account has an IAM %s that is not this cluster's (path %s and tag %s = %s); delete that one, choose another name for the cluster, or give the role a profile of your own in instance_profiles",
		what, w.iamPath(), base.TagCluster, w.spec.Name)
}

func (w *work) iamTags(name string) []iamtypes.Tag {
	var tags []iamtypes.Tag
	for k, v := range base.AllTags(name, w.spec.TagsAll, map[string]string{base.TagCluster: w.spec.Name}) {
		tags = append(tags, iamtypes.Tag{Key: aws.String(k), Value: aws.String(v)})
	}
	return tags
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
		return func(ctx context.Context) error {
			if !has {
				return nil
			}
			return gone(do(ctx))
		}
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
				return w.Client.IAM.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: &name})
			})
			return err
		}),
	)
}

// driftOfRoles lists how the IAM roles differ from what is wanted.
func (w *work) driftOfRoles(ctx context.Context) []string {
	var found []string
	for _, role := range w.managedRoles() {
		existing, exists := w.seen.roles[role]
		wanted, err := w.policyFor(ctx, role)
		switch {
		case !exists:
			found = append(found, fmt.Sprintf("IAM role %s is gone", w.iamName(role)))
		case err == nil && !base.SamePolicy(existing.policy, wanted):
			found = append(found, fmt.Sprintf("the policy of IAM role %s was changed", w.iamName(role)))
		case !w.seen.profiles[role].hasRole:
			found = append(found, fmt.Sprintf("instance profile %s does not hold its role", w.iamName(role)))
		}
	}
	return found
}

// decodePolicy decodes a policy document as IAM answers with it: URL-encoded
// (RFC 3986).
func decodePolicy(document string) (string, error) {
	if strings.HasPrefix(document, "{") {
		return document, nil
	}
	return url.PathUnescape(document)
}
