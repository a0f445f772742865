// Package securitygroup manages a cluster's security groups, one per role and, if
// there is an EC2 Instance Connect Endpoint, one for it. The ingress rules of a role's
// group are those of service-ports.json, with sources in place of the internet where
// the customer has configured them; its one egress rule is the one that EC2 gives each
// new group.
//
// Groups are found by the tags xeroops:cluster and xeroops:role.
package securitygroup

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/awsclient"
	"github.com/xeroops/xeroops/internal/awswait"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

// EndpointRole is the value of the tag xeroops:role of the endpoint's group. No node
// has that role.
const EndpointRole model.Role = "instance-connect-endpoint"

// Groups are the security groups of one cluster.
type Groups struct {
	// Claim is that of the cluster, which new groups get. It has no token if an
	// earlier version of the provider created the cluster.
	Claim base.Claim
	// ManagedTags tells tags that the provider set on existing groups from those of
	// others.
	ManagedTags base.ManagedTags

	client   *awsclient.EC2
	describe *base.Describer
	spec     *clusterspec.Spec
	actual   map[model.Role]ec2types.SecurityGroup
}

// New returns the groups that spec describes, not observed yet.
func New(p *base.ProviderData, spec *clusterspec.Spec) *Groups {
	return &Groups{client: p.Client.EC2, describe: p.Describe, spec: spec, actual: map[model.Role]ec2types.SecurityGroup{}}
}

// ID returns the id of a role's group, or "".
func (g *Groups) ID(role model.Role) string { return aws.ToString(g.actual[role].GroupId) }

// Owns reports whether id is one of the cluster's groups.
func (g *Groups) Owns(id string) bool {
	for _, group := range g.actual {
		if aws.ToString(group.GroupId) == id {
			return true
		}
	}
	return false
}

// ActualClaim returns the claim of the existing groups as text, or "". One that is
// held comes first.
func (g *Groups) ActualClaim() string {
	claims := []string{""}
	for _, tags := range g.Tags() {
		claims = append(claims, base.EC2Claim(tags))
	}
	return slices.MaxFunc(claims, base.CompareClaims)
}

// WriteClaim sets the claim of the existing groups.
func (g *Groups) WriteClaim(ctx context.Context, claim string) error {
	var ids []string
	for _, group := range g.actual {
		ids = append(ids, aws.ToString(group.GroupId))
	}
	if len(ids) == 0 {
		return nil
	}
	return base.WriteEC2Claim(g.client, ids...)(ctx, claim)
}

// Exist reports whether any group exists.
func (g *Groups) Exist() bool { return len(g.actual) > 0 }

// Tags returns each group's tags.
func (g *Groups) Tags() [][]ec2types.Tag {
	var all [][]ec2types.Tag
	for _, group := range g.actual {
		all = append(all, group.Tags)
	}
	return all
}

// Observe describes the cluster's groups.
func (g *Groups) Observe(ctx context.Context) error {
	g.actual = map[model.Role]ec2types.SecurityGroup{}
	if g.spec.VPCID == "" {
		return g.observeImported(ctx)
	}
	groups, _, err := g.describe.SecurityGroups.Get(ctx, g.spec.VPCID)
	g.add(groups)
	return err
}

// observeImported describes the groups of a cluster whose VPC is not known yet.
func (g *Groups) observeImported(ctx context.Context) error {
	pages := ec2.NewDescribeSecurityGroupsPaginator(g.client, &ec2.DescribeSecurityGroupsInput{
		Filters: []ec2types.Filter{base.Filter("tag:"+base.TagCluster, g.spec.Name)}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		g.add(page.SecurityGroups)
	}
	return nil
}

// add adds those of the groups that have the cluster's tag.
func (g *Groups) add(groups []ec2types.SecurityGroup) {
	for _, group := range groups {
		if tags := base.FlattenEC2Tags(group.Tags); tags[base.TagCluster] == g.spec.Name {
			g.actual[model.Role(tags[base.TagRole])] = group
		}
	}
}

// Ensure creates a group per role and then sets the rules, which refer to
// groups.
func (g *Groups) Ensure(ctx context.Context) error {
	roles := g.roles()
	ensured := make([]ec2types.SecurityGroup, len(roles))
	err := base.ParallelAll(ctx, base.StepsFor(roles, func(ctx context.Context, n int, role model.Role) (err error) {
		ensured[n], err = g.ensureGroup(ctx, role)
		return err
	})...)
	for n, role := range roles {
		if ensured[n].GroupId != nil {
			g.actual[role] = ensured[n]
		}
	}
	if err != nil {
		return err
	}
	return base.ParallelAll(ctx, base.StepsFor(roles, func(ctx context.Context, _ int, role model.Role) error {
		group := g.actual[role]
		if err := g.ensureIngress(ctx, group, g.wantedRules(role)); err != nil {
			return err
		}
		return g.ensureEgress(ctx, role)
	})...)
}

// roles returns what has a group: the roles that have a node, and the endpoint.
func (g *Groups) roles() []model.Role {
	roles := g.spec.Roles()
	if g.spec.Access.ConnectEndpoint {
		roles = append(roles, EndpointRole)
	}
	return roles
}

func (g *Groups) tags(role model.Role) []ec2types.Tag {
	return base.EC2Tags(g.spec.Name+"-"+string(role), g.spec.TagsAll, map[string]string{base.TagCluster: g.spec.Name, base.TagRole: string(role)})
}

func (g *Groups) tagsOfNew(role model.Role) []ec2types.Tag {
	if g.Claim.Token == "" {
		return g.tags(role)
	}
	return append(g.tags(role), g.Claim.Tag())
}

func (g *Groups) ensureGroup(ctx context.Context, role model.Role) (ec2types.SecurityGroup, error) {
	if group, exists := g.actual[role]; exists {
		return group, base.SetEC2Tags(ctx, g.client, aws.ToString(group.GroupId), group.Tags, g.tags(role), g.ManagedTags)
	}
	name := "xeroops-" + g.spec.Name + "-" + string(role)
	out, err := g.client.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		GroupName:         &name,
		Description:       aws.String(fmt.Sprintf("Role %s of XeroOps cluster %s", role, g.spec.Name)),
		VpcId:             &g.spec.VPCID,
		TagSpecifications: base.TagOnCreate(ec2types.ResourceTypeSecurityGroup, g.tagsOfNew(role)),
	})
	if awswait.HasCode(err, "InvalidGroup.Duplicate") {
		return g.find(ctx, name, role)
	}
	if err != nil {
		return ec2types.SecurityGroup{}, fmt.Errorf("create security group %s: %w", name, err)
	}
	return ec2types.SecurityGroup{GroupId: out.GroupId, Tags: g.tagsOfNew(role), IpPermissionsEgress: permissions(map[rule]bool{allTraffic: true})}, nil
}

