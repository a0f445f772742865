package network

import (
	"regexp"
	"slices"
	"strings"

	resolvertypes "github.com/aws/aws-sdk-go-v2/service/route53resolver/types"
	"github.com/hashicorp/terraform-plugin-framework-validators/setvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/internal/awsclient"
)

type dnsFirewallModel struct {
	AllowedDomains types.Set `tfsdk:"allowed_domains"`
}

// domainName accepts a domain, or one and all below it, such as *.example.com.
var domainName = regexp.MustCompile(`^(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}$`)

func dnsFirewallAttribute() schema.SingleNestedAttribute {
	return schema.SingleNestedAttribute{
		Optional: true,
		MarkdownDescription: "Route 53 Resolver DNS Firewall for the VPC: its resolver answers only for S3 in the region and for `allowed_domains`, and NXDOMAIN for all other names. " +
			"Without it, a node of a private subnet, which has no route to the internet, can send data out in DNS queries. It applies to all subnets, and fails closed. " +
			"AWS charges for it by query. `{}` allows S3 alone.",
		Attributes: map[string]schema.Attribute{
			"allowed_domains": schema.SetAttribute{
				Optional: true, ElementType: types.StringType,
				MarkdownDescription: "Further domains that nodes may resolve, such as `packages.example.org`, or `*.example.com` for all names below one. Aliases (CNAME) that they lead to are allowed too. " +
					"Anybody who serves a domain, or a part of it, sees the queries for it: allow as little as possible.",
				Validators: []validator.Set{setvalidator.SizeAtLeast(1),
					setvalidator.ValueStringsAre(stringvalidator.RegexMatches(domainName, "must be a domain in lower case without a dot at the end, such as packages.example.org or *.example.com"))},
			},
		},
	}
}

// Priorities of the rules: the lower one is evaluated first.
const (
	allowPriority = 100
	blockPriority = 200
)

// firewallPriority is the priority of the association with the VPC, behind rule groups
// of the customer's own. AWS allows 101 to 9899; the rest is for AWS Firewall Manager.
const firewallPriority = 9000

// dnsFirewall is the actual state of a VPC's DNS firewall. A missing part is nil.
type dnsFirewall struct {
	association *resolvertypes.FirewallRuleGroupAssociation
	group       *resolvertypes.FirewallRuleGroupMetadata
	rules       []resolvertypes.FirewallRule
	allowed     *domainList
	everything  *domainList
	failOpen    bool
}

type domainList struct {
	id, arn string
	domains []string // in lower case, without the dot at the end, sorted
}

// domainsOf returns the domains of the allow list: S3 in the region, and the model's.
func (m *dnsFirewallModel) domainsOf(region, partition string) []string {
	domains := s3Domains(region, partition)
	for _, value := range m.AllowedDomains.Elements() {
		if domain, ok := value.(types.String); ok {
			domains = append(domains, domain.ValueString())
		}
	}
	return canonicalDomains(domains)
}

// s3Domains returns the names of S3 that nodes use: the region's endpoint, and buckets
// as names below it.
func s3Domains(region, partition string) []string {
	endpoint := "s3." + region + "." + awsclient.DNSSuffix(partition)
	return []string{endpoint, "*." + endpoint}
}

func canonicalDomains(domains []string) []string {
	var all []string
	for _, d := range domains {
		all = append(all, strings.ToLower(strings.TrimSuffix(d, ".")))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// dnsFirewallFromAWS returns the model of an actual firewall. Domains of S3 are in it only
// if the state has them.
func dnsFirewallFromAWS(found *dnsFirewall, inState *dnsFirewallModel, region, partition string) *dnsFirewallModel {
	m := &dnsFirewallModel{AllowedDomains: types.SetNull(types.StringType)}
	if found.allowed == nil {
		return m
	}
	var own []attr.Value
	base := s3Domains(region, partition)
	for _, d := range found.allowed.domains {
		value := types.StringValue(d)
		listed := inState != nil && slices.ContainsFunc(inState.AllowedDomains.Elements(), func(e attr.Value) bool { return e.Equal(value) })
		if listed || !slices.Contains(base, d) {
			own = append(own, value)
		}
	}
	if len(own) > 0 {
		m.AllowedDomains = types.SetValueMust(types.StringType, own)
	}
	return m
}

// wantedRules returns the rules of the firewall, by the id of the list that they apply to.
func (f *dnsFirewall) wantedRules() []resolvertypes.FirewallRule {
	allowName, blockName := "allowed", "everything-else"
	allow, block := int32(allowPriority), int32(blockPriority)
	return []resolvertypes.FirewallRule{
		{Name: &allowName, Priority: &allow, FirewallDomainListId: &f.allowed.id, Action: resolvertypes.ActionAllow,
			FirewallDomainRedirectionAction: resolvertypes.FirewallDomainRedirectionActionTrustRedirectionDomain},
		{Name: &blockName, Priority: &block, FirewallDomainListId: &f.everything.id, Action: resolvertypes.ActionBlock,
			BlockResponse:                   resolvertypes.BlockResponseNxdomain,
			FirewallDomainRedirectionAction: resolvertypes.FirewallDomainRedirectionActionInspectRedirectionDomain},
	}
}

// sameRule reports whether an actual rule has the effect of the wanted one.
func sameRule(actual, wanted resolvertypes.FirewallRule) bool {
	return sameRuleKey(actual, wanted) && actual.Priority != nil && *actual.Priority == *wanted.Priority && actual.Action == wanted.Action &&
		actual.BlockResponse == wanted.BlockResponse && actual.FirewallDomainRedirectionAction == wanted.FirewallDomainRedirectionAction
}

// sameRuleKey reports whether two rules are one to AWS: for the same list and all query
// types.
func sameRuleKey(actual, wanted resolvertypes.FirewallRule) bool {
	return actual.FirewallDomainListId != nil && *actual.FirewallDomainListId == *wanted.FirewallDomainListId && actual.Qtype == nil
}

// drift returns how the parts differ from what the provider creates. The attribute
// allowed_domains shows the domains.
func (f *dnsFirewall) drift(region, partition string) []string {
	var found []string
	if f.association == nil || f.group == nil {
		found = append(found, "the DNS firewall is not associated with the VPC")
	}
	if f.failOpen {
		found = append(found, "the DNS firewall fails open")
	}
	if f.allowed == nil || f.everything == nil || !slices.Equal(f.everything.domains, []string{"*"}) || !containsAll(f.allowed.domains, s3Domains(region, partition)) {
		return append(found, "a domain list of the DNS firewall was deleted or changed")
	}
	wanted := f.wantedRules()
	same := len(f.rules) == len(wanted)
	for _, w := range wanted {
		same = same && slices.ContainsFunc(f.rules, func(r resolvertypes.FirewallRule) bool { return sameRule(r, w) })
	}
	if !same {
		found = append(found, "the rules of the DNS firewall were changed")
	}
	return found
}

func containsAll(all, some []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
}

// setFirewall sets the attribute dns_firewall, and adds to drift what it does not show.
func (m *vpcModel) setFirewall(found *dnsFirewall, region, partition string) {
	if found == nil {
		m.DNSFirewall = nil
		return
	}
	m.DNSFirewall = dnsFirewallFromAWS(found, m.DNSFirewall, region, partition)
	drift := m.Drift.Elements()
	for _, difference := range found.drift(region, partition) {
		drift = append(drift, types.StringValue(difference))
	}
	m.Drift = types.SetValueMust(types.StringType, drift)
}
