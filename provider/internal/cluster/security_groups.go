package cluster

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/awswait"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// rule is one opening of a security group: a range of ports and one source.
type rule struct {
	protocol   string // "-1" is all, and then ports are 0
	from, to   int32
	cidr       string
	otherGroup string // group id; what neither field can say is in other
	other      string // prefix lists and IPv6, which the provider never makes
}

// wantedRules are the openings of a role's group: service-ports.json, and
// nothing else. A role without a node in this cluster has no group, and
// nothing to open for.
func (w *work) wantedRules(role model.Role) map[rule]bool {
	wanted := map[rule]bool{}
	for _, s := range model.ServicesOf(role) {
		for _, p := range s.Ports {
			for _, from := range p.From {
				r := rule{protocol: p.Protocol, from: p.Port, to: p.Last()}
				switch from {
				case model.FromInternet:
					r.cidr = "0.0.0.0/0"
				case model.FromVPN:
					r.cidr = w.spec.VPNCIDR
				default:
					g, exists := w.seen.groups[model.Role(from)]
					if !exists || len(w.spec.nodesOf(model.Role(from))) == 0 {
						continue
					}
					r.otherGroup = aws.ToString(g.GroupId)
				}
				wanted[r] = true
			}
		}
	}
	return wanted
}

// flattenRules returns a group's permissions, one source each.
func flattenRules(permissions []ec2types.IpPermission) map[rule]bool {
	rules := map[rule]bool{}
	for _, p := range permissions {
		r := rule{protocol: aws.ToString(p.IpProtocol), from: aws.ToInt32(p.FromPort), to: aws.ToInt32(p.ToPort)}
		for _, source := range p.IpRanges {
			r := r
			r.cidr = aws.ToString(source.CidrIp)
			rules[r] = true
		}
		for _, source := range p.UserIdGroupPairs {
			r := r
			r.otherGroup = aws.ToString(source.GroupId)
			rules[r] = true
		}
		for _, source := range p.Ipv6Ranges {
			r := r
			r.other = "ipv6:" + aws.ToString(source.CidrIpv6)
			rules[r] = true
		}
		for _, source := range p.PrefixListIds {
			r := r
			r.other = "pl:" + aws.ToString(source.PrefixListId)
			rules[r] = true
		}
	}
	return rules
}

func (r rule) permission() ec2types.IpPermission {
	p := ec2types.IpPermission{IpProtocol: aws.String(r.protocol)}
	if r.protocol != "-1" {
		p.FromPort, p.ToPort = aws.Int32(r.from), aws.Int32(r.to)
	}
	switch kind, value, _ := strings.Cut(r.other, ":"); {
	case r.cidr != "":
		p.IpRanges = []ec2types.IpRange{{CidrIp: aws.String(r.cidr)}}
	case r.otherGroup != "":
		p.UserIdGroupPairs = []ec2types.UserIdGroupPair{{GroupId: aws.String(r.otherGroup)}}
	case kind == "ipv6":
		p.Ipv6Ranges = []ec2types.Ipv6Range{{CidrIpv6: aws.String(value)}}
	default:
		p.PrefixListIds = []ec2types.PrefixListId{{PrefixListId: aws.String(value)}}
	}
	return p
}

func permissions(rules map[rule]bool) []ec2types.IpPermission {
	var all []ec2types.IpPermission
	for r := range rules {
		all = append(all, r.permission())
	}
	return all
}

// without returns the rules of a that are not in b.
func without(a, b map[rule]bool) map[rule]bool {
	rest := maps.Clone(a)
	maps.DeleteFunc(rest, func(r rule, _ bool) bool { return b[r] })
	return rest
}

func (w *work) groupTags(role model.Role) []ec2types.Tag {
	return base.EC2Tags(w.spec.Name+"-"+string(role), w.spec.TagsAll, map[string]string{base.TagCluster: w.spec.Name, base.TagRole: string(role)})
}

