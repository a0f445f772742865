package ebs

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/packer-plugin-sdk/multistep"

	"github.com/xeroops/xeroops/internal/awswait"
)

// stepCreateSecurityGroup creates a group that allows SSH from
// temporary_security_group_source_cidrs only, unless security_group_ids is set.
type stepCreateSecurityGroup struct {
	attempted bool
	unknown   bool // the outcome of an attempt is unknown
}

// Run implements multistep.Step.
func (s *stepCreateSecurityGroup) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	return run(ctx, state, "create the security group", func(ctx context.Context, b *build) error {
		if len(b.config.SecurityGroupIDs) > 0 {
			return nil
		}
		id := keySecurityGroupID.get(state)
		if id == "" {
			var err error
			if id, err = s.create(ctx, b, keySubnets.get(state)[0].VpcId); err != nil {
				return err
			}
			keySecurityGroupID.put(state, id)
		}
		_, err := awswait.Retry(ctx, newlyCreated, notYetVisible, func(ctx context.Context) (*ec2.AuthorizeSecurityGroupIngressOutput, error) {
			return mutate(ctx, b.aws.EC2.AuthorizeSecurityGroupIngress, &ec2.AuthorizeSecurityGroupIngressInput{
				GroupId: aws.String(id), IpPermissions: []types.IpPermission{sshPermission(b.config)}})
		})
		return awswait.Ignore(err, func(err error) bool { return awswait.HasCode(err, "InvalidPermission.Duplicate") })
	})
}

func (s *stepCreateSecurityGroup) create(ctx context.Context, b *build, vpcID *string) (id string, err error) {
	s.attempted = true
	out, err := mutate(ctx, b.aws.EC2.CreateSecurityGroup, &ec2.CreateSecurityGroupInput{
		GroupName: aws.String(b.name()), Description: aws.String("Temporary, for a Packer build"),
		VpcId: vpcID, TagSpecifications: b.tags(types.ResourceTypeSecurityGroup),
	})
	if err == nil {
		return aws.ToString(out.GroupId), nil
	}
	duplicate := awswait.HasCode(err, "InvalidGroup.Duplicate") // of an earlier attempt, whose response was lost
	s.unknown = s.unknown || duplicate || awswait.OutcomeUnknown(err)
	if !duplicate {
		return "", err
	}
	if id, err = s.find(ctx, b); err == nil && id == "" {
		err = fmt.Errorf("%s exists but is not listed", b.name())
	}
	return id, err
}

// find returns the id of the build's group, or "".
func (s *stepCreateSecurityGroup) find(ctx context.Context, b *build) (id string, err error) {
	err = find(ctx, s.unknown, func(ctx context.Context) (bool, error) {
		out, err := describe(ctx, b.aws.EC2.DescribeSecurityGroups, &ec2.DescribeSecurityGroupsInput{
			Filters: []types.Filter{filter("group-name", b.name())}})
		if err != nil || len(out.SecurityGroups) == 0 {
			return false, err
		}
		id = aws.ToString(out.SecurityGroups[0].GroupId)
		return true, nil
	})
	return id, err
}

func sshPermission(c *Config) types.IpPermission {
	port := aws.Int32(int32(c.Comm.SSHPort)) //nolint:gosec // a port
	p := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: port, ToPort: port}
	for _, cidr := range c.SourceCIDRs {
		if isIPv6(cidr) {
			p.Ipv6Ranges = append(p.Ipv6Ranges, types.Ipv6Range{CidrIpv6: aws.String(cidr)})
		} else {
			p.IpRanges = append(p.IpRanges, types.IpRange{CidrIp: aws.String(cidr)})
		}
	}
	return p
}

// Cleanup deletes the group.
func (s *stepCreateSecurityGroup) Cleanup(state multistep.StateBag) {
	cleanUp(state, func(ctx context.Context, b *build) (err error) {
		id := keySecurityGroupID.get(state)
		if id == "" && s.attempted {
			id, err = s.find(ctx, b)
		}
		if err != nil || id == "" {
			return err
		}
		if err := remove(ctx, b.aws.EC2.DeleteSecurityGroup, &ec2.DeleteSecurityGroupInput{GroupId: aws.String(id)}); err != nil {
			return fmt.Errorf("delete security group %s: %w", id, err)
		}
		return nil
	})
}
