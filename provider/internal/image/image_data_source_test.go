package image_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/provider/internal/acctest"
)

func TestMain(m *testing.M) { acctest.Main(m) }

func TestImageOfARoleIsFound(t *testing.T) {
	a := acctest.Setup(t)
	has := func(attribute string, value string) statecheck.StateCheck {
		return statecheck.ExpectKnownValue("data.xeroops_image.app", tfjsonpath.New(attribute), knownvalue.StringExact(value))
	}
	a.Test(resource.TestCase{Steps: []resource.TestStep{{
		Config: `data "xeroops_image" "app" { role = "app" }`,
		ConfigStateChecks: []statecheck.StateCheck{
			has("id", moto.RoleImageID(cluster.RoleApp, "1.0.0")),
			has("name", "xeroops-app-1.0.0"),
			has("version", "1.0.0"),
			has("architecture", "x86_64"),
		},
	}}})
}

// Tags are not visible to the account that an image is shared with, so the copy here
// has none.
func TestASharedImageIsFoundByItsName(t *testing.T) {
	a := acctest.Setup(t)
	copied, err := a.EC2.CopyImage(t.Context(), &ec2.CopyImageInput{Name: aws.String("shared-app-2"), SourceImageId: aws.String(moto.RoleImageID(cluster.RoleApp, "1.0.0")), SourceRegion: aws.String(acctest.Region)})
	if err != nil {
		t.Fatal(err)
	}
	a.KeepBaseline()
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: `data "xeroops_image" "app" {
  role         = "app"
  name_pattern = "shared-app-?"
}`, ConfigStateChecks: []statecheck.StateCheck{
			statecheck.ExpectKnownValue("data.xeroops_image.app", tfjsonpath.New("id"), knownvalue.StringExact(*copied.ImageId)),
			statecheck.ExpectKnownValue("data.xeroops_image.app", tfjsonpath.New("version"), knownvalue.StringExact("")),
		}},
		{Config: `data "xeroops_image" "app" {
  role         = "app"
  name_pattern = "xeroops-*"
}`, ConfigStateChecks: []statecheck.StateCheck{ // those of other roles match, too
			statecheck.ExpectKnownValue("data.xeroops_image.app", tfjsonpath.New("name"), knownvalue.StringExact("xeroops-app-1.0.0")),
		}},
		{Config: `data "xeroops_image" "app" {
  role         = "app"
  owners       = ["123456789012"]
  name_pattern = "nobody-*"
}`, ExpectError: acctest.Matching(`owned by 123456789012 in eu-west-1 has a name that matches nobody-*`)},
	}})
}

// The look-ups of a run share calls. How many depends on when Terraform starts them, so the
// test only expects fewer calls than look-ups; awsbatch's own test has the exact number.
func TestImagesOfAllRolesShareCalls(t *testing.T) {
	a := acctest.Setup(t)
	config := `data "xeroops_image" "all" {
  count = 5
  role  = ["openresty-lb", "wireguard", "app", "management", "db"][count.index]
}`
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: config},
		{Config: config, PlanOnly: true, PreConfig: a.Front.Reset},
	}})
	describes, lookups := 0, 2*5 // the plan, and the refresh of destroy
	for _, call := range a.Front.Calls() {
		if call.Action == "DescribeImages" {
			describes++
		}
	}
	if describes == 0 || describes >= lookups {
		t.Errorf("%d DescribeImages for %d look-ups, want fewer", describes, lookups)
	}
}

func TestImageErrorsNameTheQuery(t *testing.T) {
	a := acctest.Setup(t)
	for config, says := range map[string]string{
		`data "xeroops_image" "app" {
			role         = "app"
			architecture = "arm64"
			owners       = ["123456789012"]
		}`: `owned by 123456789012 in eu-west-1 has the tag xeroops:role = app and architecture arm64`,
		`data "xeroops_image" "app" { role = "mainframe" }`: `value must be one of`,
		`data "xeroops_image" "app" {
			role   = "app"
			owners = ["anybody"]
		}`: `an owner is self or an account id`,
	} {
		a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: config, ExpectError: acctest.Matching(says)}}})
	}
}
