package fixups_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
)

func TestOneInstanceConnectEndpointPerVPC(t *testing.T) {
	f := newFixture(t, fixups.Options{StoppingFor: 100 * time.Millisecond})
	group := f.group("endpoint")
	create := func() (*ec2.CreateInstanceConnectEndpointOutput, error) {
		return f.ec2.CreateInstanceConnectEndpoint(ctx, &ec2.CreateInstanceConnectEndpointInput{SubnetId: f.subnet, SecurityGroupIds: []string{*group},
			TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeInstanceConnectEndpoint, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("1 & 2")}}}}})
	}
	made, err := create()
	f.ok(err)
	if made.InstanceConnectEndpoint.State != types.Ec2InstanceConnectEndpointStateCreateInProgress {
		t.Errorf("a new endpoint is %s", made.InstanceConnectEndpoint.State)
	}
	_, err = create()
	f.refused(err, "InstanceConnectEndpointLimitExceeded")
	list := func() []types.Ec2InstanceConnectEndpoint {
		out, err := f.ec2.DescribeInstanceConnectEndpoints(ctx, &ec2.DescribeInstanceConnectEndpointsInput{Filters: []types.Filter{filter("vpc-id", *f.vpc), filter("tag:a", "1 & 2")}})
		f.ok(err)
		return out.InstanceConnectEndpoints
	}
	f.eventually("the endpoint is complete", func() bool {
		found := list()
		return len(found) == 1 && found[0].State == types.Ec2InstanceConnectEndpointStateCreateComplete && found[0].SecurityGroupIds[0] == *group
	})
	_, err = f.ec2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: group})
	f.refused(err, "DependencyViolation")
	_, err = f.ec2.DeleteInstanceConnectEndpoint(ctx, &ec2.DeleteInstanceConnectEndpointInput{InstanceConnectEndpointId: made.InstanceConnectEndpoint.InstanceConnectEndpointId})
	f.ok(err)
	f.eventually("the endpoint is deleted", func() bool { return len(list()) == 0 })
	_, err = f.ec2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: group})
	f.ok(err)
}
