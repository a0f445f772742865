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

// iamRole is an IAM role as it is. Its policies are read where work.readPolicies
// says so.
type iamRole struct {
	trust    string   // policy of who may take it
	policy   string   // inline policy policyName; "" if there is none
	inline   []string // names of further inline policies
	attached []string // ARNs of managed policies
}

type iamProfile struct{ hasRole bool }

// observeRoles lists the roles, and at the same time asks for the policies of
// those that there should be.
func (w *work) observeRoles(ctx context.Context) error {
	wanted := w.managedRoles()
	read := make([]iamRole, len(wanted))
	trust := map[model.Role]string{}
	steps := []base.Step{func(ctx context.Context) error { return w.listRoles(ctx, trust) }}
	if w.readPolicies {
		steps = append(steps, stepsFor(wanted, func(ctx context.Context, n int, role model.Role) error {
			return w.readRole(ctx, w.iamName(role), &read[n])
		})...)
	}
	if err := base.Parallel(ctx, steps...); err != nil {
		return err
	}
	for role, document := range trust {
		seen := iamRole{}
		if n := slices.Index(wanted, role); n >= 0 {
			seen = read[n]
		}
		seen.trust = document
		w.seen.roles[role] = seen
	}
	return nil
}

// listRoles lists the cluster's roles with their trust policies.
func (w *work) listRoles(ctx context.Context, trust map[model.Role]string) error {
	pages := iam.NewListRolesPaginator(w.Client.IAM, &iam.ListRolesInput{PathPrefix: aws.String(w.iamPath())})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, r := range page.Roles {
			role, ours := strings.CutPrefix(aws.ToString(r.RoleName), w.iamPrefix())
			if !ours || aws.ToString(r.Path) != w.iamPath() {
				continue
			}
			document, err := decodePolicy(aws.ToString(r.AssumeRolePolicyDocument))
			if err != nil {
				return fmt.Errorf("read the trust policy of IAM role %s: %w", aws.ToString(r.RoleName), err)
			}
			trust[model.Role(role)] = document
		}
	}
	return nil
}

// readRole reads a role's policies, side by side; a role that does not exist has
// none.
func (w *work) readRole(ctx context.Context, name string, into *iamRole) error {
	err := base.Parallel(ctx,
		func(ctx context.Context) (err error) {
			into.policy, err = w.readPolicy(ctx, name)
			return err
		},
		func(ctx context.Context) (err error) {
			into.inline, err = w.listInline(ctx, name)
			return err
		},
		func(ctx context.Context) (err error) {
			into.attached, err = w.listAttached(ctx, name)
			return err
		},
	)
	return awswait.Ignore(err, awswait.IsNotFound)
}

// readPolicy reads the policy that the provider gives a role; "" if there is none.
func (w *work) readPolicy(ctx context.Context, name string) (string, error) {
	out, err := w.Client.IAM.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &name, PolicyName: aws.String(policyName)})
	if err != nil {
		return "", awswait.Ignore(err, awswait.IsNotFound)
	}
	return decodePolicy(aws.ToString(out.PolicyDocument))
}

// listInline lists a role's inline policies but for the provider's own.
func (w *work) listInline(ctx context.Context, name string) ([]string, error) {
	var names []string
	pages := iam.NewListRolePoliciesPaginator(w.Client.IAM, &iam.ListRolePoliciesInput{RoleName: &name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		names = append(names, page.PolicyNames...)
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == policyName }), nil
}

// listAttached lists the ARNs of the managed policies that a role has.
func (w *work) listAttached(ctx context.Context, name string) ([]string, error) {
	var arns []string
	pages := iam.NewListAttachedRolePoliciesPaginator(w.Client.IAM, &iam.ListAttachedRolePoliciesInput{RoleName: &name})
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

func (w *work) observeProfiles(ctx context.Context) error {
	pages := iam.NewListInstanceProfilesPaginator(w.Client.IAM, &iam.ListInstanceProfilesInput{PathPrefix: aws.String(w.iamPath())})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, p := range page.InstanceProfiles {
			role, ours := strings.CutPrefix(aws.ToString(p.InstanceProfileName), w.iamPrefix())
			if !ours || aws.ToString(p.Path) != w.iamPath() {
				continue
			}
			has := slices.ContainsFunc(p.Roles, func(r iamtypes.Role) bool { return aws.ToString(r.RoleName) == w.iamName(model.Role(role)) })
			w.seen.profiles[model.Role(role)] = iamProfile{hasRole: has}
		}
	}
	return nil
}

// decodePolicy decodes a policy document as IAM answers with it: URL-encoded
// (RFC 3986).
func decodePolicy(document string) (string, error) {
	if strings.HasPrefix(document, "{") {
		return document, nil
	}
	return url.PathUnescape(document)
}

// driftOfRoles lists how the IAM roles differ from what is wanted.
func (w *work) driftOfRoles(ctx context.Context) []string {
	var found []string
	for _, role := range w.managedRoles() {
		name := w.iamName(role)
		add := func(wrong bool, format string, args ...any) {
			if wrong {
				found = append(found, fmt.Sprintf(format, args...))
			}
		}
		add(!w.seen.profiles[role].hasRole, "instance profile %s does not hold its role", name)
		existing, exists := w.seen.roles[role]
		if !exists {
			add(true, "IAM role %s is gone", name)
			continue
		}
		wanted, err := w.policyFor(ctx, role)
		add(err == nil && !base.SamePolicy(existing.policy, wanted), "the policy of IAM role %s was changed", name)
		add(!base.SamePolicy(existing.trust, trustPolicy), "who may take IAM role %s was changed", name)
		further := slices.Concat(existing.inline, existing.attached)
		add(len(further) > 0, "IAM role %s has further policies: %s", name, strings.Join(further, ", "))
	}
	return found
}
