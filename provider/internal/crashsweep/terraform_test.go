package crashsweep

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/testkit/tfcli"
)

// terraformMode selects the kills of Terraform with XEROOPS_SWEEP.
const terraformMode = "terraform"

// Numbers of kills of Terraform: half of them with an S3 backend.
const (
	allTerraformKills    = 80
	sampleTerraformKills = 5
)

// smallConfiguration has a resource of each kind.
const smallConfiguration = `terraform {
  required_providers {
    xeroops = { source = "xeroops/xeroops" }
  }
}

provider "xeroops" {
  owner = "sweep"
}

resource "xeroops_vpc" "main" {
  name = "main"
  cidr = "10.0.0.0/16"
}

resource "xeroops_subnet" "main" {
  name              = "public"
  vpc_id            = xeroops_vpc.main.id
  type              = "public"
  cidr              = "10.0.1.0/24"
  availability_zone = "eu-west-1a"
}

resource "xeroops_eip" "main" {
  name = "gateway"
}

resource "xeroops_volume" "main" {
  name              = "app1-data"
  availability_zone = "eu-west-1a"
  size_gib          = 8
  final_snapshot    = false
}

resource "xeroops_bucket" "main" {
  prefix        = "uploads"
  force_destroy = true
}

resource "xeroops_cluster" "main" {
  name             = "main"
  vpc_id           = xeroops_vpc.main.id
  vpn_cidr         = "10.100.0.0/16"
  on_ready_timeout = "skip" # the stand-in's instances do not boot
  buckets          = { for use in ["uploads", "pgdump", "walg", "logs"] : use => xeroops_bucket.main.id }
  nodes = {
    app1    = { role = "app", instance_type = "t3.small", subnet_id = xeroops_subnet.main.id, address = "10.0.1.10", volume_id = xeroops_volume.main.id, image_id = %q }
    gateway = { role = "wireguard", instance_type = "t3.small", subnet_id = xeroops_subnet.main.id, address = "10.0.1.11", eip_id = xeroops_eip.main.id, image_id = %q }
  }
}

resource "xeroops_vpn_peer" "main" {
  cluster        = xeroops_cluster.main.name
  uploads_bucket = xeroops_bucket.main.id
  name           = "laptop"
  public_key     = "mUFZxrQmL1bWcPnKkUX0f3sQEBfbTaRcP2pVwX9vNls="
}
`

// terraformKill returns the n-th kill: at a random moment that is always the same.
func (s *Sweep) terraformKill(n int) TerraformKill {
	random := rand.New(rand.NewPCG(uint64(n), 12)) //nolint:gosec // reproducible
	k := TerraformKill{S3: n%2 == 1, Power: n/2%2 == 1, Destroy: n%5 == 4, After: 1 + random.IntN(s.Mutations), Delay: time.Duration(random.IntN(200)) * time.Millisecond}
	if k.Destroy {
		k.After = 1 + random.IntN(s.DestroyMutations)
	}
	return k
}

func TestTheRunAfterAKillOfTerraformCompletesIt(t *testing.T) {
	if _, err := tfcli.Find(); err != nil {
		t.Skip(err)
	}
	count := sampleTerraformKills
	switch os.Getenv(envSweep) {
	case "full", terraformMode:
		count = allTerraformKills
	case "":
	default:
		t.Skip("another mode is selected")
	}
	s := newSweep(t)
	s.Example, s.Variables = "", nil
	s.Files = map[string]string{"main.tf": fmt.Sprintf(smallConfiguration, moto.RoleImageID("app", "1.0.0"), moto.RoleImageID("wireguard", "1.0.0"))}
	if err := s.Undisturbed(t.Context(), t.TempDir()); errors.Is(err, moto.ErrMissing) {
		t.Skip(err)
	} else if err != nil {
		t.Fatalf("the undisturbed run: %v", err)
	}
	places := make(chan struct{}, parallel(t))
	for n := range count {
		k := s.terraformKill(n)
		t.Run(fmt.Sprintf("%03d-%s", n, k), func(t *testing.T) {
			t.Parallel()
			places <- struct{}{}
			defer func() { <-places }()
			err := s.Terraform(t.Context(), t.TempDir(), k)
			result := "ok"
			if err != nil {
				t.Error(err)
				result = "FAILED"
			}
			fmt.Fprintf(os.Stderr, "kills of Terraform: %d of %d, %s %s\n", n+1, count, k, result)
		})
	}
}
