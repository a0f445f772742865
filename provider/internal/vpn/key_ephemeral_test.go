package vpn_test

import (
	"regexp"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-testing/echoprovider"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/xeroops/xeroops/provider/internal/acctest"
	"github.com/xeroops/xeroops/provider/internal/provider"
)

// The echo provider stores an ephemeral value in its state for the test.
func TestEphemeralKeyIsAPair(t *testing.T) {
	a := acctest.Setup(t)
	key := knownvalue.StringRegexp(regexp.MustCompile(`^[A-Za-z0-9+/]{43}=$`))
	echoed := func(attribute string) tfjsonpath.Path { return tfjsonpath.New("data").AtMapKey(attribute) }
	a.Test(resource.TestCase{
		ProtoV6ProviderFactories: map[string]func() (tfprotov6.ProviderServer, error){
			"xeroops": providerserver.NewProtocol6WithError(provider.New("test")()),
			"echo":    echoprovider.NewProviderServer(),
		},
		Steps: []resource.TestStep{{
			Config: `
ephemeral "xeroops_wireguard_key" "this" {}
provider "echo" { data = ephemeral.xeroops_wireguard_key.this }
resource "echo" "this" {}`,
			ConfigStateChecks: []statecheck.StateCheck{
				statecheck.ExpectKnownValue("echo.this", echoed("private_key"), key),
				statecheck.ExpectKnownValue("echo.this", echoed("public_key"), key),
			},
		}},
	})
}
