package network

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	resolver "github.com/aws/aws-sdk-go-v2/service/route53resolver"
	resolvertypes "github.com/aws/aws-sdk-go-v2/service/route53resolver/types"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// firewallAPI finds, creates and deletes the DNS firewall of one VPC. Its resources are
// named after the VPC, whose id no other has, and are found by name (docs/decisions/0005).
//
// It uses no paginators: they take an interface, which would link all methods of the
// client (docs/decisions/0003).
type firewallAPI struct {
	*resolver.Client
	vpc     string
	name    string
	managed base.ManagedTags
}

func (r *vpcResource) firewall(vpc string) firewallAPI {
	return firewallAPI{Client: resolver.NewFromConfig(r.Client.Config), vpc: vpc, name: "xeroops-" + vpc}
}

func (a firewallAPI) allowedName() string { return a.name + "-allowed" }

func (a firewallAPI) everythingName() string { return a.name + "-everything" }

// isGone reports whether a resource of the resolver does not exist.
func isGone(err error) bool { return awswait.HasCode(err, "ResourceNotFoundException") }

// find returns the actual state of the firewall. The calls are concurrent.
func (a firewallAPI) find(ctx context.Context) (*dnsFirewall, error) {
	f := &dnsFirewall{}
	err := base.Parallel(ctx,
		func(ctx context.Context) (err error) { f.association, err = a.findAssociation(ctx); return err },
		func(ctx context.Context) (err error) { f.group, f.rules, err = a.findGroup(ctx); return err },
		func(ctx context.Context) (err error) { f.allowed, f.everything, err = a.findLists(ctx); return err },
		func(ctx context.Context) error {
			out, err := a.GetFirewallConfig(ctx, &resolver.GetFirewallConfigInput{ResourceId: &a.vpc})
			if err == nil {
				f.failOpen = out.FirewallConfig.FirewallFailOpen == resolvertypes.FirewallFailOpenStatusEnabled
			}
			return awswait.Ignore(err, isGone)
		},
	)
	return f, err
}

func (a firewallAPI) findAssociation(ctx context.Context) (*resolvertypes.FirewallRuleGroupAssociation, error) {
	var next *string
	for {
		out, err := a.ListFirewallRuleGroupAssociations(ctx, &resolver.ListFirewallRuleGroupAssociationsInput{VpcId: &a.vpc, NextToken: next})
		if err != nil {
			return nil, err
		}
		for _, found := range out.FirewallRuleGroupAssociations {
			if aws.ToString(found.Name) == a.name && found.ManagedOwnerName == nil && found.Status != resolvertypes.FirewallRuleGroupAssociationStatusDeleting {
				return &found, nil
			}
		}
		if next = out.NextToken; next == nil {
			return nil, nil
		}
	}
}

func (a firewallAPI) findGroup(ctx context.Context) (*resolvertypes.FirewallRuleGroupMetadata, []resolvertypes.FirewallRule, error) {
	var next *string
	for {
		out, err := a.ListFirewallRuleGroups(ctx, &resolver.ListFirewallRuleGroupsInput{NextToken: next})
		if err != nil {
			return nil, nil, err
		}
		for _, group := range out.FirewallRuleGroups {
			// A group that another account shares is listed, too.
			if aws.ToString(group.Name) != a.name || group.ShareStatus == resolvertypes.ShareStatusSharedWithMe {
				continue
			}
			rules, err := a.ListFirewallRules(ctx, &resolver.ListFirewallRulesInput{FirewallRuleGroupId: group.Id})
			if err != nil {
				return nil, nil, err
			}
			return &group, rules.FirewallRules, nil
		}
		if next = out.NextToken; next == nil {
			return nil, nil, nil
		}
	}
}

func (a firewallAPI) findLists(ctx context.Context) (allowed, everything *domainList, err error) {
	var next *string
	for {
		out, err := a.ListFirewallDomainLists(ctx, &resolver.ListFirewallDomainListsInput{NextToken: next})
		if err != nil {
			return nil, nil, err
		}
		for _, list := range out.FirewallDomainLists {
			var into **domainList
			switch {
			case list.ManagedOwnerName != nil: // AWS's
				continue
			case aws.ToString(list.Name) == a.allowedName():
				into = &allowed
			case aws.ToString(list.Name) == a.everythingName():
				into = &everything
			default:
				continue
			}
			*into = &domainList{id: aws.ToString(list.Id), arn: aws.ToString(list.Arn)}
			if (*into).domains, err = a.domains(ctx, (*into).id); err != nil {
				return nil, nil, err
			}
		}
		if next = out.NextToken; next == nil {
			return allowed, everything, nil
		}
	}
}

