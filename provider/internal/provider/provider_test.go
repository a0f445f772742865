package provider_test

import (
	"regexp"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/provider/internal/acctest"
)

func TestMain(m *testing.M) { acctest.Main(m) }

// vpc returns a small configuration with the provider block.
func vpc(block string) string {
	return block + `
resource "xeroops_vpc" "main" {
  name = "main"
  cidr = "10.0.0.0/16"
}`
}

func TestOtherAccountIsRejectedBeforeAnyChange(t *testing.T) {
	a := acctest.Setup(t)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: vpc(`provider "xeroops" { allowed_account_ids = ["999999999999"] }`),
			ExpectError: regexp.MustCompile(`(?s)belong to account\s+123456789012.*allowed_account_ids`)},
		{Config: vpc(`provider "xeroops" { allowed_account_ids = ["123456789012"] }`)},
	}})
}

func TestInvalidProviderSettingsAreRejected(t *testing.T) {
	cases := map[string]struct{ block, error string }{
		"an account id that is none": {`allowed_account_ids = ["prod"]`, `an account id has twelve digits`},
		"an endpoint that is no URL": {`endpoints = { ec2 = "localhost" }`, `not a URL`},
		"a role that is no ARN":      {`assume_role = { role_arn = "admin" }`, `not the ARN of a role`},
		"a session that is too long": {`assume_role = { role_arn = "arn:aws:iam::123456789012:role/a", duration = "48h" }`, `from 15m0s to 12h0m0s`},
		"no retries":                 {`max_retries = 0`, `between 1 and 100`},
		"a reserved tag":             {`default_tags = { "aws:x" = "y" }`, `must not\s+start with aws:`},
		"the provider's own tag":     {`default_tags = { "xeroops:name" = "y" }`, `choose\s+another key`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := acctest.Setup(t)
			a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: vpc("provider \"xeroops\" {\n  " + c.block + "\n}"), ExpectError: regexp.MustCompile(c.error)}}})
		})
	}
}

func TestSettingsThatAreNotKnownYetAreRefusedByName(t *testing.T) {
	for name, block := range map[string]string{
		"region":                     `region = terraform_data.later.id`,
		"owner":                      `owner = terraform_data.later.id`,
		"max_retries":                `max_retries = tonumber(terraform_data.later.id)`,
		"allowed_account_ids":        `allowed_account_ids = terraform_data.later.output`,
		"assume_role":                `assume_role = terraform_data.later.id == "" ? null : { role_arn = "arn:aws:iam::123456789012:role/a" }`,
		"assume_role\\.external_id":  `assume_role = { role_arn = "arn:aws:iam::123456789012:role/a", external_id = terraform_data.later.id }`,
		"endpoints\\.ec2":            `endpoints = { ec2 = terraform_data.later.id }`,
		"ignore_tags\\.key_prefixes": `ignore_tags = { key_prefixes = [terraform_data.later.id] }`,
		"default_tags":               `default_tags = { a = terraform_data.later.id }`,
	} {
		t.Run(name, func(t *testing.T) {
			a := acctest.Setup(t)
			a.Test(resource.TestCase{Steps: []resource.TestStep{{
				Config:      vpc("provider \"xeroops\" {\n  " + block + "\n}\nresource \"terraform_data\" \"later\" { input = [\"x\"] }\n"),
				ExpectError: regexp.MustCompile(`(?s)not known yet.*` + name + ` depends on`)}}})
		})
	}
}

func TestEndpointsOfTheBlockOverrideTheEnvironment(t *testing.T) {
	a := acctest.Setup(t)
	url := a.Front.URL
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1") // nobody listens there
	block := `provider "xeroops" {
  endpoints = { ec2 = "` + url + `", iam = "` + url + `", s3 = "` + url + `", sts = "` + url + `" }
  s3_use_path_style = true
  max_retries       = 2
}`
	a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: vpc(block)}}})
}

func TestARoleIsAssumed(t *testing.T) {
	a := acctest.Setup(t)
	a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: vpc(`provider "xeroops" {
  assume_role = { role_arn = "arn:aws:iam::123456789012:role/deploy", session_name = "test", duration = "1h" }
}`)}}})
	assumed := false
	for _, c := range a.Front.Calls() {
		assumed = assumed || c.Action == "AssumeRole"
	}
	if !assumed {
		t.Error("AssumeRole was never called")
	}
}

func TestThrottledCallsAreRetried(t *testing.T) {
	a := acctest.Setup(t)
	if err := a.Front.Inject(fakeaws.Fault{Service: "ec2", Rate: 0.2, Times: -1, Effect: fakeaws.Throttle}); err != nil {
		t.Fatal(err)
	}
	a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: vpc("")}}})
}
