package iamrole

import (
	"context"
	"fmt"
	"maps"
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

// Observe lists the cluster's roles and profiles and, in parallel, reads the
// policies of the managed roles if ReadPolicies is set.
func (r *Roles) Observe(ctx context.Context) error {
	r.roles, r.profiles = map[model.Role]role{}, map[model.Role]profile{}
	return base.Parallel(ctx, r.observeRoles, base.StepIf(r.ReadPolicies, r.readKeys))
}

func (r *Roles) observeRoles(ctx context.Context) error {
	managed := r.spec.ManagedRoles()
	read := make([]role, len(managed))
	trust := map[model.Role]string{}
	steps := []base.Step{func(ctx context.Context) error { return r.list(ctx, trust) }}
	if r.ReadPolicies {
		steps = append(steps, base.StepsFor(managed, func(ctx context.Context, n int, of model.Role) error {
			return r.readRole(ctx, of, &read[n])
		})...)
	}
	if err := base.Parallel(ctx, steps...); err != nil {
		return err
	}
	for of, document := range trust {
		actual := role{}
		if n := slices.Index(managed, of); n >= 0 {
			actual = read[n]
		}
		actual.trust = document
		r.roles[of] = actual
	}
	return nil
}

// list lists the cluster's profiles and the trust policies of its roles. An instance
// profile comes with its role, so that with OnlyInUse the roles are listed only if one
// is missing from its profile.
func (r *Roles) list(ctx context.Context, trust map[model.Role]string) error {
	inUse := map[model.Role]string{}
	profiles := func(ctx context.Context) error { return r.listProfiles(ctx, inUse) }
	roles := func(ctx context.Context) error { return r.listRoles(ctx, trust) }
	if !r.OnlyInUse {
		return base.Parallel(ctx, profiles, roles)
	}
	if err := profiles(ctx); err != nil {
		return err
	}
	for _, of := range r.spec.ManagedRoles() {
		if inUse[of] == "" {
			return roles(ctx)
		}
	}
	maps.Copy(trust, inUse)
	return nil
}

// listRoles lists the cluster's roles with their trust policies.
func (r *Roles) listRoles(ctx context.Context, trust map[model.Role]string) error {
	pages := iam.NewListRolesPaginator(r.client.IAM, &iam.ListRolesInput{PathPrefix: aws.String(r.path())})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, listed := range page.Roles {
			of, own := strings.CutPrefix(aws.ToString(listed.RoleName), r.prefix())
			if !own || aws.ToString(listed.Path) != r.path() {
				continue
			}
			if err := addTrust(trust, model.Role(of), listed); err != nil {
				return err
			}
		}
	}
	return nil
}

func addTrust(trust map[model.Role]string, of model.Role, listed iamtypes.Role) error {
	document, err := decodePolicy(aws.ToString(listed.AssumeRolePolicyDocument))
	if err != nil {
		return fmt.Errorf("read the trust policy of IAM role %s: %w", aws.ToString(listed.RoleName), err)
	}
	trust[of] = document
	return nil
}

// listProfiles lists the cluster's profiles with the trust policies of their roles.
func (r *Roles) listProfiles(ctx context.Context, trust map[model.Role]string) error {
	pages := iam.NewListInstanceProfilesPaginator(r.client.IAM, &iam.ListInstanceProfilesInput{PathPrefix: aws.String(r.path())})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, p := range page.InstanceProfiles {
			of, own := strings.CutPrefix(aws.ToString(p.InstanceProfileName), r.prefix())
			if !own || aws.ToString(p.Path) != r.path() {
				continue
			}
			at := slices.IndexFunc(p.Roles, func(listed iamtypes.Role) bool { return aws.ToString(listed.RoleName) == r.name(model.Role(of)) })
			r.profiles[model.Role(of)] = profile{hasRole: at >= 0}
			if at < 0 {
				continue
			}
			if err := addTrust(trust, model.Role(of), p.Roles[at]); err != nil {
				return err
			}
		}
	}
	return nil
}

// readRole reads in parallel what is compared of a role; a role that does not
// exist has nothing.
func (r *Roles) readRole(ctx context.Context, of model.Role, into *role) error {
	name, wanted := r.name(of), r.spec.IAM
	err := base.Parallel(ctx,
		func(ctx context.Context) (err error) {
			into.policy, err = r.readPolicy(ctx, name)
			return err
		},
		base.StepIf(wanted.ExclusivePolicies, func(ctx context.Context) (err error) {
			into.inline, err = r.listInline(ctx, name)
			return err
		}),
		base.StepIf(wanted.ExclusivePolicies || len(wanted.AdditionalPolicies[of]) > 0, func(ctx context.Context) (err error) {
			into.attached, err = r.listAttached(ctx, name)
			return err
		}),
		base.StepIf(wanted.PermissionsBoundary != "", func(ctx context.Context) (err error) {
			into.boundary, err = r.readBoundary(ctx, name)
			return err
		}),
	)
	return awswait.Ignore(err, awswait.IsNotFound)
}

// readBoundary returns the ARN of a role's permissions boundary, or "". ListRoles
// does not return it.
func (r *Roles) readBoundary(ctx context.Context, name string) (string, error) {
	out, err := r.client.IAM.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
	if err != nil || out.Role.PermissionsBoundary == nil {
		return "", err
	}
	return aws.ToString(out.Role.PermissionsBoundary.PermissionsBoundaryArn), nil
}

// readPolicy returns the role's inline policy policyName, or "".
func (r *Roles) readPolicy(ctx context.Context, name string) (string, error) {
	out, err := r.client.IAM.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &name, PolicyName: aws.String(policyName)})
	if err != nil {
		return "", awswait.Ignore(err, awswait.IsNotFound)
	}
	return decodePolicy(aws.ToString(out.PolicyDocument))
}

// listInline returns the names of a role's inline policies except policyName.
func (r *Roles) listInline(ctx context.Context, name string) ([]string, error) {
	var names []string
	pages := iam.NewListRolePoliciesPaginator(r.client.IAM, &iam.ListRolePoliciesInput{RoleName: &name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		names = append(names, page.PolicyNames...)
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == policyName }), nil
}

// listAttached returns the ARNs of the managed policies attached to a role.
func (r *Roles) listAttached(ctx context.Context, name string) ([]string, error) {
	var arns []string
	pages := iam.NewListAttachedRolePoliciesPaginator(r.client.IAM, &iam.ListAttachedRolePoliciesInput{RoleName: &name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range page.AttachedPolicies {
			arns = append(arns, aws.ToString(p.PolicyArn))
		}
	}
	return arns, nil
}

// decodePolicy decodes a policy document, which IAM returns URL-encoded
// (RFC 3986).
func decodePolicy(document string) (string, error) {
	if strings.HasPrefix(document, "{") {
		return document, nil
	}
	return url.PathUnescape(document)
}

func (r *Roles) ownsRole(ctx context.Context, name string) (bool, error) {
	out, err := r.client.IAM.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
	if err != nil {
		return false, err
	}
	return r.owns(out.Role.Path, out.Role.Tags), nil
}

func (r *Roles) ownsProfile(ctx context.Context, name string) (bool, error) {
	out, err := r.client.IAM.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: &name})
	if err != nil {
		return false, err
	}
	return r.owns(out.InstanceProfile.Path, out.InstanceProfile.Tags), nil
}

// owns reports whether a role or profile with this path and these tags belongs
// to the cluster.
func (r *Roles) owns(path *string, tags []iamtypes.Tag) bool {
	return aws.ToString(path) == r.path() && flattenTags(tags)[base.TagCluster] == r.spec.Name
}