func (a firewallAPI) domains(ctx context.Context, list string) ([]string, error) {
	var all []string
	var next *string
	for {
		out, err := a.ListFirewallDomains(ctx, &resolver.ListFirewallDomainsInput{FirewallDomainListId: &list, NextToken: next})
		if err != nil {
			return nil, err
		}
		all = append(all, out.Domains...)
		if next = out.NextToken; next == nil {
			return canonicalDomains(all), nil
		}
	}
}

// delete deletes the firewall. Missing parts are not an error.
func (a firewallAPI) delete(ctx context.Context) error {
	f, err := a.find(ctx)
	if err != nil {
		return err
	}
	if f.association != nil {
		if err := a.disassociate(ctx, *f.association); err != nil {
			return fmt.Errorf("disassociate the DNS firewall from %s: %w", a.vpc, err)
		}
	}
	if f.group != nil {
		for _, rule := range f.rules {
			if err := a.deleteRule(ctx, rule); err != nil {
				return err
			}
		}
		_, err := whenUnused(ctx, func(ctx context.Context) (any, error) {
			return a.DeleteFirewallRuleGroup(ctx, &resolver.DeleteFirewallRuleGroupInput{FirewallRuleGroupId: f.group.Id})
		})
		if err != nil {
			return fmt.Errorf("delete rule group %s: %w", aws.ToString(f.group.Id), err)
		}
	}
	for _, list := range []*domainList{f.allowed, f.everything} {
		if list == nil {
			continue
		}
		_, err := whenUnused(ctx, func(ctx context.Context) (any, error) {
			return a.DeleteFirewallDomainList(ctx, &resolver.DeleteFirewallDomainListInput{FirewallDomainListId: &list.id})
		})
		if err != nil {
			return fmt.Errorf("delete domain list %s: %w", list.id, err)
		}
	}
	return nil
}

// whenUnused repeats a deletion while another resource still uses what is deleted.
func whenUnused(ctx context.Context, call func(context.Context) (any, error)) (any, error) {
	out, err := awswait.Retry(ctx, awswait.StateChange, func(err error) bool { return awswait.HasCode(err, "ConflictException") }, call)
	return out, awswait.Ignore(err, isGone)
}

func (a firewallAPI) deleteRule(ctx context.Context, rule resolvertypes.FirewallRule) error {
	_, err := a.DeleteFirewallRule(ctx, &resolver.DeleteFirewallRuleInput{FirewallRuleGroupId: rule.FirewallRuleGroupId,
		FirewallDomainListId: rule.FirewallDomainListId, FirewallThreatProtectionId: rule.FirewallThreatProtectionId, Qtype: rule.Qtype})
	if err = awswait.Ignore(err, isGone); err != nil {
		return fmt.Errorf("delete rule %s of the DNS firewall: %w", aws.ToString(rule.Name), err)
	}
	return nil
}

// disassociate ends the association and waits until the resolver no longer has it.
func (a firewallAPI) disassociate(ctx context.Context, association resolvertypes.FirewallRuleGroupAssociation) error {
	_, err := whenUnused(ctx, func(ctx context.Context) (any, error) {
		return a.DisassociateFirewallRuleGroup(ctx, &resolver.DisassociateFirewallRuleGroupInput{FirewallRuleGroupAssociationId: association.Id})
	})
	if err != nil {
		return err
	}
	return awswait.Until(ctx, awswait.DependencyRelease, func(ctx context.Context) (bool, string, error) {
		_, err := a.GetFirewallRuleGroupAssociation(ctx, &resolver.GetFirewallRuleGroupAssociationInput{FirewallRuleGroupAssociationId: association.Id})
		return isGone(err), "waiting for the end of association " + aws.ToString(association.Id), awswait.Ignore(err, isGone)
	})
}

// readFirewall returns the DNS firewall of a VPC whose state has one, or that is being
// imported; otherwise nil.
func (r *vpcResource) readFirewall(ctx context.Context, m vpcModel) (*dnsFirewall, error) {
	imported := m.Name.IsNull()
	if m.DNSFirewall == nil && !imported {
		return nil, nil
	}
	found, err := r.firewall(m.ID.ValueString()).find(ctx)
	if imported && (awswait.HasCode(err, "AccessDeniedException") || err == nil && found.association == nil) {
		return nil, nil
	}
	return found, err
}
