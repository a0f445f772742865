package network_test

import (
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// CheckDestroy fails if a create was duplicated.
func TestLostResponsesCreateNoDuplicates(t *testing.T) {
	everything := publicConfig + subnetConfig("private", "10.0.2.0/24", "") + eipConfig("")
	for _, effect := range []fakeaws.Effect{fakeaws.DropAfter, fakeaws.ServerError} {
		t.Run(string(effect), func(t *testing.T) {
			a := newAccount(t)
			for _, action := range []string{
				"CreateVpc", "CreateInternetGateway", "AttachInternetGateway", "CreateVpcEndpoint", "ModifyVpcAttribute", "RevokeSecurityGroupEgress",
				"CreateSubnet", "CreateRouteTable", "AssociateRouteTable", "CreateRoute", "ModifyVpcEndpoint", "AllocateAddress",
				"DeleteSubnet", "DeleteRouteTable", "DeleteVpcEndpoints", "DetachInternetGateway", "DeleteInternetGateway", "DeleteVpc", "ReleaseAddress",
			} {
				if err := a.Front.Inject(fakeaws.Fault{Action: action, Nth: 1, Effect: effect}); err != nil {
					t.Fatal(err)
				}
			}
			a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: everything}}})
		})
	}
}
