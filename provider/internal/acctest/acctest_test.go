package acctest_test

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/provider/internal/acctest"
)

func TestMain(m *testing.M) { acctest.Main(m) }

const vpc = `resource "xeroops_vpc" "main" {
  name = "production"
  cidr = "10.0.0.0/16"
}`

func TestProviderUsesTheAccountAndDestroyLeavesNothing(t *testing.T) {
	a := acctest.Setup(t)
	a.Test(resource.TestCase{Steps: []resource.TestStep{{
		Config: vpc,
		Check: acctest.Do("xeroops_vpc.main", func(ctx context.Context, id string) error {
			_, err := a.EC2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{id}})
			return err
		}),
	}}})
	if len(a.Front.Calls()) == 0 {
		t.Error("no call went through the front")
	}
}

func TestSetupEmptiesTheAccountAndClearsFaults(t *testing.T) {
	a := acctest.Setup(t)
	if _, err := a.EC2.CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")}); err != nil {
		t.Fatal(err)
	}
	if err := a.CheckDestroy(nil); err == nil || !strings.Contains(err.Error(), "vpc vpc-") {
		t.Errorf("CheckDestroy did not name the VPC that was left over: %v", err)
	}
	a.KeepBaseline()
	if err := a.CheckDestroy(nil); err != nil {
		t.Errorf("CheckDestroy counts what belongs to the test: %v", err)
	}
	if err := a.Front.Inject(fakeaws.Fault{Effect: fakeaws.ServerError, Times: -1}); err != nil {
		t.Fatal(err)
	}
	again := acctest.Setup(t)
	if left := again.Inventory(); len(left) > 0 {
		t.Errorf("left of the test before: %v", left)
	}
	if n := len(again.Front.Calls()); n > 0 {
		t.Errorf("%d calls in the log of a new test", n)
	}
}

func TestFaultsReachTheProvider(t *testing.T) {
	a := acctest.Setup(t)
	err := a.Front.Inject(fakeaws.Fault{Action: "CreateVpc", Effect: fakeaws.Fail, Code: "VpcLimitExceeded", Message: "no more", Times: -1})
	if err != nil {
		t.Fatal(err)
	}
	a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: vpc, ExpectError: regexp.MustCompile("VpcLimitExceeded")}}})
}
