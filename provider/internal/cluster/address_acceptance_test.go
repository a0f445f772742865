package cluster_test

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
)

func TestTheAddressOfAReplacedNodeIsWaitedFor(t *testing.T) {
	a := newAccount(t)
	first := a.config()
	a.change("app1", func(n *node) { n.image = moto.BaseImageID })
	var before map[string]string
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: first, Check: check(func() error {
			before = a.ids()
			return a.Front.Inject(fakeaws.Fault{Action: "RunInstances", Times: 4, Effect: fakeaws.Fail, Code: "InvalidIPAddress.InUse", Message: "Address 10.0.2.10 is in use."})
		})},
		{Config: a.config(), Check: check(func() error {
			if a.ids()["app1"] == before["app1"] {
				return fmt.Errorf("app1 was not replaced")
			}
			return a.checkInstances()
		})},
	}})
}

func TestAnAddressThatSomebodyElseHoldsIsNamedWithItsHolder(t *testing.T) {
	a := newAccount(t)
	first := a.config()
	var holder string
	a.change("app3", func(n *node) { *n = node{"app", "t3.small", a.private, "10.0.2.99", image("app"), "", ""} })
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: first},
		{
			PreConfig: func() {
				out, err := a.EC2.CreateNetworkInterface(t.Context(), &ec2.CreateNetworkInterfaceInput{SubnetId: &a.private, PrivateIpAddress: aws.String("10.0.2.99")})
				a.must(err)
				holder = *out.NetworkInterface.NetworkInterfaceId
			},
			Config: a.config(), ExpectError: regexp.MustCompile(`choose\s+another\s+address[\s\S]*network\s+interface\s+eni-`),
		},
		{
			PreConfig: func() {
				_, err := a.EC2.DeleteNetworkInterface(t.Context(), &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: &holder})
				a.must(err)
			},
			Config: a.config(),
		},
	}})
}
