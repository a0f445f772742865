package network_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"github.com/xeroops/xeroops/internal/fakeaws/inventory"
	"github.com/xeroops/xeroops/provider/internal/acctest"
)

func TestMain(m *testing.M) { acctest.Main(m) }

const (
	vpc     = "xeroops_vpc.main"
	public  = "xeroops_subnet.public"
	private = "xeroops_subnet.private"
	eip     = "xeroops_eip.edge"
)

// account is an AWS account, with the ids of what the last apply created.
type account struct {
	*acctest.AWS
	t   *testing.T
	ids map[string]string
}

// newAccount returns an empty account. Its EC2 client goes through the proxy, whose
// fixups keep moto's account consistent.
func newAccount(t *testing.T) account {
	a := account{acctest.Setup(t), t, map[string]string{}}
	a.EC2 = ec2.NewFromConfig(inventory.Config(a.Front.URL, acctest.Region))
	return a
}

// note returns a check that records the id of each address, and attributes given as
// address/attribute.
func (a account) note(names ...string) resource.TestCheckFunc {
	return func(s *terraform.State) error {
		for _, name := range names {
			address, attribute, found := strings.Cut(name, "/")
			if !found {
				attribute = "id"
			}
			r, ok := s.RootModule().Resources[address]
			if !ok {
				return fmt.Errorf("no %s in the state", address)
			}
			a.ids[name] = r.Primary.Attributes[attribute]
		}
		return nil
	}
}

// behindTerraform returns a PreConfig that changes something outside of Terraform,
// using what was recorded.
func (a account) behindTerraform(change func(ctx context.Context) error) func() {
	return func() {
		a.t.Helper()
		if err := change(a.t.Context()); err != nil {
			a.t.Fatal(err)
		}
	}
}

func (a account) id(name string) *string { return aws.String(a.ids[name]) }

// Aliases of acctest's steps and checks.
var (
	repairs  = acctest.Repairs
	expect   = acctest.Expect
	has      = acctest.Has
	matching = acctest.Matching
)

func tagged(kind ec2types.ResourceType, name string) []ec2types.TagSpecification {
	return []ec2types.TagSpecification{{ResourceType: kind, Tags: []ec2types.Tag{
		{Key: aws.String("xeroops:name"), Value: &name}, {Key: aws.String("xeroops:managed-by"), Value: aws.String("terraform")},
		{Key: aws.String("xeroops:claim"), Value: aws.String("open::left")}}}}
}

func (a account) tags(ctx context.Context, id string) (map[string]string, error) {
	out, err := a.EC2.DescribeTags(ctx, &ec2.DescribeTagsInput{Filters: []ec2types.Filter{{Name: aws.String("resource-id"), Values: []string{id}}}})
	if err != nil {
		return nil, err
	}
	tags := map[string]string{}
	for _, t := range out.Tags {
		tags[*t.Key] = *t.Value
	}
	return tags, nil
}
