package provider_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/provider/internal/acctest"
)

const claimTag = "xeroops:claim"

const peerKind = "xeroops_vpn_peer"

// kinds are the resource types with claims: all with tags, and the VPN peer.
func kinds() []string { return append(slices.Sorted(maps.Keys(taggedKinds)), peerKind) }

// claimedKinds returns a configuration with a resource of each kind, all with a tag or,
// in place of it, a key of the number n.
func claimedKinds(providerBlock string, n int) string {
	node := fmt.Sprintf(`nodes = { gateway = { role = "wireguard", instance_type = "t3.small", subnet_id = xeroops_subnet.main.id, address = "10.0.1.11",
    image_id = %q, eip_id = xeroops_eip.main.id }, app1 =`, moto.RoleImageID("wireguard", "1.0.0"))
	config := strings.Replace(allKinds(providerBlock, fmt.Sprintf("n = %d", n), false), "nodes = { app1 =", node, 1)
	return config + fmt.Sprintf(`
resource %q "main" {
  cluster        = xeroops_cluster.main.name
  uploads_bucket = xeroops_bucket.main.id
  name           = "laptop"
  public_key     = %q
}
`, peerKind, base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(rune('a'+n)), 32))))
}

// relabelled returns a configuration in which the resource of a kind has another
// address.
func relabelled(config, kind string) string {
	config = strings.ReplaceAll(config, fmt.Sprintf("%q \"main\"", kind), fmt.Sprintf("%q \"other\"", kind))
	return strings.ReplaceAll(config, kind+".main.", kind+".other.")
}

func unchanged(kinds ...string) resource.ConfigPlanChecks {
	var checks resource.ConfigPlanChecks
	for _, kind := range kinds {
		checks.PreApply = append(checks.PreApply, plancheck.ExpectResourceAction(kind+".main", plancheck.ResourceActionNoop))
	}
	return checks
}

// Terraform plans the removal of the old address and a create at the new one, which
// must not end with the deletion of what the create adopted.
func TestAnotherLabelWithoutMovedBlockIsRefused(t *testing.T) {
	a := newTaggedAccount(t)
	config := claimedKinds("", 0)
	steps := []resource.TestStep{{Config: config}}
	for _, kind := range kinds() {
		steps = append(steps,
			resource.TestStep{Config: relabelled(config, kind), ExpectError: acctest.Matching(`already exists`)},
			resource.TestStep{Config: config, ConfigPlanChecks: unchanged(kinds()...)})
	}
	a.Test(resource.TestCase{Steps: steps})
}

func TestTwoResourcesOfOneNameAreRefused(t *testing.T) {
	a := newTaggedAccount(t)
	for _, kind := range []string{"xeroops_eip", "xeroops_volume", "xeroops_bucket", "xeroops_vpc"} {
		config := fmt.Sprintf("resource %q \"main\" {\n  count = 2\n  name = \"twice-123456789012\"\n  %s\n}\n", kind, taggedKinds[kind].config)
		a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: config, ExpectError: acctest.Matching(`two resources of this configuration are`)}}})
	}
}

// With create_before_destroy, the apply creates first and never asks the provider
// about the old resource before. The create must fail and leave the old one.
func TestCreateBeforeDestroyIsRefusedAndDestroysNothing(t *testing.T) {
	a := newTaggedAccount(t)
	replaceable := []string{"xeroops_eip", "xeroops_volume", "xeroops_bucket", "xeroops_cluster", peerKind}
	config := claimedKinds("", 0)
	first := config
	for _, kind := range replaceable {
		first = strings.ReplaceAll(first, fmt.Sprintf("%q \"main\" {\n", kind), fmt.Sprintf("%q \"main\" {\n  lifecycle { create_before_destroy = true }\n", kind))
	}
	var before []string
	remember := func(*terraform.State) error {
		before = a.identities()
		return nil
	}
	steps := []resource.TestStep{{Config: first, Check: remember}}
	for _, kind := range replaceable {
		steps = append(steps, resource.TestStep{Config: first, Taint: []string{kind + ".main"}, ExpectError: acctest.Matching(`already exists`)})
	}
	steps = append(steps, resource.TestStep{Config: config, PreConfig: func() {
		if now := a.identities(); !slices.Equal(now, before) {
			t.Errorf("after the failed replacements:\n%s\nbefore:\n%s", strings.Join(now, "\n"), strings.Join(before, "\n"))
		}
	}})
	a.Test(resource.TestCase{Steps: steps})
}

