package network

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	resolver "github.com/aws/aws-sdk-go-v2/service/route53resolver"
	resolvertypes "github.com/aws/aws-sdk-go-v2/service/route53resolver/types"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// ensureFirewall changes the VPC's DNS firewall to match the model, whatever exists.
// hadFirewall is whether the state has one: without, and if the model has none, no call
// is made, so that customers without a firewall need no permission for it.
func (r *vpcResource) ensureFirewall(ctx context.Context, vpc, partition string, m vpcModel, hadFirewall bool) error {
	a := r.firewall(vpc)
	a.managed = m.managed
	var err error
	switch {
	case m.DNSFirewall != nil:
		customers, _ := base.TagMap(m.TagsAll)
		err = a.ensure(ctx, m.DNSFirewall.domainsOf(r.Client.Region, partition), base.AllTags(m.Name.ValueString(), customers, nil))
	case hadFirewall:
		err = a.delete(ctx)
	}
	return base.AtAttribute(path.Root("dns_firewall"), err)
}

// ensure creates what is missing of the firewall and corrects the rest. The association
// is last, so that the VPC never has the rule that blocks without the one that allows.
func (a firewallAPI) ensure(ctx context.Context, allowed []string, tags map[string]string) error {
	f, err := a.find(ctx)
	if err != nil {
		return err
	}
	if f.allowed, err = a.ensureList(ctx, f.allowed, a.allowedName(), allowed, tags); err != nil {
		return err
	}
	if f.everything, err = a.ensureList(ctx, f.everything, a.everythingName(), []string{"*"}, tags); err != nil {
		return err
	}
	if f.group == nil {
		out, err := a.CreateFirewallRuleGroup(ctx, &resolver.CreateFirewallRuleGroupInput{Name: &a.name, Tags: resolverTags(tags)})
		if err != nil {
			return fmt.Errorf("create rule group %s of the DNS firewall: %w", a.name, err)
		}
		f.group = &resolvertypes.FirewallRuleGroupMetadata{Id: out.FirewallRuleGroup.Id, Arn: out.FirewallRuleGroup.Arn}
	} else if err := a.setTags(ctx, aws.ToString(f.group.Arn), tags); err != nil {
		return err
	}
	if err := a.ensureRules(ctx, f); err != nil {
		return err
	}
	if f.failOpen {
		_, err := a.UpdateFirewallConfig(ctx, &resolver.UpdateFirewallConfigInput{ResourceId: &a.vpc, FirewallFailOpen: resolvertypes.FirewallFailOpenStatusDisabled})
		if err != nil {
			return fmt.Errorf("let the DNS firewall fail closed: %w", err)
		}
	}
	return a.ensureAssociation(ctx, f, tags)
}

// ensureList returns the list with the domains, created if it is nil.
func (a firewallAPI) ensureList(ctx context.Context, list *domainList, name string, domains []string, tags map[string]string) (*domainList, error) {
	if list == nil {
		out, err := a.CreateFirewallDomainList(ctx, &resolver.CreateFirewallDomainListInput{Name: &name, Tags: resolverTags(tags)})
		if err != nil {
			return nil, fmt.Errorf("create domain list %s of the DNS firewall: %w", name, err)
		}
		list = &domainList{id: aws.ToString(out.FirewallDomainList.Id), arn: aws.ToString(out.FirewallDomainList.Arn)}
	} else if err := a.setTags(ctx, list.arn, tags); err != nil {
		return nil, err
	}
	if slices.Equal(list.domains, domains) {
		return list, nil
	}
	_, err := whenUnused(ctx, func(ctx context.Context) (any, error) {
		return a.UpdateFirewallDomains(ctx, &resolver.UpdateFirewallDomainsInput{FirewallDomainListId: &list.id,
			Operation: resolvertypes.FirewallDomainUpdateOperationReplace, Domains: domains})
	})
	if err != nil {
		return nil, fmt.Errorf("set the domains of list %s: %w", name, err)
	}
	list.domains = domains
	return list, awswait.Until(ctx, awswait.StateChange, func(ctx context.Context) (bool, string, error) {
		out, err := a.GetFirewallDomainList(ctx, &resolver.GetFirewallDomainListInput{FirewallDomainListId: &list.id})
		if err != nil {
			return false, "", err
		}
		status := out.FirewallDomainList.Status
		return status == resolvertypes.FirewallDomainListStatusComplete, fmt.Sprintf("waiting for domain list %s, which is %s", name, status), nil
	})
}

