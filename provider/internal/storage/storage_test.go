package storage_test

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"github.com/xeroops/xeroops/internal/fakeaws/inventory"
	"github.com/xeroops/xeroops/provider/internal/acctest"
)

func TestMain(m *testing.M) { acctest.Main(m) }

const (
	volume = "xeroops_volume.db1"
	bucket = "xeroops_bucket.uploads"
)

// account is an AWS account, with the ids of what the last apply created.
type account struct {
	*acctest.AWS
	t   *testing.T
	ids map[string]string
}

// newAccount returns an empty account. Its clients go through the proxy, whose
// fixups keep moto's account consistent.
func newAccount(t *testing.T) account {
	a := account{acctest.Setup(t), t, map[string]string{}}
	cfg := inventory.Config(a.Front.URL, acctest.Region)
	a.EC2 = ec2.NewFromConfig(cfg)
	a.S3 = s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	return a
}

// note returns a check that records the id at each address.
func (a account) note(addresses ...string) resource.TestCheckFunc {
	return func(s *terraform.State) error {
		for _, address := range addresses {
			id, err := acctest.ID(s, address)
			if err != nil {
				return err
			}
			a.ids[address] = id
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

func (a account) id(address string) *string { return aws.String(a.ids[address]) }

// Aliases of acctest's steps and checks.
var (
	repairs  = acctest.Repairs
	expect   = acctest.Expect
	matching = acctest.Matching
)
