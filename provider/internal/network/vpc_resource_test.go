package network_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/provider/internal/acctest"
)

func vpcConfig(extra string) string {
	return `
resource "xeroops_vpc" "main" {
  name = "production"
  cidr = "10.0.0.0/16"
  ` + extra + `
}
`
}

func TestVPCIsCreatedImportedUpdatedAndDestroyed(t *testing.T) {
	a := newAccount(t)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{
			Config: vpcConfig(`tags = { team = "platform" }`),
			Check: resource.ComposeAggregateTestCheckFunc(
				resource.TestMatchResourceAttr(vpc, "arn", matching(`^arn:aws:ec2:eu-west-1:123456789012:vpc/vpc-`)),
				resource.TestMatchResourceAttr(vpc, "internet_gateway_id", matching(`^igw-`)),
				resource.TestMatchResourceAttr(vpc, "s3_endpoint_id", matching(`^vpce-`)),
				resource.TestMatchResourceAttr(vpc, "default_security_group_id", matching(`^sg-`)),
				acctest.Do(vpc, a.hasEmptyDefaultGroup),
			),
			ConfigStateChecks: []statecheck.StateCheck{has(vpc, "tags_all", knownvalue.MapExact(map[string]knownvalue.Check{"team": knownvalue.StringExact("platform")}))},
		},
		{ResourceName: vpc, ImportState: true, ImportStateVerify: true},
		{
			Config: vpcConfig(`tags = { team = "core", Name = "shown" }`), ConfigPlanChecks: expect(vpc, plancheck.ResourceActionUpdate),
			Check: acctest.Do(vpc, func(ctx context.Context, id string) error {
				tags, err := a.tags(ctx, id)
				if err == nil && (tags["team"] != "core" || tags["Name"] != "shown" || tags["xeroops:name"] != "production") {
					err = fmt.Errorf("tags are %v", tags)
				}
				return err
			}),
		},
		{Config: vpcConfig(""), ConfigPlanChecks: expect(vpc, plancheck.ResourceActionUpdate)},
	}})
}

func (a account) hasEmptyDefaultGroup(ctx context.Context, id string) error {
	out, err := a.EC2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: []ec2types.Filter{{Name: aws.String("vpc-id"), Values: []string{id}}}})
	if err != nil {
		return err
	}
	if g := out.SecurityGroups[0]; len(g.IpPermissions)+len(g.IpPermissionsEgress) > 0 {
		return fmt.Errorf("the default group allows %v, %v", g.IpPermissions, g.IpPermissionsEgress)
	}
	return nil
}

func TestVPCIsImportedByIdentity(t *testing.T) {
	a := newAccount(t)
	a.Test(resource.TestCase{Steps: []resource.TestStep{{
		Config: vpcConfig(""),
		Check:  acctest.Do(vpc, func(ctx context.Context, id string) error { return acctest.ImportsByIdentity(ctx, "xeroops_vpc", id) }),
	}}})
}

func TestVPCWithAnotherRangeReplacesTheOneWithTheSameName(t *testing.T) {
	a := newAccount(t)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: vpcConfig("")},
		{
			Config:           strings.Replace(vpcConfig(""), "10.0.", "10.1.", 1),
			ConfigPlanChecks: expect(vpc, plancheck.ResourceActionReplace),
		},
	}})
}

func TestVPCDriftIsShownAndReverted(t *testing.T) {
	a := newAccount(t)
	noted := a.note(vpc, vpc+"/internet_gateway_id", vpc+"/s3_endpoint_id", vpc+"/default_security_group_id")
	steps := []resource.TestStep{{Config: vpcConfig(""), Check: noted}}
	for _, tc := range []struct {
		drift  string
		change func(ctx context.Context) error
	}{
		{"no internet gateway is attached", func(ctx context.Context) error {
			_, err := a.EC2.DetachInternetGateway(ctx, &ec2.DetachInternetGatewayInput{InternetGatewayId: a.id(vpc + "/internet_gateway_id"), VpcId: a.id(vpc)})
			return err
		}},
		{"the gateway endpoint for S3 is missing", func(ctx context.Context) error {
			_, err := a.EC2.DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{a.ids[vpc+"/s3_endpoint_id"]}})
			return err
		}},
		{"the default security group has 1 rules", func(ctx context.Context) error {
			_, err := a.EC2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{
				GroupId: a.id(vpc + "/default_security_group_id"), IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), CidrIp: aws.String("0.0.0.0/0")})
			return err
		}},
		{"DNS support or DNS host names are disabled", func(ctx context.Context) error {
			_, err := a.EC2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{VpcId: a.id(vpc), EnableDnsSupport: &ec2types.AttributeBooleanValue{Value: aws.Bool(false)}})
			return err
		}},
	} {
		steps = append(steps, repairs(vpc, vpcConfig(""), tc.drift, a.behindTerraform(tc.change))...)
	}
	a.Test(resource.TestCase{Steps: steps})
}

