package functions_test

import (
	"regexp"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"

	"github.com/xeroops/xeroops/provider/internal/acctest"
)

func TestMain(m *testing.M) { acctest.Main(m) }

func TestFunctionsInAConfiguration(t *testing.T) {
	a := acctest.Setup(t)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{
			Config:      `output "plan" { value = provider::xeroops::address_plan("10.0.0.0/28") }`,
			ExpectError: regexp.MustCompile(`range[\s│]+from[\s│]+/16[\s│]+to[\s│]+/22`),
		},
		{
			Config: `
locals { plan = provider::xeroops::address_plan("10.0.0.0/16", 3) }
output "addresses" { value = { for name, node in local.plan.nodes : name => node.address if node.role == "app" } }
output "subnets"   { value = local.plan.subnets }
data "xeroops_availability_zones" "this" {}
locals { zoned = provider::xeroops::address_plan("10.0.0.0/16", 1, 2, slice(data.xeroops_availability_zones.this.names, 0, 3)) }
output "zones"     { value = { for name, node in local.zoned.nodes : name => "${node.zone} ${node.address}" if contains(["management", "db1", "db2"], name) } }
output "env"       { value = provider::xeroops::env_file({ NAME = "a \"b\"" }) }
output "parsed"    { value = provider::xeroops::parse_env_file("# comment\nA='1 2'\n") }`,
			ConfigStateChecks: []statecheck.StateCheck{
				statecheck.ExpectKnownOutputValue("addresses", knownvalue.MapExact(map[string]knownvalue.Check{
					"app1": knownvalue.StringExact("10.0.2.10"), "app2": knownvalue.StringExact("10.0.2.11"), "app3": knownvalue.StringExact("10.0.2.12")})),
				statecheck.ExpectKnownOutputValue("subnets", knownvalue.MapExact(map[string]knownvalue.Check{
					"public": knownvalue.StringExact("10.0.1.0/24"), "private": knownvalue.StringExact("10.0.2.0/24")})),
				statecheck.ExpectKnownOutputValue("zones", knownvalue.MapExact(map[string]knownvalue.Check{
					"management": knownvalue.StringExact("eu-west-1a 10.0.2.20"), "db1": knownvalue.StringExact("eu-west-1c 10.0.6.30"), "db2": knownvalue.StringExact("eu-west-1b 10.0.4.31")})),
				statecheck.ExpectKnownOutputValue("env", knownvalue.StringExact("NAME=\"a \\\"b\\\"\"\n")),
				statecheck.ExpectKnownOutputValue("parsed", knownvalue.MapExact(map[string]knownvalue.Check{"A": knownvalue.StringExact("1 2")})),
			},
		},
	}})
}
