package fixups

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	resolver "github.com/aws/aws-sdk-go-v2/service/route53resolver"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver/types"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// dnsFirewall is Route 53 Resolver DNS Firewall, which moto lacks. Domain lists and
// associations are being changed until they have been read once.
func dnsFirewall() fakeaws.Middleware {
	regions := map[string]*firewallRegion{}
	var mu sync.Mutex
	return func(next fakeaws.Handler) fakeaws.Handler {
		return func(c *fakeaws.Call) (*http.Response, error) {
			mu.Lock()
			region := regions[c.Region]
			if region == nil {
				region = newFirewallRegion()
				regions[c.Region] = region
			}
			mu.Unlock()
			if c.Is(fakeaws.EC2, "DeleteVpc") && region.usesVPC(c.Params.Get("VpcId")) {
				return refuse("DependencyViolation", "a DNS firewall rule group is associated with the VPC").answer(c), nil
			}
			if c.Service != fakeaws.Resolver || !strings.Contains(c.Action, "Firewall") && !strings.Contains(c.Action, "Tag") {
				return next(c)
			}
			body, err := c.ReadBody()
			if err != nil {
				return nil, err
			}
			region.mu.Lock()
			defer region.mu.Unlock()
			out, refused := region.handle(c.Action, body)
			if refused != nil {
				return refused.answer(c), nil
			}
			return c.AnswerJSON(http.StatusOK, out), nil
		}
	}
}

type firewallRegion struct {
	mu           sync.Mutex
	created      int
	byToken      map[string]any // output by CreatorRequestId, so that a repeated call creates nothing
	lists        map[string]*firewallList
	groups       map[string]*firewallGroup
	associations map[string]*types.FirewallRuleGroupAssociation
	failOpen     map[string]types.FirewallFailOpenStatus // by VPC
	tags         map[string]map[string]string            // by ARN
}

type firewallList struct {
	types.FirewallDomainList
	domains []string
}

type firewallGroup struct {
	types.FirewallRuleGroup
	rules []types.FirewallRule
}

func newFirewallRegion() *firewallRegion {
	return &firewallRegion{byToken: map[string]any{}, lists: map[string]*firewallList{}, groups: map[string]*firewallGroup{},
		associations: map[string]*types.FirewallRuleGroupAssociation{}, failOpen: map[string]types.FirewallFailOpenStatus{}, tags: map[string]map[string]string{}}
}

func (f *firewallRegion) usesVPC(vpc string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.associations {
		if *a.VpcId == vpc {
			return true
		}
	}
	return false
}

// id returns a new id and its ARN.
func (f *firewallRegion) id(kind string) (id, arn *string) {
	f.created++
	id = aws.String(fmt.Sprintf("%s-%017x", map[string]string{"firewall-domain-list": "rslvr-fdl", "firewall-rule-group": "rslvr-frg",
		"firewall-rule-group-association": "rslvr-frgassoc"}[kind], f.created))
	return id, aws.String("arn:aws:route53resolver:eu-west-1:123456789012:" + kind + "/" + *id)
}

// handlers have the calls by name. They return the output, or AWS's refusal.
var firewallHandlers = map[string]func(*firewallRegion, []byte) (any, *refusal){
	"CreateFirewallDomainList":          handler((*firewallRegion).createList),
	"UpdateFirewallDomains":             handler((*firewallRegion).updateDomains),
	"GetFirewallDomainList":             handler((*firewallRegion).getList),
	"ListFirewallDomainLists":           handler((*firewallRegion).listLists),
	"ListFirewallDomains":               handler((*firewallRegion).listDomains),
	"DeleteFirewallDomainList":          handler((*firewallRegion).deleteList),
	"CreateFirewallRuleGroup":           handler((*firewallRegion).createGroup),
	"ListFirewallRuleGroups":            handler((*firewallRegion).listGroups),
	"DeleteFirewallRuleGroup":           handler((*firewallRegion).deleteGroup),
	"CreateFirewallRule":                handler((*firewallRegion).createRule),
	"UpdateFirewallRule":                handler((*firewallRegion).updateRule),
	"DeleteFirewallRule":                handler((*firewallRegion).deleteRule),
	"ListFirewallRules":                 handler((*firewallRegion).listRules),
	"AssociateFirewallRuleGroup":        handler((*firewallRegion).associate),
	"DisassociateFirewallRuleGroup":     handler((*firewallRegion).disassociate),
	"GetFirewallRuleGroupAssociation":   handler((*firewallRegion).getAssociation),
	"ListFirewallRuleGroupAssociations": handler((*firewallRegion).listAssociations),
	"GetFirewallConfig":                 handler((*firewallRegion).getConfig),
	"UpdateFirewallConfig":              handler((*firewallRegion).updateConfig),
	"TagResource":                       handler((*firewallRegion).tag),
	"UntagResource":                     handler((*firewallRegion).untag),
	"ListTagsForResource":               handler((*firewallRegion).listTags),
}