// ensureGroups makes a group per role and then its rules, which name groups.
func (w *work) ensureGroups(ctx context.Context) error {
	roles := w.spec.roles()
	made := make([]ec2types.SecurityGroup, len(roles))
	err := base.ParallelAll(ctx, stepsFor(roles, func(ctx context.Context, n int, role model.Role) (err error) {
		made[n], err = w.ensureGroup(ctx, role)
		return err
	})...)
	for n, role := range roles {
		if made[n].GroupId != nil {
			w.seen.groups[role] = made[n]
		}
	}
	if err != nil {
		return err
	}
	return base.ParallelAll(ctx, stepsFor(roles, func(ctx context.Context, _ int, role model.Role) error {
		g := w.seen.groups[role]
		if err := w.ensureRules(ctx, g, w.wantedRules(role)); err != nil {
			return err
		}
		return w.ensureEgress(ctx, g)
	})...)
}

// stepsFor makes a step of each thing.
func stepsFor[T any](things []T, step func(ctx context.Context, n int, thing T) error) []base.Step {
	steps := make([]base.Step, len(things))
	for n, thing := range things {
		steps[n] = func(ctx context.Context) error { return step(ctx, n, thing) }
	}
	return steps
}

func (w *work) ensureGroup(ctx context.Context, role model.Role) (ec2types.SecurityGroup, error) {
	if g, exists := w.seen.groups[role]; exists {
		return g, base.SetEC2Tags(ctx, w.Client.EC2, aws.ToString(g.GroupId), g.Tags, w.groupTags(role))
	}
	name := "xeroops-" + w.spec.Name + "-" + string(role)
	out, err := w.Client.EC2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		GroupName:         &name,
		Description:       aws.String(fmt.Sprintf("Role %s of XeroOps cluster %s", role, w.spec.Name)),
		VpcId:             &w.spec.VPCID,
		TagSpecifications: base.TagOnCreate(ec2types.ResourceTypeSecurityGroup, w.groupTags(role)),
	})
	if awswait.HasCode(err, "InvalidGroup.Duplicate") {
		return w.findGroup(ctx, name, role)
	}
	if err != nil {
		return ec2types.SecurityGroup{}, fmt.Errorf("create security group %s: %w", name, err)
	}
	return ec2types.SecurityGroup{GroupId: out.GroupId, Tags: w.groupTags(role), IpPermissionsEgress: permissions(map[rule]bool{allTraffic: true})}, nil
}

// findGroup finds a group that exists though observe did not see it: an answer
// that got lost, or one that was not visible yet. One of somebody else's is an
// error.
func (w *work) findGroup(ctx context.Context, name string, role model.Role) (ec2types.SecurityGroup, error) {
	out, err := w.Client.EC2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{
		Filters: []ec2types.Filter{base.Filter("vpc-id", w.spec.VPCID), base.Filter("group-name", name)}})
	if err != nil {
		return ec2types.SecurityGroup{}, err
	}
	for _, g := range out.SecurityGroups {
		tags := base.FlattenEC2Tags(g.Tags)
		if tags[base.TagCluster] == w.spec.Name && tags[base.TagRole] == string(role) {
			return g, nil
		}
	}
	return ec2types.SecurityGroup{}, fmt.Errorf("security group %s exists in %s and is not this cluster's; rename it or the cluster", name, w.spec.VPCID)
}

// ensureRules opens what is wanted and closes all else. Opening goes first, so
// that a rule that is only written differently never leaves a gap.
func (w *work) ensureRules(ctx context.Context, g ec2types.SecurityGroup, wanted map[rule]bool) error {
	actual := flattenRules(g.IpPermissions)
	if missing := without(wanted, actual); len(missing) > 0 {
		if err := w.open(ctx, g, missing); err != nil {
			return fmt.Errorf("open ports of security group %s: %w", aws.ToString(g.GroupId), err)
		}
	}
	if extra := without(actual, wanted); len(extra) > 0 {
		_, err := w.Client.EC2.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: g.GroupId, IpPermissions: permissions(extra)})
		if err != nil && !awswait.HasCode(err, "InvalidPermission.NotFound") {
			return fmt.Errorf("close ports of security group %s: %w", aws.ToString(g.GroupId), err)
		}
	}
	return nil
}