func (a firewallAPI) ensureRules(ctx context.Context, f *dnsFirewall) error {
	wanted := f.wantedRules()
	for _, w := range wanted {
		at := slices.IndexFunc(f.rules, func(r resolvertypes.FirewallRule) bool { return sameRuleKey(r, w) })
		var err error
		switch {
		case at < 0:
			_, err = a.CreateFirewallRule(ctx, &resolver.CreateFirewallRuleInput{FirewallRuleGroupId: f.group.Id, FirewallDomainListId: w.FirewallDomainListId,
				Name: w.Name, Priority: w.Priority, Action: w.Action, BlockResponse: w.BlockResponse, FirewallDomainRedirectionAction: w.FirewallDomainRedirectionAction})
		case !sameRule(f.rules[at], w):
			_, err = a.UpdateFirewallRule(ctx, &resolver.UpdateFirewallRuleInput{FirewallRuleGroupId: f.group.Id, FirewallDomainListId: w.FirewallDomainListId,
				Name: w.Name, Priority: w.Priority, Action: w.Action, BlockResponse: w.BlockResponse, FirewallDomainRedirectionAction: w.FirewallDomainRedirectionAction})
		}
		if err != nil {
			return fmt.Errorf("set rule %s of the DNS firewall: %w", *w.Name, err)
		}
	}
	for _, r := range f.rules {
		if !slices.ContainsFunc(wanted, func(w resolvertypes.FirewallRule) bool { return sameRuleKey(r, w) }) {
			if err := a.deleteRule(ctx, r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a firewallAPI) ensureAssociation(ctx context.Context, f *dnsFirewall, tags map[string]string) error {
	if f.association != nil && aws.ToString(f.association.FirewallRuleGroupId) != aws.ToString(f.group.Id) {
		if err := a.disassociate(ctx, *f.association); err != nil {
			return err
		}
		f.association = nil
	}
	if f.association != nil {
		if err := a.setTags(ctx, aws.ToString(f.association.Arn), tags); err != nil {
			return err
		}
	} else {
		out, err := a.AssociateFirewallRuleGroup(ctx, &resolver.AssociateFirewallRuleGroupInput{FirewallRuleGroupId: f.group.Id, VpcId: &a.vpc,
			Name: &a.name, Priority: aws.Int32(firewallPriority), Tags: resolverTags(tags)})
		if err != nil {
			return fmt.Errorf("associate the DNS firewall with %s: %w", a.vpc, err)
		}
		f.association = out.FirewallRuleGroupAssociation
	}
	return awswait.Until(ctx, awswait.DependencyRelease, func(ctx context.Context) (bool, string, error) {
		out, err := a.GetFirewallRuleGroupAssociation(ctx, &resolver.GetFirewallRuleGroupAssociationInput{FirewallRuleGroupAssociationId: f.association.Id})
		if err != nil {
			return false, "", err
		}
		status := out.FirewallRuleGroupAssociation.Status
		return status == resolvertypes.FirewallRuleGroupAssociationStatusComplete, fmt.Sprintf("waiting for the association of the DNS firewall, which is %s", status), nil
	})
}

func resolverTags(tags map[string]string) []resolvertypes.Tag {
	var all []resolvertypes.Tag
	for key, value := range tags {
		all = append(all, resolvertypes.Tag{Key: aws.String(key), Value: aws.String(value)})
	}
	return all
}

func (a firewallAPI) setTags(ctx context.Context, arn string, wanted map[string]string) error {
	actual := map[string]string{}
	var next *string
	for {
		out, err := a.ListTagsForResource(ctx, &resolver.ListTagsForResourceInput{ResourceArn: &arn, NextToken: next})
		if err != nil {
			return fmt.Errorf("read the tags of %s: %w", arn, err)
		}
		for _, tag := range out.Tags {
			actual[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
		}
		if next = out.NextToken; next == nil {
			break
		}
	}
	set, remove := a.managed.Changes(actual, wanted)
	if len(set) > 0 {
		if _, err := a.TagResource(ctx, &resolver.TagResourceInput{ResourceArn: &arn, Tags: resolverTags(set)}); err != nil {
			return fmt.Errorf("set the tags of %s: %w", arn, err)
		}
	}
	if len(remove) > 0 {
		if _, err := a.UntagResource(ctx, &resolver.UntagResourceInput{ResourceArn: &arn, TagKeys: remove}); err != nil {
			return fmt.Errorf("remove tags of %s: %w", arn, err)
		}
	}
	return nil
}
