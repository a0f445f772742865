package ebs

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/awswait"
)

// runInstance starts the instance in the first subnet whose zone has room.
func (b *build) runInstance(ctx context.Context) error {
	var noRoom []error
	for _, subnet := range b.subnets {
		in, err := b.launch(subnet)
		if err != nil {
			return err
		}
		b.instanceTried = true
		out, err := awswait.Retry(ctx, justMade, unknownYet, func(ctx context.Context) (*ec2.RunInstancesOutput, error) {
			return change(ctx, b.aws.EC2.RunInstances, in)
		})
		b.instanceOutcomeUnknown = b.instanceOutcomeUnknown || awswait.OutcomeUnknown(err)
		if noCapacity(err) {
			b.say("No room for %s in %s (%s)", in.InstanceType, aws.ToString(subnet.AvailabilityZone), awswait.Code(err))
			noRoom = append(noRoom, fmt.Errorf("in %s (%s): %w", aws.ToString(subnet.SubnetId), aws.ToString(subnet.AvailabilityZone), err))
			continue
		}
		if err != nil {
			return err
		}
		b.instance = out.Instances[0]
		b.say("Instance: %s in %s", aws.ToString(b.instance.InstanceId), aws.ToString(subnet.SubnetId))
		return nil
	}
	return fmt.Errorf("no subnet has room; add subnets by subnet_filter or use another instance_type: %w", errors.Join(noRoom...))
}

// noCapacity says whether another zone may have what this one has not.
func noCapacity(err error) bool {
	return awswait.IsNoCapacity(err) || awswait.HasCode(err, "Unsupported", "InsufficientFreeAddressesInSubnet")
}

func (b *build) launch(subnet types.Subnet) (*ec2.RunInstancesInput, error) {
	c := b.config
	userData, err := b.hostKey.userData()
	if err != nil {
		return nil, err
	}
	groups := c.SecurityGroupIDs
	if b.groupID != "" {
		groups = []string{b.groupID}
	}
	in := &ec2.RunInstancesInput{
		ClientToken:  aws.String(token(b.id, aws.ToString(subnet.SubnetId))),
		ImageId:      b.source.ImageId,
		InstanceType: types.InstanceType(c.InstanceType),
		MinCount:     aws.Int32(1),
		MaxCount:     aws.Int32(1),
		UserData:     aws.String(userData),
		// A machine that shuts itself down is stopped, not gone.
		InstanceInitiatedShutdownBehavior: types.ShutdownBehaviorStop,
		MetadataOptions:                   &types.InstanceMetadataOptionsRequest{HttpTokens: types.HttpTokensStateRequired},
		BlockDeviceMappings:               b.blockDevices(),
		NetworkInterfaces: []types.InstanceNetworkInterfaceSpecification{{
			DeviceIndex: aws.Int32(0), SubnetId: subnet.SubnetId, Groups: groups, DeleteOnTermination: aws.Bool(true),
			AssociatePublicIpAddress: c.AssociatePublicIP.ToBoolPointer(),
		}},
		TagSpecifications: append(b.tagged(types.ResourceTypeInstance, c.RunTags), b.tagged(types.ResourceTypeVolume, c.RunVolumeTags)...),
	}
	switch {
	case b.keyImported:
		in.KeyName = aws.String(b.name())
	case c.Comm.SSHKeyPairName != "":
		in.KeyName = aws.String(c.Comm.SSHKeyPairName)
	}
	if c.IAMInstanceProfile != "" {
		in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: aws.String(c.IAMInstanceProfile)}
	}
	if c.SpotPrice != "" {
		in.InstanceMarketOptions = spot(c.SpotPrice)
		in.InstanceInitiatedShutdownBehavior = "" // a one-time spot instance can only be terminated
	}
	return in, nil
}

// token makes a client token of at most 64 characters.
func token(id, of string) string {
	t := id + strings.TrimPrefix(of, "subnet-")
	return t[:min(len(t), 64)]
}

func spot(price string) *types.InstanceMarketOptionsRequest {
	options := &types.SpotMarketOptions{SpotInstanceType: types.SpotInstanceTypeOneTime}
	if price != "auto" { // at most the price on demand
		options.MaxPrice = aws.String(price)
	}
	return &types.InstanceMarketOptionsRequest{MarketType: types.MarketTypeSpot, SpotOptions: options}
}

