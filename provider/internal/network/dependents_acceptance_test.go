package network_test

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
)

// strayInterface creates a network interface in the private subnet.
func (a account) strayInterface(ctx context.Context) (*string, error) {
	made, err := a.EC2.CreateNetworkInterface(ctx, &ec2.CreateNetworkInterfaceInput{SubnetId: a.id(private), Description: aws.String("left by hand")})
	if err != nil {
		return nil, err
	}
	return made.NetworkInterface.NetworkInterfaceId, nil
}

func TestAForeignInterfaceIsNamedWhenItsSubnetIsDestroyed(t *testing.T) {
	a := newAccount(t)
	var stray *string
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: privateConfig, Check: a.note(private)},
		{PreConfig: a.behindTerraform(func(ctx context.Context) (err error) {
			stray, err = a.strayInterface(ctx)
			return err
		}), Config: privateConfig, Destroy: true, ExpectError: matching(`network interface eni-\w+ \(type \w*, "left by hand", of account \d+, created by \w+\), which Terraform does not destroy`)},
		{PreConfig: a.behindTerraform(func(ctx context.Context) error {
			_, err := a.EC2.DeleteNetworkInterface(ctx, &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: stray})
			return err
		}), Config: privateConfig},
	}})
}

func TestAnInterfaceThatIsReleasedSoonIsWaitedFor(t *testing.T) {
	a := newAccount(t)
	released := make(chan error, 1)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: privateConfig, Check: a.note(private)},
		{PreConfig: a.behindTerraform(func(ctx context.Context) error {
			stray, err := a.strayInterface(ctx)
			time.AfterFunc(5*time.Second, func() {
				_, err := a.EC2.DeleteNetworkInterface(context.Background(), &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: stray})
				released <- err
			})
			return err
		}), Config: privateConfig, Destroy: true},
	}})
	if err := <-released; err != nil {
		t.Error(err)
	}
}

func TestAForeignEndpointIsNamedWhenItsVPCIsDestroyed(t *testing.T) {
	a := newAccount(t)
	var endpoint string
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: vpcConfig(""), Check: a.note(vpc)},
		{PreConfig: a.behindTerraform(func(ctx context.Context) error {
			made, err := a.EC2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcId: a.id(vpc), VpcEndpointType: ec2types.VpcEndpointTypeGateway, ServiceName: aws.String("com.amazonaws.eu-west-1.dynamodb")})
			if err == nil {
				endpoint = aws.ToString(made.VpcEndpoint.VpcEndpointId)
			}
			return err
		}), Config: vpcConfig(""), Destroy: true, ExpectError: matching(`VPC endpoint vpce-\w+ \(type Gateway, com\.amazonaws\.eu-west-1\.dynamodb`)},
		{PreConfig: a.behindTerraform(func(ctx context.Context) error {
			_, err := a.EC2.DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{endpoint}})
			return err
		}), Config: vpcConfig("")},
	}})
}

// A destroy that was killed deleted the subnet, which left the state, and not its table.
func TestATableWhoseSubnetIsGoneIsDestroyedWithItsVPC(t *testing.T) {
	a := newAccount(t)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: privateConfig, Check: a.note(private)},
		{PreConfig: a.behindTerraform(func(ctx context.Context) error {
			subnet := *a.id(private)
			out, err := a.EC2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: []ec2types.Filter{
				{Name: aws.String("association.subnet-id"), Values: []string{subnet}}}})
			if err != nil {
				return err
			}
			for _, association := range out.RouteTables[0].Associations {
				if _, err := a.EC2.DisassociateRouteTable(ctx, &ec2.DisassociateRouteTableInput{AssociationId: association.RouteTableAssociationId}); err != nil {
					return err
				}
			}
			_, err = a.EC2.DeleteSubnet(ctx, &ec2.DeleteSubnetInput{SubnetId: &subnet})
			return err
		}), Config: privateConfig, Destroy: true},
	}})
}
