package acctest

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"
)

// Repairs returns steps that check that a refresh shows the drift and that an apply
// of the same configuration is an update that corrects it.
func Repairs(address, config, drift string, change func()) []resource.TestStep {
	return []resource.TestStep{
		{
			PreConfig: change, RefreshState: true, ExpectNonEmptyPlan: true,
			Check: func(s *terraform.State) error {
				found := ""
				for name, value := range s.RootModule().Resources[address].Primary.Attributes {
					if strings.HasPrefix(name, "drift.") {
						found += value + "\n"
					}
				}
				if !strings.Contains(found, drift) {
					return fmt.Errorf("drift is %q, want %q", found, drift)
				}
				return nil
			},
		},
		{Config: config, ConfigPlanChecks: Expect(address, plancheck.ResourceActionUpdate),
			ConfigStateChecks: []statecheck.StateCheck{Has(address, "drift", knownvalue.SetSizeExact(0))}},
	}
}

// Expect returns a check that the plan has the action for a resource.
func Expect(address string, action plancheck.ResourceActionType) resource.ConfigPlanChecks {
	return resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectResourceAction(address, action)}}
}

// Has returns a check of an attribute in the state.
func Has(address, attribute string, value knownvalue.Check) statecheck.StateCheck {
	return statecheck.ExpectKnownValue(address, tfjsonpath.New(attribute), value)
}

// Matching returns a pattern for text whose spaces may be line breaks, as in
// Terraform's errors.
func Matching(text string) *regexp.Regexp {
	return regexp.MustCompile(strings.ReplaceAll(text, " ", `[\s│]+`))
}