func handler[In any](do func(*firewallRegion, *In) (any, *refusal)) func(*firewallRegion, []byte) (any, *refusal) {
	return func(f *firewallRegion, body []byte) (any, *refusal) {
		var in In
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, refuse("ValidationException", err.Error())
		}
		return do(f, &in)
	}
}

func (f *firewallRegion) handle(action string, body []byte) (any, *refusal) {
	do, ok := firewallHandlers[action]
	if !ok {
		return nil, refuse("UnknownOperationException", action)
	}
	var token struct{ CreatorRequestId string } //nolint:revive // AWS's name
	_ = json.Unmarshal(body, &token)            // has no token then
	if out, repeated := f.byToken[action+token.CreatorRequestId]; repeated && token.CreatorRequestId != "" {
		return out, nil
	}
	out, refused := do(f, body)
	if refused == nil && token.CreatorRequestId != "" {
		f.byToken[action+token.CreatorRequestId] = out
	}
	return out, refused
}

func missing(id *string) *refusal {
	return refuse("ResourceNotFoundException", "no resource "+aws.ToString(id))
}

func conflict(text string) *refusal { return refuse("ConflictException", text) }

type object = map[string]any

func (f *firewallRegion) setTags(arn *string, tags []types.Tag) {
	if f.tags[*arn] == nil {
		f.tags[*arn] = map[string]string{}
	}
	for _, t := range tags {
		f.tags[*arn][*t.Key] = *t.Value
	}
}

func (f *firewallRegion) createList(in *resolver.CreateFirewallDomainListInput) (any, *refusal) {
	l := &firewallList{}
	l.Id, l.Arn = f.id("firewall-domain-list")
	l.Name, l.Status = in.Name, types.FirewallDomainListStatusComplete
	f.lists[*l.Id] = l
	f.setTags(l.Arn, in.Tags)
	return object{"FirewallDomainList": l.FirewallDomainList}, nil
}

func (f *firewallRegion) updateDomains(in *resolver.UpdateFirewallDomainsInput) (any, *refusal) {
	l := f.lists[*in.FirewallDomainListId]
	if l == nil {
		return nil, missing(in.FirewallDomainListId)
	}
	if in.Operation != types.FirewallDomainUpdateOperationReplace {
		return nil, refuse("ValidationException", "the stand-in only replaces domains")
	}
	l.domains = nil
	for _, d := range in.Domains {
		l.domains = append(l.domains, strings.TrimSuffix(d, ".")+".")
	}
	l.Status = types.FirewallDomainListStatusUpdating
	return object{"Id": l.Id, "Name": l.Name, "Status": l.Status}, nil
}

func (f *firewallRegion) getList(in *resolver.GetFirewallDomainListInput) (any, *refusal) {
	l := f.lists[*in.FirewallDomainListId]
	if l == nil {
		return nil, missing(in.FirewallDomainListId)
	}
	out := object{"FirewallDomainList": l.FirewallDomainList}
	l.Status = types.FirewallDomainListStatusComplete
	return out, nil
}

func (f *firewallRegion) listLists(*resolver.ListFirewallDomainListsInput) (any, *refusal) {
	all := []types.FirewallDomainListMetadata{}
	for _, l := range f.lists {
		all = append(all, types.FirewallDomainListMetadata{Id: l.Id, Arn: l.Arn, Name: l.Name})
	}
	return object{"FirewallDomainLists": all}, nil
}

func (f *firewallRegion) listDomains(in *resolver.ListFirewallDomainsInput) (any, *refusal) {
	l := f.lists[*in.FirewallDomainListId]
	if l == nil {
		return nil, missing(in.FirewallDomainListId)
	}
	return object{"Domains": l.domains}, nil
}

