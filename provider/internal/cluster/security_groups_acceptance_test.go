package cluster_test

import (
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// describeGroup describes a role's security group.
func (a *account) describeGroup(role string) ec2types.SecurityGroup {
	out, err := a.EC2.DescribeSecurityGroups(a.t.Context(), &ec2.DescribeSecurityGroupsInput{GroupIds: []string{a.group(role)}})
	a.must(err)
	return out.SecurityGroups[0]
}

func TestARuleThatExistsDoesNotPreventOthers(t *testing.T) {
	a := newAccount(t)
	a.must(a.Front.Inject(fakeaws.Fault{Action: "AuthorizeSecurityGroupIngress", Nth: 1, Effect: fakeaws.Fail, Code: "InvalidPermission.Duplicate", Message: "one of them exists"}))
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: a.config(), Check: resource.TestCheckResourceAttr(resourceName, "drift.#", "0")},
		{Config: a.config(), ConfigPlanChecks: nothingToDo()},
	}})
}

func TestARemovedEgressRuleIsDriftAndRestored(t *testing.T) {
	a := newAccount(t)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: a.config()},
		{PreConfig: func() {
			g := a.describeGroup("app")
			_, err := a.EC2.RevokeSecurityGroupEgress(t.Context(), &ec2.RevokeSecurityGroupEgressInput{GroupId: g.GroupId, IpPermissions: g.IpPermissionsEgress})
			a.must(err)
		}, Config: a.config(), ConfigPlanChecks: inPlace(), Check: check(func() error {
			for _, p := range a.describeGroup("app").IpPermissionsEgress {
				if aws.ToString(p.IpProtocol) == "-1" && len(p.IpRanges) == 1 && aws.ToString(p.IpRanges[0].CidrIp) == "0.0.0.0/0" {
					return nil
				}
			}
			return errors.New("the egress rule was not restored")
		})},
		{Config: a.config(), ConfigPlanChecks: nothingToDo()},
	}})
}