func (b *build) awaitRunning(ctx context.Context) error {
	id := aws.ToString(b.instance.InstanceId)
	return b.awaitInstance(ctx, types.InstanceStateNameRunning, func(i types.Instance) error {
		switch i.State.Name {
		case types.InstanceStateNameShuttingDown, types.InstanceStateNameTerminated, types.InstanceStateNameStopped:
			reason := ""
			if i.StateReason != nil {
				reason = aws.ToString(i.StateReason.Message)
			}
			return fmt.Errorf("%s is %s: %s", id, i.State.Name, reason)
		}
		return nil
	})
}

// awaitInstance waits until the instance is in a state; wrong may end the wait.
func (b *build) awaitInstance(ctx context.Context, want types.InstanceStateName, wrong func(types.Instance) error) error {
	id := aws.ToString(b.instance.InstanceId)
	return b.await(ctx, fmt.Sprintf("%s to be %s", id, want), func(ctx context.Context) (bool, string, error) {
		out, err := b.aws.EC2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
		if awswait.IsNotFound(err) || err == nil && len(out.Reservations) == 0 {
			return false, "unknown", nil
		}
		if err != nil {
			return false, "", err
		}
		b.instance = out.Reservations[0].Instances[0]
		state := b.instance.State.Name
		if state == want {
			return true, "", nil
		}
		if wrong != nil {
			err = wrong(b.instance)
		}
		return false, string(state), err
	})
}

// stopInstance lets the file systems be whole. A spot instance can't be
// stopped; CreateImage shuts it down for the time of the snapshot instead.
func (b *build) stopInstance(ctx context.Context) error {
	if b.config.SpotPrice != "" {
		return nil
	}
	b.say("Stopping %s", aws.ToString(b.instance.InstanceId))
	_, err := change(ctx, b.aws.EC2.StopInstances, &ec2.StopInstancesInput{InstanceIds: []string{aws.ToString(b.instance.InstanceId)}})
	if err != nil {
		return err
	}
	return b.awaitInstance(ctx, types.InstanceStateNameStopped, nil)
}

func (b *build) terminateInstance(ctx context.Context) error {
	if !b.instanceTried {
		return nil
	}
	ids, err := b.findInstances(ctx)
	if err != nil || len(ids) == 0 {
		return err
	}
	b.say("Terminating %s", strings.Join(ids, ", "))
	if err := remove(ctx, b.aws.EC2.TerminateInstances, &ec2.TerminateInstancesInput{InstanceIds: ids}); err != nil {
		return fmt.Errorf("terminate %v: %w", ids, err)
	}
	return awswait.Until(ctx, undoTimeout, func(ctx context.Context) (bool, string, error) {
		out, err := lookup(ctx, b.aws.EC2.DescribeInstances, &ec2.DescribeInstancesInput{InstanceIds: ids})
		if awswait.IsNotFound(err) {
			return true, "", nil
		}
		if err != nil {
			return false, "", err
		}
		for _, r := range out.Reservations {
			for _, i := range r.Instances {
				if i.State.Name != types.InstanceStateNameTerminated {
					return false, string(i.State.Name), nil
				}
			}
		}
		return true, "", nil
	})
}

// findInstances returns the instance, or those that the build may have started
// without learning of it.
func (b *build) findInstances(ctx context.Context) ([]string, error) {
	if id := aws.ToString(b.instance.InstanceId); id != "" {
		return []string{id}, nil
	}
	var ids []string
	err := find(ctx, b.instanceOutcomeUnknown, func(ctx context.Context) (bool, error) {
		out, err := lookup(ctx, b.aws.EC2.DescribeInstances, &ec2.DescribeInstancesInput{Filters: []types.Filter{b.ofThisBuild()}})
		if err != nil {
			return false, fmt.Errorf("look for instances of the build: %w", err)
		}
		for _, r := range out.Reservations {
			for _, i := range r.Instances {
				if i.State.Name != types.InstanceStateNameTerminated {
					ids = append(ids, aws.ToString(i.InstanceId))
				}
			}
		}
		return len(ids) > 0, nil
	})
	return ids, err
}
