package ebs

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/awswait"
)

// justMade is how long what the build has just made may be unknown to another
// call; see awswait.CreatedVisible, of which a build would rather not wait all.
const justMade = time.Minute

func unknownYet(err error) bool {
	return awswait.HasCode(err, "InvalidGroup.NotFound", "InvalidKeyPair.NotFound") || awswait.IsProfilePropagating(err)
}

// createSecurityGroup lets the given networks connect to SSH, and nobody else.
func (b *build) createSecurityGroup(ctx context.Context) error {
	if len(b.config.SecurityGroupIDs) > 0 {
		return nil
	}
	b.groupTried = true
	out, err := change(ctx, b.aws.EC2.CreateSecurityGroup, &ec2.CreateSecurityGroupInput{
		GroupName: aws.String(b.name()), Description: aws.String("Temporary, for a build of Packer"),
		VpcId: b.subnets[0].VpcId, TagSpecifications: b.tagged(types.ResourceTypeSecurityGroup),
	})
	b.groupOutcomeUnknown = awswait.OutcomeUnknown(err)
	switch {
	case awswait.HasCode(err, "InvalidGroup.Duplicate"): // an earlier try of this call, whose answer was lost
		b.groupOutcomeUnknown = true
		if err := b.findGroup(ctx); err != nil {
			return err
		}
		if b.groupID == "" {
			return fmt.Errorf("%s exists and is not to be found", b.name())
		}
	case err != nil:
		return err
	default:
		b.groupID = aws.ToString(out.GroupId)
	}
	_, err = awswait.Retry(ctx, justMade, unknownYet, func(ctx context.Context) (*ec2.AuthorizeSecurityGroupIngressOutput, error) {
		return change(ctx, b.aws.EC2.AuthorizeSecurityGroupIngress, &ec2.AuthorizeSecurityGroupIngressInput{
			GroupId: aws.String(b.groupID), IpPermissions: []types.IpPermission{b.sshPermission()}})
	})
	return awswait.Ignore(err, func(err error) bool { return awswait.HasCode(err, "InvalidPermission.Duplicate") })
}

func (b *build) sshPermission() types.IpPermission {
	port := aws.Int32(int32(b.config.Comm.SSHPort)) //nolint:gosec // a port
	p := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: port, ToPort: port}
	for _, cidr := range b.config.SourceCIDRs {
		if isIPv6(cidr) {
			p.Ipv6Ranges = append(p.Ipv6Ranges, types.Ipv6Range{CidrIpv6: aws.String(cidr)})
		} else {
			p.IpRanges = append(p.IpRanges, types.IpRange{CidrIp: aws.String(cidr)})
		}
	}
	return p
}

// findGroup looks for the group by its name.
func (b *build) findGroup(ctx context.Context) error {
	return find(ctx, b.groupOutcomeUnknown, func(ctx context.Context) (bool, error) {
		out, err := lookup(ctx, b.aws.EC2.DescribeSecurityGroups, &ec2.DescribeSecurityGroupsInput{
			Filters: []types.Filter{filter("group-name", b.name())}})
		if err != nil || len(out.SecurityGroups) == 0 {
			return false, err
		}
		b.groupID = aws.ToString(out.SecurityGroups[0].GroupId)
		return true, nil
	})
}

func (b *build) deleteSecurityGroup(ctx context.Context) error {
	if !b.groupTried {
		return nil
	}
	if b.groupID == "" {
		if err := b.findGroup(ctx); err != nil || b.groupID == "" {
			return err
		}
	}
	err := remove(ctx, b.aws.EC2.DeleteSecurityGroup, &ec2.DeleteSecurityGroupInput{GroupId: aws.String(b.groupID)})
	if err != nil {
		return fmt.Errorf("delete security group %s: %w", b.groupID, err)
	}
	return nil
}
