package fixups_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
)

func TestNewResourcesAreUnknownForVisibleAfter(t *testing.T) {
	f := newFixture(t, fast)
	late := newFront(t, f, fixups.Options{VisibleAfter: time.Hour})
	createVPC := func(f *fixture) (createSubnet func() error) {
		vpc, err := f.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.1.0.0/16")})
		f.ok(err)
		return func() error {
			_, err := f.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: vpc.Vpc.VpcId, CidrBlock: aws.String("10.1.1.0/24")})
			return err
		}
	}
	f.refused(createVPC(late)(), "InvalidVpcID.NotFound")
	createSubnet := createVPC(newFront(t, f, fixups.Options{VisibleAfter: shortDelay}))
	f.eventually("the VPC is known", func() bool { return createSubnet() == nil })

	_, err := late.iam.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("r"), AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[]}`)})
	f.ok(err)
	_, err = late.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String("r")})
	f.refused(err, "NoSuchEntity")
}