// find returns the cluster's group of that name, which exists although Observe
// did not return it: the answer to a create was lost, or the group was not
// visible yet. It is an error if the group is not the cluster's.
func (g *Groups) find(ctx context.Context, name string, role model.Role) (ec2types.SecurityGroup, error) {
	out, err := g.client.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{
		Filters: []ec2types.Filter{base.Filter("vpc-id", g.spec.VPCID), base.Filter("group-name", name)}})
	if err != nil {
		return ec2types.SecurityGroup{}, err
	}
	for _, group := range out.SecurityGroups {
		tags := base.FlattenEC2Tags(group.Tags)
		if tags[base.TagCluster] == g.spec.Name && tags[base.TagRole] == string(role) {
			return group, nil
		}
	}
	return ec2types.SecurityGroup{}, fmt.Errorf("security group %s exists in %s and does not belong to this cluster; rename the group or the cluster", name, g.spec.VPCID)
}

// ensureIngress adds the missing rules and then removes all others. This order
// leaves no gap where a rule was only written differently.
func (g *Groups) ensureIngress(ctx context.Context, group ec2types.SecurityGroup, wanted map[rule]bool) error {
	actual := flattenRules(group.IpPermissions)
	if missing := without(wanted, actual); len(missing) > 0 {
		if err := g.authorize(ctx, group, missing); err != nil {
			return fmt.Errorf("add ingress rules to security group %s: %w", aws.ToString(group.GroupId), explainQuota(err))
		}
	}
	if extra := without(actual, wanted); len(extra) > 0 {
		_, err := g.client.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: group.GroupId, IpPermissions: permissions(extra)})
		if err != nil && !awswait.HasCode(err, "InvalidPermission.NotFound") {
			return fmt.Errorf("remove ingress rules from security group %s: %w", aws.ToString(group.GroupId), err)
		}
	}
	return nil
}

// authorize adds ingress rules. EC2 adds all rules of a call or none: if one
// exists already, because an answer was lost or somebody else added it, they
// are added one by one.
func (g *Groups) authorize(ctx context.Context, group ec2types.SecurityGroup, missing map[rule]bool) error {
	_, err := awswait.Retry(ctx, awswait.CreatedVisible, awswait.IsNotFound, func(ctx context.Context) (any, error) {
		return g.client.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: group.GroupId, IpPermissions: permissions(missing)})
	})
	if !isDuplicateRule(err) {
		return err
	}
	for r := range missing {
		_, err := g.client.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: group.GroupId, IpPermissions: []ec2types.IpPermission{r.permission()}})
		if err = awswait.Ignore(err, isDuplicateRule); err != nil {
			return err
		}
	}
	return nil
}

func isDuplicateRule(err error) bool { return awswait.HasCode(err, "InvalidPermission.Duplicate") }

// explainQuota adds to the error of a rule too many what to do about it.
func explainQuota(err error) error {
	if !awswait.HasCode(err, "RulesPerSecurityGroupLimitExceeded") {
		return err
	}
	return fmt.Errorf("a security group has at most 60 rules by default, and a prefix list counts as its maximum number of entries for each port; "+
		"list fewer sources in ingress, or request a higher quota for rules per security group from AWS: %w", err)
}

