package fixups_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	resolver "github.com/aws/aws-sdk-go-v2/service/route53resolver"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver/types"

	"github.com/xeroops/xeroops/internal/fakeaws/inventory"
)

func TestPartsOfADNSFirewallInUseAreNotDeleted(t *testing.T) {
	f := newFixture(t, fast)
	cfg := inventory.Config(f.front.URL, "eu-west-1")
	cfg.RetryMaxAttempts = 1
	c := resolver.NewFromConfig(cfg)
	list, err := c.CreateFirewallDomainList(ctx, &resolver.CreateFirewallDomainListInput{Name: aws.String("all")})
	f.ok(err)
	group, err := c.CreateFirewallRuleGroup(ctx, &resolver.CreateFirewallRuleGroupInput{Name: aws.String("vpc"), CreatorRequestId: aws.String("one")})
	f.ok(err)
	again, err := c.CreateFirewallRuleGroup(ctx, &resolver.CreateFirewallRuleGroupInput{Name: aws.String("vpc"), CreatorRequestId: aws.String("one")})
	f.ok(err)
	if *again.FirewallRuleGroup.Id != *group.FirewallRuleGroup.Id {
		t.Error("a repeated call created another rule group")
	}
	listID, groupID := list.FirewallDomainList.Id, group.FirewallRuleGroup.Id
	_, err = c.CreateFirewallRule(ctx, &resolver.CreateFirewallRuleInput{FirewallRuleGroupId: groupID, FirewallDomainListId: listID, Name: aws.String("block"),
		Priority: aws.Int32(1), Action: types.ActionBlock, BlockResponse: types.BlockResponseNxdomain})
	f.ok(err)
	on, err := c.AssociateFirewallRuleGroup(ctx, &resolver.AssociateFirewallRuleGroupInput{FirewallRuleGroupId: groupID, VpcId: f.vpc, Name: aws.String("vpc"), Priority: aws.Int32(9000)})
	f.ok(err)

	_, err = c.DeleteFirewallDomainList(ctx, &resolver.DeleteFirewallDomainListInput{FirewallDomainListId: listID})
	f.refused(err, "ConflictException")
	_, err = c.DeleteFirewallRule(ctx, &resolver.DeleteFirewallRuleInput{FirewallRuleGroupId: groupID, FirewallDomainListId: listID})
	f.ok(err)
	_, err = c.DeleteFirewallRuleGroup(ctx, &resolver.DeleteFirewallRuleGroupInput{FirewallRuleGroupId: groupID})
	f.refused(err, "ConflictException")
	_, err = f.ec2.DeleteVpc(ctx, &ec2.DeleteVpcInput{VpcId: f.vpc})
	f.refused(err, "DependencyViolation")

	_, err = c.DisassociateFirewallRuleGroup(ctx, &resolver.DisassociateFirewallRuleGroupInput{FirewallRuleGroupAssociationId: on.FirewallRuleGroupAssociation.Id})
	f.ok(err)
	for range 2 { // deleting, then gone
		_, err = c.GetFirewallRuleGroupAssociation(ctx, &resolver.GetFirewallRuleGroupAssociationInput{FirewallRuleGroupAssociationId: on.FirewallRuleGroupAssociation.Id})
	}
	f.refused(err, "ResourceNotFoundException")
	_, err = c.DeleteFirewallRuleGroup(ctx, &resolver.DeleteFirewallRuleGroupInput{FirewallRuleGroupId: groupID})
	f.ok(err)
	_, err = c.DeleteFirewallDomainList(ctx, &resolver.DeleteFirewallDomainListInput{FirewallDomainListId: listID})
	f.ok(err)
}
