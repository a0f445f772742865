package fixups

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// elasticIP rejects the release of an associated address, and associations in a VPC
// without an internet gateway.
func elasticIP() fakeaws.Middleware {
	return check(func(c *fakeaws.Call) (*refusal, error) {
		switch {
		case c.Is(fakeaws.EC2, "ReleaseAddress"):
			return refuseRelease(c)
		case c.Is(fakeaws.EC2, "AssociateAddress"):
			return refuseWithoutGateway(c)
		}
		return nil, nil
	})
}

func refuseRelease(c *fakeaws.Call) (*refusal, error) {
	id := c.Params.Get("AllocationId")
	if id == "" {
		return nil, nil
	}
	out, err := ec2Of(c).DescribeAddresses(c.Context(), &ec2.DescribeAddressesInput{AllocationIds: []string{id}})
	if err != nil {
		return nil, err
	}
	if a := out.Addresses[0]; aws.ToString(a.AssociationId) != "" {
		return refuse("InvalidIPAddress.InUse", "Address "+aws.ToString(a.PublicIp)+" is in use."), nil
	}
	return nil, nil
}

func refuseWithoutGateway(c *fakeaws.Call) (*refusal, error) {
	id := c.Params.Get("InstanceId")
	if id == "" {
		return nil, nil
	}
	instance, err := describeInstance(c, id)
	if err != nil {
		return nil, err
	}
	vpc := aws.ToString(instance.VpcId)
	gateways, err := ec2Of(c).DescribeInternetGateways(c.Context(), &ec2.DescribeInternetGatewaysInput{
		Filters: []types.Filter{{Name: aws.String("attachment.vpc-id"), Values: []string{vpc}}},
	})
	if err != nil || len(gateways.InternetGateways) > 0 {
		return nil, err
	}
	return refuse("Gateway.NotAttached", "Network "+vpc+" is not attached to any internet gateway"), nil
}

// describeInstance returns an instance, or moto's error for an unknown one.
func describeInstance(c *fakeaws.Call, id string) (types.Instance, error) {
	out, err := ec2Of(c).DescribeInstances(c.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	if err != nil {
		return types.Instance{}, err
	}
	return out.Reservations[0].Instances[0], nil
}
