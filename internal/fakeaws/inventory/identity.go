package inventory

import (
	"context"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

func identityLists(cfg aws.Config) []lister {
	c := iam.NewFromConfig(cfg)
	return []lister{
		func(ctx context.Context) ([]Item, error) { return roles(ctx, c) },
		func(ctx context.Context) ([]Item, error) { return profiles(ctx, c) },
		func(ctx context.Context) ([]Item, error) { return policies(ctx, c) },
	}
}

func roles(ctx context.Context, c *iam.Client) (items []Item, err error) {
	pages := iam.NewListRolesPaginator(c, &iam.ListRolesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Roles {
			item := Item{Kind: "role", ID: *r.RoleName, Name: *r.RoleName}
			inline, err := inlinePolicies(ctx, c, r.RoleName)
			if err != nil {
				return nil, err
			}
			attached, err := c.ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: r.RoleName})
			if err != nil {
				return nil, err
			}
			var arns []string
			for _, p := range attached.AttachedPolicies {
				arns = append(arns, aws.ToString(p.PolicyArn))
			}
			item.Facts = facts(listed("inline", inline), listed("attached", arns))
			items = append(items, item)
		}
	}
	return items, nil
}

func inlinePolicies(ctx context.Context, c *iam.Client, role *string) (texts []string, err error) {
	out, err := c.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: role})
	if err != nil {
		return nil, err
	}
	for _, name := range out.PolicyNames {
		policy, err := c.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: role, PolicyName: aws.String(name)})
		if err != nil {
			return nil, err
		}
		document, err := url.QueryUnescape(aws.ToString(policy.PolicyDocument))
		if err != nil {
			return nil, err
		}
		texts = append(texts, name+":"+document)
	}
	return texts, nil
}

func profiles(ctx context.Context, c *iam.Client) (items []Item, err error) {
	pages := iam.NewListInstanceProfilesPaginator(c, &iam.ListInstanceProfilesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range page.InstanceProfiles {
			var names []string
			for _, r := range p.Roles {
				names = append(names, aws.ToString(r.RoleName))
			}
			items = append(items, Item{Kind: "instance-profile", ID: *p.InstanceProfileName, Name: *p.InstanceProfileName,
				Facts: facts(listed("roles", names))})
		}
	}
	return items, nil
}

func policies(ctx context.Context, c *iam.Client) (items []Item, err error) {
	pages := iam.NewListPoliciesPaginator(c, &iam.ListPoliciesInput{Scope: types.PolicyScopeTypeLocal})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range page.Policies {
			items = append(items, Item{Kind: "policy", ID: *p.Arn, Name: *p.PolicyName})
		}
	}
	return items, nil
}