// ensureEgress adds missing egress rules. It removes others from the endpoint's group
// only: what nodes may connect to is not restricted here.
func (g *Groups) ensureEgress(ctx context.Context, role model.Role) error {
	group, wanted := g.actual[role], g.wantedEgress(role)
	actual := flattenRules(group.IpPermissionsEgress)
	if missing := without(wanted, actual); len(missing) > 0 {
		_, err := g.client.AuthorizeSecurityGroupEgress(ctx, &ec2.AuthorizeSecurityGroupEgressInput{GroupId: group.GroupId, IpPermissions: permissions(missing)})
		if err = awswait.Ignore(err, isDuplicateRule); err != nil {
			return fmt.Errorf("add egress rules to security group %s: %w", aws.ToString(group.GroupId), err)
		}
	}
	if role != EndpointRole {
		return nil
	}
	return g.revokeEgress(ctx, group, without(actual, wanted))
}

func (g *Groups) revokeEgress(ctx context.Context, group ec2types.SecurityGroup, rules map[rule]bool) error {
	if len(rules) == 0 {
		return nil
	}
	_, err := g.client.RevokeSecurityGroupEgress(ctx, &ec2.RevokeSecurityGroupEgressInput{GroupId: group.GroupId, IpPermissions: permissions(rules)})
	if err != nil && !awswait.HasCode(err, "InvalidPermission.NotFound") {
		return fmt.Errorf("remove egress rules from security group %s: %w", aws.ToString(group.GroupId), err)
	}
	return nil
}

// Drift describes how the groups differ from the specification.
func (g *Groups) Drift(context.Context) []string {
	var found []string
	if id := g.ID(EndpointRole); id != "" && !g.spec.Access.ConnectEndpoint {
		found = append(found, fmt.Sprintf("security group %s of an EC2 Instance Connect Endpoint, which is not configured, exists", id))
	}
	for _, role := range g.roles() {
		group, exists := g.actual[role]
		if !exists {
			found = append(found, fmt.Sprintf("security group of role %s does not exist", role))
			continue
		}
		found = append(found, g.egressDrift(role)...)
		wanted, actual := g.wantedRules(role), flattenRules(group.IpPermissions)
		if n := len(without(actual, wanted)); n > 0 {
			found = append(found, fmt.Sprintf("security group %s (%s) has %d unexpected ingress rules", aws.ToString(group.GroupId), role, n))
		}
		if n := len(without(wanted, actual)); n > 0 {
			found = append(found, fmt.Sprintf("security group %s (%s) lacks %d ingress rules", aws.ToString(group.GroupId), role, n))
		}
	}
	return found
}

func (g *Groups) egressDrift(role model.Role) []string {
	group, wanted := g.actual[role], g.wantedEgress(role)
	actual := flattenRules(group.IpPermissionsEgress)
	switch {
	case role != EndpointRole && !actual[allTraffic]:
		return []string{fmt.Sprintf("security group %s (%s) does not allow outbound traffic", aws.ToString(group.GroupId), role)}
	case role == EndpointRole && len(without(wanted, actual))+len(without(actual, wanted)) > 0:
		return []string{fmt.Sprintf("security group %s (%s) does not have exactly its egress rules", aws.ToString(group.GroupId), role)}
	}
	return nil
}

// Delete deletes all groups.
func (g *Groups) Delete(ctx context.Context) error {
	return g.delete(ctx, append(model.Roles(), EndpointRole))
}

// DeleteUnused deletes the groups of roles without a node, and that of an endpoint that
// is no longer configured, which must be deleted.
func (g *Groups) DeleteUnused(ctx context.Context) error {
	used := g.roles()
	return g.delete(ctx, slices.DeleteFunc(append(model.Roles(), EndpointRole), func(role model.Role) bool { return slices.Contains(used, role) }))
}

// delete removes the rules of groups first, since groups refer to each other,
// and deletes the groups once no network interface uses them.
func (g *Groups) delete(ctx context.Context, roles []model.Role) error {
	roles = slices.DeleteFunc(roles, func(role model.Role) bool { return g.ID(role) == "" })
	err := base.ParallelAll(ctx, base.StepsFor(roles, func(ctx context.Context, _ int, role model.Role) error {
		err := g.ensureIngress(ctx, g.actual[role], nil)
		if err == nil && role == EndpointRole { // whose egress rules refer to other groups
			err = g.revokeEgress(ctx, g.actual[role], flattenRules(g.actual[role].IpPermissionsEgress))
		}
		return awswait.Ignore(err, awswait.IsNotFound)
	})...)
	if err != nil {
		return err
	}
	return base.ParallelAll(ctx, base.StepsFor(roles, func(ctx context.Context, _ int, role model.Role) error {
		id := g.actual[role].GroupId
		_, err := awswait.Retry(ctx, awswait.DependencyRelease, awswait.IsInUse, func(ctx context.Context) (any, error) {
			return g.client.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: id})
		})
		if err = awswait.Ignore(err, awswait.IsNotFound); err != nil {
			return fmt.Errorf("delete security group %s: %w", aws.ToString(id), err)
		}
		return nil
	})...)
}