func (f *firewallRegion) deleteList(in *resolver.DeleteFirewallDomainListInput) (any, *refusal) {
	for _, g := range f.groups {
		for _, r := range g.rules {
			if *r.FirewallDomainListId == *in.FirewallDomainListId {
				return nil, conflict("a rule uses the domain list")
			}
		}
	}
	if f.lists[*in.FirewallDomainListId] == nil {
		return nil, missing(in.FirewallDomainListId)
	}
	delete(f.lists, *in.FirewallDomainListId)
	return object{}, nil
}

func (f *firewallRegion) createGroup(in *resolver.CreateFirewallRuleGroupInput) (any, *refusal) {
	g := &firewallGroup{}
	g.Id, g.Arn = f.id("firewall-rule-group")
	g.Name = in.Name
	f.groups[*g.Id] = g
	f.setTags(g.Arn, in.Tags)
	return object{"FirewallRuleGroup": g.FirewallRuleGroup}, nil
}

func (f *firewallRegion) listGroups(*resolver.ListFirewallRuleGroupsInput) (any, *refusal) {
	all := []types.FirewallRuleGroupMetadata{}
	for _, g := range f.groups {
		all = append(all, types.FirewallRuleGroupMetadata{Id: g.Id, Arn: g.Arn, Name: g.Name})
	}
	return object{"FirewallRuleGroups": all}, nil
}

func (f *firewallRegion) deleteGroup(in *resolver.DeleteFirewallRuleGroupInput) (any, *refusal) {
	g := f.groups[*in.FirewallRuleGroupId]
	switch {
	case g == nil:
		return nil, missing(in.FirewallRuleGroupId)
	case len(g.rules) > 0:
		return nil, conflict("the rule group has rules")
	}
	for _, a := range f.associations {
		if *a.FirewallRuleGroupId == *g.Id {
			return nil, conflict("the rule group is associated with a VPC")
		}
	}
	delete(f.groups, *g.Id)
	return object{}, nil
}

// rule returns the group and the index of the rule for a list, or -1.
func (f *firewallRegion) rule(group, list *string) (*firewallGroup, int) {
	g := f.groups[aws.ToString(group)]
	if g == nil {
		return nil, -1
	}
	return g, slices.IndexFunc(g.rules, func(r types.FirewallRule) bool { return *r.FirewallDomainListId == aws.ToString(list) })
}

func (f *firewallRegion) createRule(in *resolver.CreateFirewallRuleInput) (any, *refusal) {
	g, at := f.rule(in.FirewallRuleGroupId, in.FirewallDomainListId)
	if g == nil || f.lists[*in.FirewallDomainListId] == nil {
		return nil, missing(in.FirewallRuleGroupId)
	}
	if at >= 0 || slices.ContainsFunc(g.rules, func(r types.FirewallRule) bool { return *r.Priority == *in.Priority }) {
		return nil, conflict("the rule group has a rule for this list or with this priority")
	}
	g.rules = append(g.rules, types.FirewallRule{Name: in.Name, Priority: in.Priority, Action: in.Action, BlockResponse: in.BlockResponse, FirewallRuleGroupId: g.Id,
		FirewallDomainListId: in.FirewallDomainListId, FirewallDomainRedirectionAction: in.FirewallDomainRedirectionAction})
	return object{"FirewallRule": g.rules[len(g.rules)-1]}, nil
}

func (f *firewallRegion) updateRule(in *resolver.UpdateFirewallRuleInput) (any, *refusal) {
	g, at := f.rule(in.FirewallRuleGroupId, in.FirewallDomainListId)
	if at < 0 {
		return nil, missing(in.FirewallDomainListId)
	}
	r := &g.rules[at]
	r.Name, r.Priority, r.Action, r.BlockResponse = in.Name, in.Priority, in.Action, in.BlockResponse
	r.FirewallDomainRedirectionAction = in.FirewallDomainRedirectionAction
	return object{"FirewallRule": *r}, nil
}

func (f *firewallRegion) deleteRule(in *resolver.DeleteFirewallRuleInput) (any, *refusal) {
	g, at := f.rule(in.FirewallRuleGroupId, in.FirewallDomainListId)
	if at < 0 {
		return nil, missing(in.FirewallDomainListId)
	}
	g.rules = slices.Delete(g.rules, at, at+1)
	return object{}, nil
}

