package network_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	resolver "github.com/aws/aws-sdk-go-v2/service/route53resolver"
	resolvertypes "github.com/aws/aws-sdk-go-v2/service/route53resolver/types"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/inventory"
	"github.com/xeroops/xeroops/provider/internal/acctest"
)

func (a account) resolver() *resolver.Client {
	return resolver.NewFromConfig(inventory.Config(a.Front.URL, acctest.Region))
}

// firewalls returns the DNS firewalls of the account, one line each: what is allowed, the
// rules, and whether it is associated with the recorded VPC.
func (a account) firewalls(ctx context.Context) ([]string, error) {
	c := a.resolver()
	lists, err := c.ListFirewallDomainLists(ctx, &resolver.ListFirewallDomainListsInput{})
	if err != nil {
		return nil, err
	}
	domains := map[string]string{}
	for _, l := range lists.FirewallDomainLists {
		out, err := c.ListFirewallDomains(ctx, &resolver.ListFirewallDomainsInput{FirewallDomainListId: l.Id})
		if err != nil {
			return nil, err
		}
		domains[*l.Id] = strings.Join(out.Domains, " ")
	}
	groups, err := c.ListFirewallRuleGroups(ctx, &resolver.ListFirewallRuleGroupsInput{})
	if err != nil {
		return nil, err
	}
	var all []string
	for _, g := range groups.FirewallRuleGroups {
		rules, err := c.ListFirewallRules(ctx, &resolver.ListFirewallRulesInput{FirewallRuleGroupId: g.Id})
		if err != nil {
			return nil, err
		}
		text := ""
		for _, r := range rules.FirewallRules {
			text += fmt.Sprintf("%d %s%s %s; ", *r.Priority, r.Action, r.BlockResponse, domains[*r.FirewallDomainListId])
		}
		associations, err := c.ListFirewallRuleGroupAssociations(ctx, &resolver.ListFirewallRuleGroupAssociationsInput{VpcId: a.id(vpc)})
		if err != nil {
			return nil, err
		}
		all = append(all, fmt.Sprintf("%sassociations: %d", text, len(associations.FirewallRuleGroupAssociations)))
	}
	if len(groups.FirewallRuleGroups) == 0 && len(domains) > 0 {
		return nil, fmt.Errorf("domain lists without a rule group: %v", domains)
	}
	return all, nil
}

const onlyS3 = "100 ALLOW *.s3.eu-west-1.amazonaws.com. s3.eu-west-1.amazonaws.com.; 200 BLOCKNXDOMAIN *.; associations: 1"

func (a account) resolves(want ...string) resource.TestCheckFunc {
	return resource.ComposeTestCheckFunc(a.note(vpc), acctest.Check(func(ctx context.Context) error {
		got, err := a.firewalls(ctx)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("the DNS firewalls are %q, want %q", got, want)
		}
		return err
	}))
}

// testFirewall runs the steps, and checks that the destroy leaves nothing of a firewall.
func (a account) testFirewall(steps ...resource.TestStep) {
	a.t.Helper()
	a.Test(resource.TestCase{Steps: steps})
	if left, err := a.firewalls(context.Background()); err != nil || len(left) > 0 {
		a.t.Errorf("the destroy left %q (%v)", left, err)
	}
}

func TestDNSFirewallIsCreatedImportedUpdatedAndRemoved(t *testing.T) {
	a := newAccount(t)
	update := expect(vpc, plancheck.ResourceActionUpdate)
	a.testFirewall(
		resource.TestStep{Config: vpcConfig(""), Check: a.resolves()},
		resource.TestStep{Config: vpcConfig(`dns_firewall = {}`), ConfigPlanChecks: update, Check: a.resolves(onlyS3)},
		resource.TestStep{
			Config: vpcConfig(`dns_firewall = { allowed_domains = ["packages.example.org", "*.example.com", "s3.eu-west-1.amazonaws.com"] }`), ConfigPlanChecks: update,
			Check: a.resolves(strings.NewReplacer("ALLOW *", "ALLOW *.example.com. *", "amazonaws.com. s3", "amazonaws.com. packages.example.org. s3").Replace(onlyS3)),
		},
		resource.TestStep{Config: vpcConfig(`dns_firewall = { allowed_domains = ["packages.example.org"] }`), ConfigPlanChecks: update},
		resource.TestStep{ResourceName: vpc, ImportState: true, ImportStateVerify: true},
		resource.TestStep{
			Config: vpcConfig(`
				tags = { team = "core" }
				dns_firewall = {}`), ConfigPlanChecks: update,
			Check: resource.ComposeTestCheckFunc(a.resolves(onlyS3), acctest.Check(a.firewallIsTagged)),
		},
		resource.TestStep{Config: vpcConfig(`tags = { team = "core" }`), ConfigPlanChecks: update, Check: a.resolves()},
		resource.TestStep{Config: vpcConfig(`dns_firewall = {}`), Check: a.resolves(onlyS3)}, // destroyed with the VPC
	)
}