func TestChangedEndpointPolicyIsReverted(t *testing.T) {
	a := newAccount(t)
	open := func(ctx context.Context) error {
		_, err := a.EC2.ModifyVpcEndpoint(ctx, &ec2.ModifyVpcEndpointInput{VpcEndpointId: a.id(vpc + "/s3_endpoint_id"),
			PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}`)})
		return err
	}
	a.Test(resource.TestCase{Steps: append([]resource.TestStep{{Config: vpcConfig(""), Check: a.note(vpc, vpc+"/s3_endpoint_id")}},
		repairs(vpc, vpcConfig(""), "the policy of the S3 endpoint was changed", a.behindTerraform(open))...)})
}

func TestTagChangedOutsideOfTerraformIsReverted(t *testing.T) {
	a := newAccount(t)
	config := vpcConfig(`tags = { team = "platform" }`)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: config, Check: a.note(vpc)},
		{
			PreConfig: a.behindTerraform(func(ctx context.Context) error {
				_, err := a.EC2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{a.ids[vpc]}, Tags: []ec2types.Tag{{Key: aws.String("team"), Value: aws.String("other")}}})
				return err
			}),
			Config: config, ConfigPlanChecks: expect(vpc, plancheck.ResourceActionUpdate),
		},
	}})
}

func TestVPCThatDisappearedIsRecreated(t *testing.T) {
	a := newAccount(t)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: vpcConfig(""), Check: a.note(vpc, vpc+"/internet_gateway_id", vpc+"/s3_endpoint_id")},
		{
			PreConfig: a.behindTerraform(func(ctx context.Context) error {
				_, detach := a.EC2.DetachInternetGateway(ctx, &ec2.DetachInternetGatewayInput{InternetGatewayId: a.id(vpc + "/internet_gateway_id"), VpcId: a.id(vpc)})
				_, gateway := a.EC2.DeleteInternetGateway(ctx, &ec2.DeleteInternetGatewayInput{InternetGatewayId: a.id(vpc + "/internet_gateway_id")})
				_, endpoint := a.EC2.DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{a.ids[vpc+"/s3_endpoint_id"]}})
				_, gone := a.EC2.DeleteVpc(ctx, &ec2.DeleteVpcInput{VpcId: a.id(vpc)})
				return firstOf(detach, gateway, endpoint, gone)
			}),
			Config: vpcConfig(""), ConfigPlanChecks: expect(vpc, plancheck.ResourceActionCreate),
		},
	}})
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestVPCLeftByAnInterruptedApplyIsAdopted(t *testing.T) {
	a := newAccount(t)
	left, err := a.EC2.CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), TagSpecifications: tagged(ec2types.ResourceTypeVpc, "production")})
	if err != nil {
		t.Fatal(err)
	}
	a.Test(resource.TestCase{Steps: []resource.TestStep{{
		Config: vpcConfig(""), Check: resource.TestCheckResourceAttr(vpc, "id", *left.Vpc.VpcId),
	}}})
}

func TestVPCWithAUsedNameIsRejected(t *testing.T) {
	a := newAccount(t)
	other, err := a.EC2.CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), TagSpecifications: tagged(ec2types.ResourceTypeVpc, "production")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = a.EC2.CreateSubnet(t.Context(), &ec2.CreateSubnetInput{VpcId: other.Vpc.VpcId, CidrBlock: aws.String("10.0.1.0/24")}); err != nil {
		t.Fatal(err)
	}
	a.KeepBaseline()
	a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: vpcConfig(""), ExpectError: matching(`"production" already exists: vpc-\w+ \(1 subnets\)`)}}})
}

func TestVPCErrorsSayWhatToDo(t *testing.T) {
	for name, tc := range map[string]struct{ config, says string }{
		"host bits": {`cidr = "10.0.0.1/16"`, `10\.0\.0\.1/16 has host bits; the range is 10\.0\.0\.0/16`},
		"too large": {`cidr = "10.0.0.0/8"`, `10\.0\.0\.0/8 is a /8; use an IPv4 range such as`},
		"IPv6":      {`cidr = "fd00::/56"`, `"fd00::/56" is not an IPv4 range`},
		"own tag":   {"cidr = \"10.0.0.0/16\"\n  tags = { \"xeroops:name\" = \"x\" }", `must not start with aws: or xeroops:`},
	} {
		t.Run(name, func(t *testing.T) {
			config := "resource \"xeroops_vpc\" \"main\" {\n  name = \"production\"\n  " + tc.config + "\n}"
			newAccount(t).Test(resource.TestCase{Steps: []resource.TestStep{{Config: config, PlanOnly: true, ExpectError: matching(tc.says)}}})
		})
	}
}

func TestFailedCreateOfAVPCIsCleanedUp(t *testing.T) {
	a := newAccount(t)
	err := a.Front.Inject(fakeaws.Fault{Action: "CreateVpcEndpoint", Effect: fakeaws.Fail, Code: "VpcEndpointLimitExceeded", Message: "no more", Times: -1})
	if err != nil {
		t.Fatal(err)
	}
	a.Test(resource.TestCase{
		Steps: []resource.TestStep{{Config: vpcConfig(""), ExpectError: matching(`create gateway endpoint for S3: (.|\n)*VpcEndpointLimitExceeded`)}},
	})
}
