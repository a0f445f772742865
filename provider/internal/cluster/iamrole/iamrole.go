// Package iamrole manages a cluster's IAM roles and instance profiles: one of
// each per role, of the same name. A role has one inline policy, which allows
// what the role's nodes need and nothing else, and the managed policies and the
// permissions boundary that the customer configures.
//
// Roles are found by their path. policy.go holds the policies, ensure.go gives
// them to the roles.
package iamrole

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/xeroops/xeroops/internal/awsclient"
	"github.com/xeroops/xeroops/internal/awswait"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

// policyName is the name of each role's inline policy.
const policyName = "xeroops"

// Roles are the IAM roles and instance profiles of one cluster.
type Roles struct {
	// ReadPolicies makes Observe read the roles' policies, which costs one call per
	// role, and up to three more for a boundary, additional policies and
	// ExclusivePolicies. Without it, Ensure writes them whatever they are.
	ReadPolicies bool
	// OnlyInUse allows Observe to leave out roles that no node uses, which only
	// DeleteUnused needs.
	OnlyInUse bool
	// SetTags makes Ensure set the tags of existing roles and profiles, which
	// costs a call per role and profile even if they are right.
	SetTags bool
	// ManagedTags tells tags that the provider set on existing roles and profiles
	// from those of others.
	ManagedTags base.ManagedTags
	// Former is what was configured before: Ensure takes from the roles what
	// is not configured any more.
	Former clusterspec.IAM

	client     *awsclient.Client
	encryption *base.BucketEncryption
	spec       *clusterspec.Spec
	roles      map[model.Role]role
	profiles   map[model.Role]profile
	keys       map[string]string // the customer's KMS key by bucket
}

// role is an IAM role as observed; policy, inline and attached are empty unless
// they were read.
type role struct {
	trust    string   // trust policy
	policy   string   // inline policy policyName, or ""
	inline   []string // names of other inline policies
	attached []string // ARNs of managed policies
	boundary string   // ARN of the permissions boundary, or ""
}

type profile struct{ hasRole bool }

// New returns the roles that spec describes, not observed yet.
func New(client *awsclient.Client, encryption *base.BucketEncryption, spec *clusterspec.Spec) *Roles {
	return &Roles{client: client, encryption: encryption, spec: spec, roles: map[model.Role]role{}, profiles: map[model.Role]profile{}}
}

// ProfileName returns the name of the instance profile of a role's nodes.
func (r *Roles) ProfileName(role model.Role) string {
	if own := r.spec.InstanceProfiles[role]; own != "" {
		return own
	}
	return r.name(role)
}

// Exist reports whether any role or instance profile exists.
func (r *Roles) Exist() bool { return len(r.roles) > 0 || len(r.profiles) > 0 }

// path is the path of all roles and profiles of the cluster; IAM lists by it.
func (r *Roles) path() string {
	return cmp.Or(r.spec.IAM.Path, "/") + "xeroops/" + r.client.Region + "/" + r.spec.Name + "/"
}

// prefix begins the name of each role and profile. IAM is global, so it has
// the region.
func (r *Roles) prefix() string { return "xeroops-" + r.client.Region + "-" + r.spec.Name + "-" }

func (r *Roles) name(role model.Role) string { return r.prefix() + string(role) }

// Ensure creates and repairs the roles and profiles of all managed roles.
func (r *Roles) Ensure(ctx context.Context) error {
	if err := r.readKeys(ctx); err != nil { // costs no call if Observe did
		return err
	}
	return base.ParallelAll(ctx, base.StepsFor(r.spec.ManagedRoles(), func(ctx context.Context, _ int, role model.Role) error {
		if err := r.ensure(ctx, role); err != nil {
			return fmt.Errorf("IAM role %s: %w", r.name(role), err)
		}
		return nil
	})...)
}

// ensure creates role and profile in parallel, then gives the role its policies
// and the profile its role.
func (r *Roles) ensure(ctx context.Context, of model.Role) error {
	name := r.name(of)
	wanted, err := r.policies(ctx, of)
	if err != nil {
		return err
	}
	actual, roleExists := r.roles[of]
	profile, profileExists := r.profiles[of]
	err = base.ParallelAll(ctx,
		base.StepIf(!roleExists, func(ctx context.Context) error { return r.createRole(ctx, name, wanted) }),
		base.StepIf(!profileExists, func(ctx context.Context) error { return r.createProfile(ctx, name) }),
	)
	if err != nil {
		return err
	}
	return base.ParallelAll(ctx,
		func(ctx context.Context) error {
			if err := r.ensurePolicies(ctx, of, actual, wanted, roleExists); err != nil || !roleExists || !r.SetTags {
				return err
			}
			return r.tagRole(ctx, name)
		},
		func(ctx context.Context) error {
			if err := r.addRoleToProfile(ctx, name, profile); err != nil || !profileExists || !r.SetTags {
				return err
			}
			return r.tagProfile(ctx, name)
		},
	)
}