// open opens what is missing. EC2 opens all of a call or none: if one is open
// already, by an answer that got lost or by somebody else, they go one by one.
func (w *work) open(ctx context.Context, g ec2types.SecurityGroup, missing map[rule]bool) error {
	_, err := awswait.Retry(ctx, awswait.CreatedVisible, awswait.IsNotFound, func(ctx context.Context) (any, error) {
		return w.Client.EC2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: g.GroupId, IpPermissions: permissions(missing)})
	})
	if !isRuleDuplicate(err) {
		return err
	}
	for r := range missing {
		_, err := w.Client.EC2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: g.GroupId, IpPermissions: []ec2types.IpPermission{r.permission()}})
		if err = awswait.Ignore(err, isRuleDuplicate); err != nil {
			return err
		}
	}
	return nil
}

func isRuleDuplicate(err error) bool { return awswait.HasCode(err, "InvalidPermission.Duplicate") }

// allTraffic is the egress rule that EC2 gives each new group.
var allTraffic = rule{protocol: "-1", cidr: "0.0.0.0/0"}

// ensureEgress restores the rule by which nodes reach out, if somebody removed it.
func (w *work) ensureEgress(ctx context.Context, g ec2types.SecurityGroup) error {
	if flattenRules(g.IpPermissionsEgress)[allTraffic] {
		return nil
	}
	_, err := w.Client.EC2.AuthorizeSecurityGroupEgress(ctx, &ec2.AuthorizeSecurityGroupEgressInput{GroupId: g.GroupId, IpPermissions: []ec2types.IpPermission{allTraffic.permission()}})
	if err = awswait.Ignore(err, isRuleDuplicate); err != nil {
		return fmt.Errorf("open egress of security group %s: %w", aws.ToString(g.GroupId), err)
	}
	return nil
}

// deleteGroups empties groups first, since they name each other, and deletes
// them when no interface uses them any more.
func (w *work) deleteGroups(ctx context.Context, roles []model.Role) error {
	err := base.ParallelAll(ctx, stepsFor(roles, func(ctx context.Context, _ int, role model.Role) error {
		return awswait.Ignore(w.ensureRules(ctx, w.seen.groups[role], nil), awswait.IsNotFound)
	})...)
	if err != nil {
		return err
	}
	return base.ParallelAll(ctx, stepsFor(roles, func(ctx context.Context, _ int, role model.Role) error {
		id := w.seen.groups[role].GroupId
		_, err := awswait.Retry(ctx, awswait.DependencyRelease, awswait.IsInUse, func(ctx context.Context) (any, error) {
			return w.Client.EC2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: id})
		})
		if err = awswait.Ignore(err, awswait.IsNotFound); err != nil {
			return fmt.Errorf("delete security group %s: %w", aws.ToString(id), err)
		}
		return nil
	})...)
}

// driftOfGroups lists how the groups differ from what is wanted.
func (w *work) driftOfGroups() []string {
	var found []string
	for _, role := range w.spec.roles() {
		g, exists := w.seen.groups[role]
		if !exists {
			found = append(found, fmt.Sprintf("the security group of role %s is gone", role))
			continue
		}
		if !flattenRules(g.IpPermissionsEgress)[allTraffic] {
			found = append(found, fmt.Sprintf("security group %s (%s) lets its nodes reach out no more", aws.ToString(g.GroupId), role))
		}
		wanted, actual := w.wantedRules(role), flattenRules(g.IpPermissions)
		if n := len(without(actual, wanted)); n > 0 {
			found = append(found, fmt.Sprintf("security group %s (%s) opens %d ports too many", aws.ToString(g.GroupId), role, n))
		}
		if n := len(without(wanted, actual)); n > 0 {
			found = append(found, fmt.Sprintf("security group %s (%s) lacks %d openings", aws.ToString(g.GroupId), role, n))
		}
	}
	return found
}