// claim sets the claims of everything in the account, or of some kinds of objects, and
// returns the former ones.
func (a taggedAccount) claim(ctx context.Context, value string, kinds ...string) (former string) {
	a.t.Helper()
	if len(kinds) == 0 || slices.Contains(kinds, "peer") {
		former = a.claimPeer(ctx, value)
	}
	for _, o := range a.objects(ctx) {
		if o.tags[claimTag] == "" || len(kinds) > 0 && !slices.Contains(kinds, o.kind) {
			continue
		}
		former = o.tags[claimTag]
		if o.kind != "bucket" {
			_, err := a.EC2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{o.id}, Tags: []ec2types.Tag{{Key: aws.String(claimTag), Value: &value}}})
			a.must(err)
			continue
		}
		tags := []s3types.Tag{}
		o.tags[claimTag] = value
		for k, v := range o.tags {
			tags = append(tags, s3types.Tag{Key: &k, Value: &v})
		}
		_, err := a.S3.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: &o.id, Tagging: &s3types.Tagging{TagSet: tags}})
		a.must(err)
	}
	return former
}

// claimPeer sets the claim of the peer and returns the former one.
func (a taggedAccount) claimPeer(ctx context.Context, value string) (former string) {
	a.t.Helper()
	at := &s3.GetObjectInput{Bucket: aws.String("main-bucket"), Key: aws.String(cluster.Layout{Cluster: "main-cluster"}.VPNPeer("laptop"))}
	out, err := a.S3.GetObject(ctx, at)
	a.must(err)
	var peer cluster.VPNPeer
	a.must(json.NewDecoder(out.Body).Decode(&peer))
	former, peer.Claim = peer.Claim, value
	body, err := json.Marshal(peer)
	a.must(err)
	_, err = a.S3.PutObject(ctx, &s3.PutObjectInput{Bucket: at.Bucket, Key: at.Key, Body: bytes.NewReader(body)})
	a.must(err)
	return former
}

func forgotten() string {
	var b strings.Builder
	for _, kind := range kinds() {
		fmt.Fprintf(&b, "removed {\n  from = %s.main\n  lifecycle { destroy = false }\n}\n", kind)
	}
	return b.String()
}

// A run that Terraform did not survive leaves resources with open claims, also ones
// that use each other. With an owner, the next apply adopts them all.
func TestAllThatAnInterruptedRunLeftIsAdoptedWithAnOwner(t *testing.T) {
	a := newTaggedAccount(t)
	config := claimedKinds("provider \"xeroops\" {\n  owner = \"shop\"\n}\n", 0)
	var before []string
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: config},
		{Config: forgotten()},
		{PreConfig: func() { a.claim(t.Context(), "held:shop:token") }, Config: config, ExpectError: acctest.Matching(`another resource or configuration manages it`)},
		{PreConfig: func() {
			a.claim(t.Context(), "open:shop:token")
			before = a.identities()
		}, Config: config, Check: func(*terraform.State) error {
			if now := a.identities(); !slices.Equal(now, before) {
				return fmt.Errorf("the account has\n%s\nbefore:\n%s", strings.Join(now, "\n"), strings.Join(before, "\n"))
			}
			return nil
		}},
	}})
}

// identities returns what exists, by kind and id.
func (a taggedAccount) identities() []string {
	a.t.Helper()
	var ids []string
	for _, o := range a.objects(a.t.Context()) {
		ids = append(ids, o.kind+" "+o.id)
	}
	slices.Sort(ids)
	return ids
}

// A state whose resources another one took over leaves them alone.
func TestResourcesThatAnotherStateTookOverAreNotDestroyed(t *testing.T) {
	a := newTaggedAccount(t)
	config := claimedKinds("", 0)
	var before []string
	a.Test(resource.TestCase{
		Steps: []resource.TestStep{
			{Config: config},
			{PreConfig: func() {
				a.claim(t.Context(), "held::of-another-state")
				before = a.Inventory()
			}, Config: `provider "xeroops" {}`},
		},
		CheckDestroy: func(*terraform.State) error {
			if now := a.Inventory(); !slices.Equal(now, before) {
				return fmt.Errorf("after the destroy:\n%s\nbefore:\n%s", strings.Join(now, "\n"), strings.Join(before, "\n"))
			}
			return nil
		},
	})
}
