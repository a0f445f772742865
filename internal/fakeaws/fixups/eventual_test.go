package fixups_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
)

func TestANewThingIsUnknownForAWhileWhereThatIsAskedFor(t *testing.T) {
	w := newWorld(t, fast)
	late := newFront(t, w, fixups.Options{VisibleAfter: 300 * time.Millisecond})
	vpc, err := late.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.1.0.0/16")})
	w.ok(err)
	subnet := func() error {
		_, err := late.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: vpc.Vpc.VpcId, CidrBlock: aws.String("10.1.1.0/24")})
		return err
	}
	w.refused(subnet(), "InvalidVpcID.NotFound")
	w.eventually("the VPC is known", func() bool { return subnet() == nil })

	_, err = late.iam.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("r"), AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[]}`)})
	w.ok(err)
	_, err = late.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String("r")})
	w.refused(err, "NoSuchEntity")
}
