package network_test

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/provider/internal/acctest"
)

func eipConfig(extra string) string {
	return `
resource "xeroops_eip" "edge" {
  name = "edge"
  ` + extra + `
}
`
}

func TestEIPIsCreatedImportedUpdatedAndDestroyed(t *testing.T) {
	a := newAccount(t)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{
			Config: eipConfig(""),
			Check: resource.ComposeAggregateTestCheckFunc(
				resource.TestMatchResourceAttr(eip, "id", matching(`^eipalloc-`)),
				resource.TestMatchResourceAttr(eip, "arn", matching(`^arn:aws:ec2:eu-west-1:123456789012:elastic-ip/eipalloc-`)),
				resource.TestMatchResourceAttr(eip, "public_ip", matching(`^\d+\.\d+\.\d+\.\d+$`)),
			),
		},
		{ResourceName: eip, ImportState: true, ImportStateVerify: true},
		{Config: eipConfig(`tags = { team = "core" }`), ConfigPlanChecks: expect(eip, plancheck.ResourceActionUpdate), Check: a.note(eip)},
		{
			PreConfig: a.behindTerraform(func(ctx context.Context) error {
				_, err := a.EC2.DeleteTags(ctx, &ec2.DeleteTagsInput{Resources: []string{a.ids[eip]}, Tags: []ec2types.Tag{{Key: aws.String("team")}}})
				return err
			}),
			Config: eipConfig(`tags = { team = "core" }`), ConfigPlanChecks: expect(eip, plancheck.ResourceActionUpdate),
		},
		{
			PreConfig: a.behindTerraform(func(ctx context.Context) error {
				_, err := a.EC2.ReleaseAddress(ctx, &ec2.ReleaseAddressInput{AllocationId: a.id(eip)})
				return err
			}),
			Config: eipConfig(""), ConfigPlanChecks: expect(eip, plancheck.ResourceActionCreate),
		},
	}})
}

func TestEIPIsImportedByIdentity(t *testing.T) {
	a := newAccount(t)
	a.Test(resource.TestCase{Steps: []resource.TestStep{{
		Config: eipConfig(""),
		Check:  acctest.Do(eip, func(ctx context.Context, id string) error { return acctest.ImportsByIdentity(ctx, "xeroops_eip", id) }),
	}}})
}

func TestEIPLeftByALostResponseIsAdopted(t *testing.T) {
	a := newAccount(t)
	made, err := a.EC2.AllocateAddress(t.Context(), &ec2.AllocateAddressInput{Domain: ec2types.DomainTypeVpc, TagSpecifications: tagged(ec2types.ResourceTypeElasticIp, "edge")})
	if err != nil {
		t.Fatal(err)
	}
	a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: eipConfig(""), Check: resource.TestCheckResourceAttr(eip, "id", *made.AllocationId)}}})
}

// associate associates the address with an interface in a VPC with a gateway, and
// returns a function that removes the association.
func (a account) associate(allocation string) (release func(context.Context) error, err error) {
	ctx := a.t.Context()
	subnet, err := a.EC2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})
	if err != nil {
		return nil, err
	}
	eni, err := a.EC2.CreateNetworkInterface(ctx, &ec2.CreateNetworkInterfaceInput{SubnetId: subnet.Subnets[0].SubnetId})
	if err != nil {
		return nil, err
	}
	made, err := a.EC2.AssociateAddress(ctx, &ec2.AssociateAddressInput{AllocationId: &allocation, NetworkInterfaceId: eni.NetworkInterface.NetworkInterfaceId})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		_, cut := a.EC2.DisassociateAddress(ctx, &ec2.DisassociateAddressInput{AssociationId: made.AssociationId})
		_, gone := a.EC2.DeleteNetworkInterface(ctx, &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: eni.NetworkInterface.NetworkInterfaceId})
		return firstOf(cut, gone)
	}, nil
}

func TestEIPInUseIsNotReleased(t *testing.T) {
	a := newAccount(t)
	short := eipConfig(`timeouts = { delete = "5s" }`)
	var release func(context.Context) error
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: short, Check: acctest.Do(eip, func(_ context.Context, id string) (err error) {
			release, err = a.associate(id)
			return err
		})},
		{Config: short, Destroy: true, ExpectError: matching(`associated with eni-\w+ \(eipassoc-\w+\)[^;]*; destroy what uses the address`)},
		{PreConfig: a.behindTerraform(func(ctx context.Context) error { return release(ctx) }), Config: short},
	}})
}

func TestEIPWithAUsedNameIsRejected(t *testing.T) {
	a := newAccount(t)
	made, err := a.EC2.AllocateAddress(t.Context(), &ec2.AllocateAddressInput{Domain: ec2types.DomainTypeVpc, TagSpecifications: tagged(ec2types.ResourceTypeElasticIp, "edge")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = a.associate(*made.AllocationId); err != nil {
		t.Fatal(err)
	}
	a.KeepBaseline()
	a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: eipConfig(""), ExpectError: matching(`"edge" already exists: eipalloc-\w+ \(associated with eni-`)}}})
}

func TestEIPErrorsSayWhatToDo(t *testing.T) {
	a := newAccount(t)
	if err := a.Front.Inject(fakeaws.Fault{Action: "AllocateAddress", Effect: fakeaws.Fail, Code: "AddressLimitExceeded", Message: "The maximum number of addresses has been reached.", Times: -1}); err != nil {
		t.Fatal(err)
	}
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: `resource "xeroops_eip" "edge" { name = "Edge!" }`, PlanOnly: true, ExpectError: matching(`lowercase letters`)},
		{Config: eipConfig(""), ExpectError: matching(`AddressLimitExceeded`)},
	}})
}
