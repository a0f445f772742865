package crashsweep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
	"github.com/xeroops/xeroops/provider/internal/acctest/account"
	"github.com/xeroops/xeroops/provider/internal/acctest/workspace"
)

// TerraformKill is a kill -9 of Terraform or OpenTofu during an apply or destroy. What
// it created since it last wrote its state is then in no state: with a local backend
// and Terraform little, with an S3 backend or OpenTofu up to all of it.
type TerraformKill struct {
	S3      bool // the state is in S3, and not in a local file
	Destroy bool // during the destroy, and not the apply
	Power   bool // the provider is killed too, as when the machine loses power
	// After is the number of the mutating call, and Delay how much later Terraform is
	// killed, which may be between calls.
	After int
	Delay time.Duration
}

func (k TerraformKill) String() string {
	backend, phase, victim := "local", "apply", "terraform"
	if k.S3 {
		backend = "s3"
	}
	if k.Destroy {
		phase = "destroy"
	}
	if k.Power {
		victim = "power"
	}
	return fmt.Sprintf("%s-%s-%s-%d-%dms", backend, phase, victim, k.After, k.Delay.Milliseconds())
}

// stateBucket has the states of an S3 backend.
const stateBucket = "terraform-state"

// s3Backend creates the bucket and returns the configuration of the backend, which uses
// moto directly: its calls are not those of the provider.
func s3Backend(ctx context.Context, a *account.Account) (map[string]string, error) {
	client := s3.NewFromConfig(a.Direct(), func(o *s3.Options) { o.UsePathStyle = true })
	_, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(stateBucket),
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: account.Region}})
	return map[string]string{"backend.tf": fmt.Sprintf(`terraform {
  backend "s3" {
    bucket                      = %q
    key                         = "state"
    region                      = %q
    endpoints                   = { s3 = %q }
    use_path_style              = true
    skip_credentials_validation = true
    skip_requesting_account_id  = true
    skip_metadata_api_check     = true
    skip_region_validation      = true
  }
}
`, stateBucket, account.Region, a.Moto.URL)}, err
}

// Terraform kills Terraform once in an empty directory and checks that the next run
// completes what it began, without duplicates or leftovers.
func (s *Sweep) Terraform(ctx context.Context, dir string, k TerraformKill) error {
	var prepare func(context.Context, *account.Account) (map[string]string, error)
	if k.S3 {
		prepare = s3Backend
	}
	r, err := s.startWith(ctx, dir, fixups.Options{}, prepare)
	if err != nil {
		return err
	}
	defer r.account.Close()
	defer r.space.KillProvider() // which outlives Terraform
	if k.Destroy {
		if _, err := r.space.Apply(ctx); err != nil {
			return err
		}
	}
	var over atomic.Bool
	err = r.account.Front.Inject(fakeaws.Fault{Mutation: r.mutations() + k.After, Effect: fakeaws.Observe, After: func(*fakeaws.Call) {
		time.AfterFunc(k.Delay, func() {
			if over.Load() {
				return // before the kill
			}
			r.space.KillTerraform()
			if k.Power {
				r.space.KillProvider()
			}
		})
	}})
	if err != nil {
		return err
	}
	perform := r.space.Apply
	if k.Destroy {
		perform = r.space.Destroy
	}
	out, failed := perform(ctx)
	over.Store(true)
	switch {
	case failed != nil:
		err = r.afterKill(ctx, k)
	case k.Destroy: // it ended before the kill
		err = r.nothingLeft(ctx)
	default:
		err = r.repair(ctx, false)
	}
	if err != nil {
		return fmt.Errorf("%s: %w\nOutput of the killed run:\n%s", k, err, workspace.AfterPlan(out))
	}
	return nil
}

func (r *run) afterKill(ctx context.Context, k TerraformKill) error {
	if err := r.dropTornState(); err != nil {
		return err
	}
	if !k.Destroy {
		return r.repair(ctx, true)
	}
	if _, err := r.space.Destroy(ctx); err != nil {
		return fmt.Errorf("repeat the destroy: %w", err)
	}
	return r.nothingLeft(ctx)
}

// dropTornState removes a local state file that Terraform was writing when it was killed:
// it does not replace the file atomically, and refuses to read half of one.
func (r *run) dropTornState() error {
	path := filepath.Join(r.space.Root(), "terraform.tfstate")
	content, err := os.ReadFile(path) //nolint:gosec // in the directory of the test
	if errors.Is(err, os.ErrNotExist) || err == nil && json.Valid(content) {
		return nil
	}
	return errors.Join(err, os.Remove(path))
}