func (f *firewallRegion) listRules(in *resolver.ListFirewallRulesInput) (any, *refusal) {
	g := f.groups[*in.FirewallRuleGroupId]
	if g == nil {
		return nil, missing(in.FirewallRuleGroupId)
	}
	return object{"FirewallRules": g.rules}, nil
}

func (f *firewallRegion) associate(in *resolver.AssociateFirewallRuleGroupInput) (any, *refusal) {
	if f.groups[*in.FirewallRuleGroupId] == nil {
		return nil, missing(in.FirewallRuleGroupId)
	}
	for _, a := range f.associations {
		if *a.VpcId == *in.VpcId && (*a.Priority == *in.Priority || *a.FirewallRuleGroupId == *in.FirewallRuleGroupId) {
			return nil, conflict("the VPC has an association with this priority or rule group")
		}
	}
	a := &types.FirewallRuleGroupAssociation{Name: in.Name, VpcId: in.VpcId, Priority: in.Priority, FirewallRuleGroupId: in.FirewallRuleGroupId,
		Status: types.FirewallRuleGroupAssociationStatusUpdating}
	a.Id, a.Arn = f.id("firewall-rule-group-association")
	f.associations[*a.Id] = a
	f.setTags(a.Arn, in.Tags)
	return object{"FirewallRuleGroupAssociation": *a}, nil
}

func (f *firewallRegion) disassociate(in *resolver.DisassociateFirewallRuleGroupInput) (any, *refusal) {
	a := f.associations[*in.FirewallRuleGroupAssociationId]
	if a == nil {
		return nil, missing(in.FirewallRuleGroupAssociationId)
	}
	a.Status = types.FirewallRuleGroupAssociationStatusDeleting
	return object{"FirewallRuleGroupAssociation": *a}, nil
}

func (f *firewallRegion) getAssociation(in *resolver.GetFirewallRuleGroupAssociationInput) (any, *refusal) {
	a := f.associations[*in.FirewallRuleGroupAssociationId]
	if a == nil {
		return nil, missing(in.FirewallRuleGroupAssociationId)
	}
	out := object{"FirewallRuleGroupAssociation": *a}
	if a.Status == types.FirewallRuleGroupAssociationStatusDeleting {
		delete(f.associations, *a.Id)
	}
	a.Status = types.FirewallRuleGroupAssociationStatusComplete
	return out, nil
}

func (f *firewallRegion) listAssociations(in *resolver.ListFirewallRuleGroupAssociationsInput) (any, *refusal) {
	all := []types.FirewallRuleGroupAssociation{}
	for _, a := range f.associations {
		if in.VpcId == nil || *a.VpcId == *in.VpcId {
			all = append(all, *a)
		}
	}
	return object{"FirewallRuleGroupAssociations": all}, nil
}

func (f *firewallRegion) getConfig(in *resolver.GetFirewallConfigInput) (any, *refusal) {
	status := f.failOpen[*in.ResourceId]
	if status == "" {
		status = types.FirewallFailOpenStatusDisabled
	}
	return object{"FirewallConfig": types.FirewallConfig{ResourceId: in.ResourceId, FirewallFailOpen: status}}, nil
}

func (f *firewallRegion) updateConfig(in *resolver.UpdateFirewallConfigInput) (any, *refusal) {
	f.failOpen[*in.ResourceId] = in.FirewallFailOpen
	return f.getConfig(&resolver.GetFirewallConfigInput{ResourceId: in.ResourceId})
}

func (f *firewallRegion) tag(in *resolver.TagResourceInput) (any, *refusal) {
	f.setTags(in.ResourceArn, in.Tags)
	return object{}, nil
}

func (f *firewallRegion) untag(in *resolver.UntagResourceInput) (any, *refusal) {
	for _, key := range in.TagKeys {
		delete(f.tags[*in.ResourceArn], key)
	}
	return object{}, nil
}

func (f *firewallRegion) listTags(in *resolver.ListTagsForResourceInput) (any, *refusal) {
	all := []types.Tag{}
	for key, value := range f.tags[*in.ResourceArn] {
		all = append(all, types.Tag{Key: &key, Value: &value})
	}
	return object{"Tags": all}, nil
}
