package ebs

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/packer-plugin-sdk/multistep"

	"github.com/xeroops/xeroops/internal/awswait"
)

// stepRunInstance launches the build instance in the first subnet whose zone
// has capacity.
type stepRunInstance struct {
	attempted bool
	unknown   bool // the outcome of an attempt is unknown
}

// Run implements multistep.Step.
func (s *stepRunInstance) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	return run(ctx, state, "launch the instance", func(ctx context.Context, b *build) error {
		var full []error
		for _, subnet := range keySubnets.get(state) {
			instance, err := s.launch(ctx, b, state, subnet)
			switch {
			case noCapacity(err):
				b.say("No capacity for %s in %s (%s)", b.config.InstanceType, aws.ToString(subnet.AvailabilityZone), awswait.Code(err))
				full = append(full, fmt.Errorf("in %s (%s): %w", aws.ToString(subnet.SubnetId), aws.ToString(subnet.AvailabilityZone), err))
			case err != nil:
				return err
			default:
				keyInstance.put(state, instance)
				keyInstanceID.put(state, aws.ToString(instance.InstanceId))
				b.say("Instance: %s in %s", aws.ToString(instance.InstanceId), aws.ToString(subnet.SubnetId))
				return nil
			}
		}
		return fmt.Errorf("no subnet has capacity; add subnets to subnet_filter or use another instance_type: %w", errors.Join(full...))
	})
}

func (s *stepRunInstance) launch(ctx context.Context, b *build, state multistep.StateBag, subnet types.Subnet) (types.Instance, error) {
	in, err := launchInput(b, state, subnet)
	if err != nil {
		return types.Instance{}, err
	}
	s.attempted = true
	out, err := awswait.Retry(ctx, awswait.ProfilePropagation, notYetVisible, func(ctx context.Context) (*ec2.RunInstancesOutput, error) {
		return mutate(ctx, b.aws.EC2.RunInstances, in)
	})
	if err != nil {
		s.unknown = s.unknown || awswait.OutcomeUnknown(err)
		return types.Instance{}, err
	}
	return out.Instances[0], nil
}

// noCapacity reports whether another zone may be able to run the instance.
func noCapacity(err error) bool {
	return awswait.IsNoCapacity(err) || awswait.HasCode(err, "Unsupported", "InsufficientFreeAddressesInSubnet")
}

func launchInput(b *build, state multistep.StateBag, subnet types.Subnet) (*ec2.RunInstancesInput, error) {
	c := b.config
	userData, err := keyHostKey.get(state).userData()
	if err != nil {
		return nil, err
	}
	groups := c.SecurityGroupIDs
	if id := keySecurityGroupID.get(state); id != "" {
		groups = []string{id}
	}
	source := keySourceImage.get(state)
	in := &ec2.RunInstancesInput{
		ClientToken:  aws.String(clientToken(b.id, 0, strings.TrimPrefix(aws.ToString(subnet.SubnetId), "subnet-"))),
		ImageId:      source.ImageId,
		InstanceType: types.InstanceType(c.InstanceType),
		MinCount:     aws.Int32(1),
		MaxCount:     aws.Int32(1),
		UserData:     aws.String(userData),
		// An instance that a provisioner shuts down must not be terminated.
		InstanceInitiatedShutdownBehavior: types.ShutdownBehaviorStop,
		MetadataOptions:                   &types.InstanceMetadataOptionsRequest{HttpTokens: types.HttpTokensStateRequired},
		BlockDeviceMappings:               blockDevices(c, source),
		NetworkInterfaces: []types.InstanceNetworkInterfaceSpecification{{
			DeviceIndex: aws.Int32(0), SubnetId: subnet.SubnetId, Groups: groups, DeleteOnTermination: aws.Bool(true),
			AssociatePublicIpAddress: c.AssociatePublicIP.ToBoolPointer(),
		}},
		TagSpecifications: append(b.tags(types.ResourceTypeInstance, c.RunTags), b.tags(types.ResourceTypeVolume, c.RunVolumeTags)...),
	}
	if pair := keyKeyPair.get(state); pair != nil {
		in.KeyName = aws.String(pair.name)
	} else if c.Comm.SSHKeyPairName != "" {
		in.KeyName = aws.String(c.Comm.SSHKeyPairName)
	}
	if c.IAMInstanceProfile != "" {
		in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: aws.String(c.IAMInstanceProfile)}
	}
	if c.SpotPrice != "" {
		in.InstanceMarketOptions = spotOptions(c.SpotPrice)
		in.InstanceInitiatedShutdownBehavior = "" // a one-time spot instance can only be terminated
	}
	return in, nil
}

func spotOptions(price string) *types.InstanceMarketOptionsRequest {
	options := &types.SpotMarketOptions{SpotInstanceType: types.SpotInstanceTypeOneTime}
	if price != "auto" { // without a maximum, EC2 limits it to the on-demand price
		options.MaxPrice = aws.String(price)
	}
	return &types.InstanceMarketOptionsRequest{MarketType: types.MarketTypeSpot, SpotOptions: options}
}

// Cleanup terminates the instance and waits until it is terminated: until then
// it uses the security group.
func (s *stepRunInstance) Cleanup(state multistep.StateBag) {
	cleanUp(state, func(ctx context.Context, b *build) error {
		if !s.attempted {
			return nil
		}
		ids, err := s.find(ctx, b, state)
		if err != nil || len(ids) == 0 {
			return err
		}
		b.say("Terminating %s", strings.Join(ids, ", "))
		if err := remove(ctx, b.aws.EC2.TerminateInstances, &ec2.TerminateInstancesInput{InstanceIds: ids}); err != nil {
			return fmt.Errorf("terminate %s: %w", strings.Join(ids, ", "), err)
		}
		return awaitTerminated(ctx, b, ids)
	})
}

// find returns the id of the instance, or those of the instances that calls of
// unknown outcome launched.
func (s *stepRunInstance) find(ctx context.Context, b *build, state multistep.StateBag) ([]string, error) {
	if id := keyInstanceID.get(state); id != "" {
		return []string{id}, nil
	}
	var ids []string
	err := find(ctx, s.unknown, func(ctx context.Context) (bool, error) {
		out, err := describe(ctx, b.aws.EC2.DescribeInstances, &ec2.DescribeInstancesInput{Filters: []types.Filter{b.ofThisBuild()}})
		if err != nil {
			return false, fmt.Errorf("list the build's instances: %w", err)
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

func awaitTerminated(ctx context.Context, b *build, ids []string) error {
	return awswait.Until(ctx, cleanupTimeout, func(ctx context.Context) (bool, string, error) {
		out, err := describe(ctx, b.aws.EC2.DescribeInstances, &ec2.DescribeInstancesInput{InstanceIds: ids})
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