func (a account) firewallIsTagged(ctx context.Context) error {
	groups, err := a.resolver().ListFirewallRuleGroups(ctx, &resolver.ListFirewallRuleGroupsInput{})
	if err != nil {
		return err
	}
	tags, err := a.resolver().ListTagsForResource(ctx, &resolver.ListTagsForResourceInput{ResourceArn: groups.FirewallRuleGroups[0].Arn})
	if err == nil && !slices.ContainsFunc(tags.Tags, func(t resolvertypes.Tag) bool { return *t.Key == "team" && *t.Value == "core" }) {
		err = fmt.Errorf("the rule group has %d tags and not team", len(tags.Tags))
	}
	return err
}

func TestDNSFirewallDriftIsReverted(t *testing.T) {
	a := newAccount(t)
	config := vpcConfig(`dns_firewall = {}`)
	association := func(ctx context.Context) (resolvertypes.FirewallRuleGroupAssociation, error) {
		out, err := a.resolver().ListFirewallRuleGroupAssociations(ctx, &resolver.ListFirewallRuleGroupAssociationsInput{VpcId: a.id(vpc)})
		if err != nil {
			return resolvertypes.FirewallRuleGroupAssociation{}, err
		}
		return out.FirewallRuleGroupAssociations[0], nil
	}
	rule := func(ctx context.Context, action resolvertypes.Action) (resolvertypes.FirewallRule, error) {
		on, err := association(ctx)
		if err != nil {
			return resolvertypes.FirewallRule{}, err
		}
		out, err := a.resolver().ListFirewallRules(ctx, &resolver.ListFirewallRulesInput{FirewallRuleGroupId: on.FirewallRuleGroupId})
		if err != nil {
			return resolvertypes.FirewallRule{}, err
		}
		return out.FirewallRules[slices.IndexFunc(out.FirewallRules, func(r resolvertypes.FirewallRule) bool { return r.Action == action })], nil
	}
	steps := []resource.TestStep{{Config: config, Check: a.resolves(onlyS3)}}
	for _, tc := range []struct {
		drift  string
		change func(ctx context.Context) error
	}{
		{"the DNS firewall is not associated with the VPC", func(ctx context.Context) error {
			on, err := association(ctx)
			if err == nil {
				_, err = a.resolver().DisassociateFirewallRuleGroup(ctx, &resolver.DisassociateFirewallRuleGroupInput{FirewallRuleGroupAssociationId: on.Id})
			}
			if err == nil {
				_, err = a.resolver().GetFirewallRuleGroupAssociation(ctx, &resolver.GetFirewallRuleGroupAssociationInput{FirewallRuleGroupAssociationId: on.Id})
			}
			return err
		}},
		{"the DNS firewall fails open", func(ctx context.Context) error {
			_, err := a.resolver().UpdateFirewallConfig(ctx, &resolver.UpdateFirewallConfigInput{ResourceId: a.id(vpc), FirewallFailOpen: "ENABLED"})
			return err
		}},
		{"the rules of the DNS firewall were changed", func(ctx context.Context) error {
			r, err := rule(ctx, "BLOCK")
			if err == nil {
				_, err = a.resolver().UpdateFirewallRule(ctx, &resolver.UpdateFirewallRuleInput{FirewallRuleGroupId: r.FirewallRuleGroupId, FirewallDomainListId: r.FirewallDomainListId,
					Name: r.Name, Priority: r.Priority, Action: resolvertypes.ActionAlert})
			}
			return err
		}},
		{"the rules of the DNS firewall were changed", func(ctx context.Context) error {
			r, err := rule(ctx, "BLOCK")
			if err == nil {
				_, err = a.resolver().DeleteFirewallRule(ctx, &resolver.DeleteFirewallRuleInput{FirewallRuleGroupId: r.FirewallRuleGroupId, FirewallDomainListId: r.FirewallDomainListId})
			}
			return err
		}},
		{"a domain list of the DNS firewall was deleted or changed", func(ctx context.Context) error {
			r, err := rule(ctx, "BLOCK")
			if err == nil {
				_, err = a.resolver().UpdateFirewallDomains(ctx, &resolver.UpdateFirewallDomainsInput{FirewallDomainListId: r.FirewallDomainListId, Operation: "REPLACE", Domains: []string{"example.com"}})
			}
			return err
		}},
	} {
		steps = append(steps, repairs(vpc, config, tc.drift, a.behindTerraform(tc.change))...)
		steps[len(steps)-1].Check = a.resolves(onlyS3)
	}
	steps = append(steps, resource.TestStep{ // a domain that was allowed by hand
		PreConfig: a.behindTerraform(func(ctx context.Context) error {
			r, err := rule(ctx, "ALLOW")
			if err == nil {
				_, err = a.resolver().UpdateFirewallDomains(ctx, &resolver.UpdateFirewallDomainsInput{FirewallDomainListId: r.FirewallDomainListId, Operation: "REPLACE",
					Domains: []string{"s3.eu-west-1.amazonaws.com", "*.s3.eu-west-1.amazonaws.com", "attacker.example"}})
			}
			return err
		}),
		Config: config, ConfigPlanChecks: expect(vpc, plancheck.ResourceActionUpdate), Check: a.resolves(onlyS3),
	})
	a.testFirewall(steps...)
}