// addRoleToProfile adds the role to the instance profile of the same name.
func (r *Roles) addRoleToProfile(ctx context.Context, name string, actual profile) error {
	if actual.hasRole {
		return nil
	}
	_, err := awswait.Retry(ctx, awswait.ProfilePropagation, awswait.IsNotFound, func(ctx context.Context) (any, error) {
		return r.client.IAM.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: &name, RoleName: &name})
	})
	// A profile holds one role: LimitExceeded means that it holds it already.
	return awswait.Ignore(err, func(err error) bool { return awswait.HasCode(err, "LimitExceeded") || isEntityExists(err) })
}

func (r *Roles) createRole(ctx context.Context, name string, wanted role) error {
	_, err := r.client.IAM.CreateRole(ctx, &iam.CreateRoleInput{RoleName: &name, Path: aws.String(r.path()),
		AssumeRolePolicyDocument: &wanted.trust, PermissionsBoundary: base.Optional(wanted.boundary),
		Description: aws.String("Node of XeroOps cluster " + r.spec.Name), Tags: newTags(r.tags(name))})
	return r.acceptOwn(ctx, err, "role", name, r.ownsRole)
}

func (r *Roles) createProfile(ctx context.Context, name string) error {
	_, err := r.client.IAM.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: &name, Path: aws.String(r.path()), Tags: newTags(r.tags(name))})
	return r.acceptOwn(ctx, err, "instance profile", name, r.ownsProfile)
}

// acceptOwn returns nil for a create that failed because the cluster's own role
// or profile exists: the answer to an earlier create was lost.
func (r *Roles) acceptOwn(ctx context.Context, created error, kind, name string, owns func(ctx context.Context, name string) (bool, error)) error {
	if !isEntityExists(created) {
		return created
	}
	own, err := awswait.Retry(ctx, awswait.ProfilePropagation, awswait.IsNotFound, func(ctx context.Context) (bool, error) { return owns(ctx, name) })
	if err == nil && !own {
		return fmt.Errorf("the account has an IAM %s %s that does not belong to this cluster (path %s and tag %s = %s); delete it, rename the cluster, or set a profile of your own in instance_profiles",
			kind, name, r.path(), base.TagCluster, r.spec.Name)
	}
	return err
}

func isEntityExists(err error) bool { return awswait.HasCode(err, "EntityAlreadyExists") }

// Drift describes how the roles and profiles differ from the specification.
func (r *Roles) Drift(ctx context.Context) []string {
	var found []string
	for _, role := range r.spec.ManagedRoles() {
		wanted, err := r.policies(ctx, role)
		if err != nil {
			wanted = r.roles[role] // unknown, so not reported
		}
		found = append(found, r.drift(role, wanted)...)
	}
	return found
}

func (r *Roles) drift(of model.Role, wanted role) []string {
	var found []string
	add := func(differs bool, format string, args ...any) {
		if differs {
			found = append(found, fmt.Sprintf(format, args...))
		}
	}
	name := r.name(of)
	add(!r.profiles[of].hasRole, "instance profile %s does not contain its role", name)
	actual, exists := r.roles[of]
	if !exists {
		return append(found, fmt.Sprintf("IAM role %s does not exist", name))
	}
	add(!base.SamePolicy(actual.policy, wanted.policy), "policy of IAM role %s was changed", name)
	add(!base.SamePolicy(actual.trust, wanted.trust), "trust policy of IAM role %s was changed", name)
	add(actual.boundary != wanted.boundary, "permissions boundary of IAM role %s was changed", name)
	missing := without(wanted.attached, actual.attached)
	add(len(missing) > 0, "IAM role %s lacks policies: %s", name, strings.Join(missing, ", "))
	others := slices.Concat(actual.inline, without(actual.attached, wanted.attached))
	add(r.spec.IAM.ExclusivePolicies && len(others) > 0, "IAM role %s has additional policies: %s", name, strings.Join(others, ", "))
	return found
}