var firewallCalls = []string{"CreateFirewallDomainList", "UpdateFirewallDomains", "CreateFirewallRuleGroup", "CreateFirewallRule", "AssociateFirewallRuleGroup",
	"DisassociateFirewallRuleGroup", "DeleteFirewallRule", "DeleteFirewallRuleGroup", "DeleteFirewallDomainList"}

func TestLostResponsesCreateOneDNSFirewall(t *testing.T) {
	for _, effect := range []fakeaws.Effect{fakeaws.DropAfter, fakeaws.ServerError, fakeaws.Throttle} {
		t.Run(string(effect), func(t *testing.T) {
			a := newAccount(t)
			for _, action := range firewallCalls {
				if err := a.Front.Inject(fakeaws.Fault{Action: action, Nth: 1, Effect: effect}); err != nil {
					t.Fatal(err)
				}
			}
			a.testFirewall(resource.TestStep{Config: vpcConfig(`dns_firewall = {}`), Check: a.resolves(onlyS3)})
		})
	}
}

// An apply that ends at any call leaves parts, which the next apply uses and the destroy
// deletes.
func TestInterruptedDNSFirewallIsCompleted(t *testing.T) {
	for _, action := range firewallCalls[:5] {
		t.Run(action, func(t *testing.T) {
			a := newAccount(t)
			err := a.Front.Inject(fakeaws.Fault{Action: action, Effect: fakeaws.Fail, Code: "AccessDeniedException", Message: "no permission"})
			if err != nil {
				t.Fatal(err)
			}
			a.testFirewall(
				resource.TestStep{Config: vpcConfig("")},
				resource.TestStep{Config: vpcConfig(`dns_firewall = {}`), ExpectError: matching(`AWS code: AccessDeniedException`)},
				resource.TestStep{Config: vpcConfig(`dns_firewall = {}`), Check: a.resolves(onlyS3)},
			)
		})
	}
}

func TestWithoutADNSFirewallTheResolverIsNotCalled(t *testing.T) {
	a := newAccount(t)
	a.testFirewall(resource.TestStep{Config: vpcConfig(""), Check: acctest.Check(func(context.Context) error {
		for _, c := range a.Front.Calls() {
			if c.Service == fakeaws.Resolver {
				return fmt.Errorf("the provider called %s", c.Action)
			}
		}
		return nil
	})})
}

func TestDNSFirewallErrorsSayWhatToDo(t *testing.T) {
	for name, domains := range map[string]string{"everything": `["*"]`, "a dot at the end": `["example.com."]`, "upper case": `["Example.com"]`, "a top-level domain": `["*.com", "com"]`, "a URL": `["https://example.com"]`} {
		t.Run(name, func(t *testing.T) {
			newAccount(t).Test(resource.TestCase{Steps: []resource.TestStep{{
				Config: vpcConfig(`dns_firewall = { allowed_domains = ` + domains + ` }`), PlanOnly: true,
				ExpectError: matching(`must be a domain in lower case without a dot at the end`)}}})
		})
	}
	a := newAccount(t)
	if err := a.Front.Inject(fakeaws.Fault{Action: "ListFirewallRuleGroupAssociations", Effect: fakeaws.Fail, Code: "AccessDeniedException", Message: "no permission", Times: -1}); err != nil {
		t.Fatal(err)
	}
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: vpcConfig(`dns_firewall = {}`), ExpectError: matching(`AWS code: AccessDeniedException`)},
		{PreConfig: a.Front.ClearFaults, Config: vpcConfig("")},
	}})
}
