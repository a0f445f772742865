package vpn_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"
	"github.com/hashicorp/terraform-plugin-testing/tfversion"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/provider/internal/acctest"
)

func TestMain(m *testing.M) { acctest.Main(m) }

const (
	bucket = "uploads-123456789012"
	peer   = "xeroops_vpn_peer.laptop"
)

var (
	layout         = cluster.Layout{Cluster: "production"}
	keyA, keyB     = wireGuardKey('a'), wireGuardKey('b')
	gatewayKey     = wireGuardKey('g')
	somebodyElses  = cluster.VPNPeer{Schema: cluster.VPNPeerSchema, Name: "phone", PublicKey: wireGuardKey('p'), Address: "10.100.0.2"}
	wholeTopology  = cluster.Topology{Schema: cluster.TopologySchema, Cluster: "production", VPN: wholeVPN}
	wholeVPN       = cluster.VPN{CIDR: "10.100.0.0/16", Endpoint: "198.51.100.7:51820", PublicKey: gatewayKey, Routes: []string{"10.0.0.0/16"}}
	withoutGateway = cluster.Topology{Schema: cluster.TopologySchema, Cluster: "production", VPN: cluster.VPN{CIDR: "10.100.0.0/16"}}
)

func wireGuardKey(fill byte) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(fill), 32)))
}

// account is an AWS account with a cluster's bucket that contains one peer.
type account struct {
	*acctest.AWS
	t *testing.T
}

func newAccount(t *testing.T, topology cluster.Topology) account {
	a := account{acctest.Setup(t), t}
	_, err := a.S3.CreateBucket(t.Context(), &s3.CreateBucketInput{
		Bucket:                    aws.String(bucket),
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: acctest.Region},
	})
	if err != nil {
		t.Fatal(err)
	}
	a.put(layout.Topology(), topology)
	a.put(layout.VPNPeer(somebodyElses.Name), somebodyElses)
	a.put(layout.VPNAddresses(), cluster.VPNAddresses{Schema: cluster.VPNAddressesSchema, Peers: map[string]string{somebodyElses.Name: somebodyElses.Address}})
	a.KeepBaseline()
	return a
}

func (a account) put(key string, content any) {
	a.t.Helper()
	body, err := json.Marshal(content)
	if err != nil {
		a.t.Fatal(err)
	}
	_, err = a.S3.PutObject(a.t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &key, Body: strings.NewReader(string(body))})
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a account) delete(key string) {
	a.t.Helper()
	if _, err := a.S3.DeleteObject(a.t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: &key}); err != nil {
		a.t.Fatal(err)
	}
}

// hasPeer returns a check of the object that the gateway reads.
func (a account) hasPeer(want cluster.VPNPeer) resource.TestCheckFunc {
	return acctest.Check(func(ctx context.Context) error {
		key := layout.VPNPeer(want.Name)
		out, err := a.S3.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(bucket), Key: &key})
		if err != nil {
			return err
		}
		body, err := io.ReadAll(out.Body)
		if err != nil {
			return err
		}
		var got cluster.VPNPeer
		if err := json.Unmarshal(body, &got); err != nil {
			return err
		}
		if got.Claim = ""; got != want {
			return fmt.Errorf("the object is %s, want %+v", body, want)
		}
		return nil
	})
}

func laptop(key, address string) cluster.VPNPeer {
	return cluster.VPNPeer{Schema: cluster.VPNPeerSchema, Name: "laptop", PublicKey: key, Address: address}
}

func config(key, extra string) string {
	return fmt.Sprintf(`
resource "xeroops_vpn_peer" "laptop" {
  cluster        = "production"
  uploads_bucket = %q
  name           = "laptop"
  public_key     = %q
  %s
}`, bucket, key, extra)
}

func has(attribute string, value knownvalue.Check) statecheck.StateCheck {
	return statecheck.ExpectKnownValue(peer, tfjsonpath.New(attribute), value)
}

func TestPeerIsCreatedImportedUpdatedAndDestroyed(t *testing.T) {
	a := newAccount(t, wholeTopology)
	updateInPlace := resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectResourceAction(peer, plancheck.ResourceActionUpdate)}}
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{
			Config: config(keyA, ""),
			Check:  a.hasPeer(laptop(keyA, "10.100.0.3")),
			ConfigStateChecks: []statecheck.StateCheck{
				has("address", knownvalue.StringExact("10.100.0.3")),
				has("client_config", knownvalue.StringRegexp(regexp.MustCompile(
					`(?s)PrivateKey = <private key>\nAddress = 10.100.0.3/32\n.*PublicKey = `+regexp.QuoteMeta(gatewayKey)+
						`\nEndpoint = 198.51.100.7:51820\nAllowedIPs = 10.100.0.0/16, 10.0.0.0/16\n`))),
			},
		},
		{
			ResourceName: peer, ImportState: true, ImportStateVerify: true,
			ImportStateId:                        "production/" + bucket + "/laptop",
			ImportStateVerifyIdentifierAttribute: "name",
		},
		{
			Config: config(keyB, ""), ConfigPlanChecks: updateInPlace,
			Check: a.hasPeer(laptop(keyB, "10.100.0.3")),
		},
		{
			Config: config(keyB, `address = "10.100.7.7"`), ConfigPlanChecks: updateInPlace,
			Check:             a.hasPeer(laptop(keyB, "10.100.7.7")),
			ConfigStateChecks: []statecheck.StateCheck{has("client_config", knownvalue.StringRegexp(regexp.MustCompile(`Address = 10.100.7.7/32`)))},
		},
	}})
}

func TestPeerIsImportedByIdentity(t *testing.T) {
	a := newAccount(t, wholeTopology)
	if a.OpenTofu {
		t.Skip("OpenTofu has no resource identity")
	}
	a.Test(resource.TestCase{
		TerraformVersionChecks: []tfversion.TerraformVersionCheck{tfversion.SkipBelow(tfversion.Version1_12_0)},
		Steps: []resource.TestStep{
			{Config: config(keyA, "")},
			{ResourceName: peer, ImportState: true, ImportStateKind: resource.ImportBlockWithResourceIdentity},
		},
	})
}

func TestPeerChangedElsewhereIsReverted(t *testing.T) {
	a := newAccount(t, wholeTopology)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: config(keyA, `address = "10.100.0.9"`)},
		{
			PreConfig: func() { a.put(layout.VPNPeer("laptop"), laptop(keyB, "10.100.0.2")) },
			Config:    config(keyA, `address = "10.100.0.9"`),
			ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
				plancheck.ExpectResourceAction(peer, plancheck.ResourceActionUpdate)}},
			Check: a.hasPeer(laptop(keyA, "10.100.0.9")),
		},
	}})
}

func TestPeerThatDisappearedIsRecreatedAtItsAddress(t *testing.T) {
	a := newAccount(t, wholeTopology)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: config(keyA, "")},
		{
			PreConfig: func() { a.delete(layout.VPNPeer("laptop")) },
			Config:    config(keyA, ""),
			ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
				plancheck.ExpectResourceAction(peer, plancheck.ResourceActionCreate)}},
			Check: a.hasPeer(laptop(keyA, "10.100.0.3")),
		},
	}})
}

func TestPeerFollowsAGatewayThatMoved(t *testing.T) {
	a := newAccount(t, wholeTopology)
	moved := wholeTopology
	moved.VPN.Endpoint = "203.0.113.9:51820"
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: config(keyA, "")},
		{
			PreConfig:         func() { a.put(layout.Topology(), moved) },
			Config:            config(keyA, ""),
			ConfigStateChecks: []statecheck.StateCheck{has("client_config", knownvalue.StringRegexp(regexp.MustCompile(`Endpoint = 203.0.113.9:51820`)))},
		},
	}})
}

func TestPeerIsDestroyedAfterItsClusterIsGone(t *testing.T) {
	a := newAccount(t, wholeTopology)
	a.Test(resource.TestCase{
		Steps: []resource.TestStep{
			{Config: config(keyA, "")},
			{Config: config(keyA, ""), PreConfig: func() { a.delete(layout.Topology()) }, PlanOnly: true},
		},
		CheckDestroy: func(*terraform.State) error {
			err := a.CheckDestroy(nil)
			if err == nil || strings.Contains(err.Error(), "laptop") {
				return errors.Join(errors.New("the peer is still there"), err)
			}
			return nil
		},
	})
}

func TestManyPeersAtOnceGetDifferentAddresses(t *testing.T) {
	a := newAccount(t, wholeTopology)
	a.Test(resource.TestCase{Steps: []resource.TestStep{{
		Config: fmt.Sprintf(`
resource "xeroops_vpn_peer" "all" {
  count          = 10
  cluster        = "production"
  uploads_bucket = %q
  name           = "peer-${count.index}"
  public_key     = %q
}
output "distinct" { value = length(distinct(xeroops_vpn_peer.all[*].address)) }`, bucket, keyA),
		Check: resource.TestCheckOutput("distinct", "10"),
	}}})
}

func TestPeerSurvivesAnAnswerLostAfterThePut(t *testing.T) {
	a := newAccount(t, wholeTopology)
	for _, nth := range []int{1, 3} { // the put of the table, and after its retry that of the peer
		if err := a.Front.Inject(fakeaws.Fault{Action: "PutObject", Nth: nth, Effect: fakeaws.DropAfter}); err != nil {
			t.Fatal(err)
		}
	}
	a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: config(keyA, ""), Check: a.hasPeer(laptop(keyA, "10.100.0.3"))}}})
}

func TestPeerErrorsSayWhatToDo(t *testing.T) {
	for name, tc := range map[string]struct {
		topology cluster.Topology
		config   string
		says     string
	}{
		"no gateway":           {withoutGateway, config(keyA, ""), `cluster "production" has no VPN gateway yet`},
		"outside the range":    {wholeTopology, config(keyA, `address = "10.1.0.5"`), `10\.1\.0\.5 is outside the cluster's VPN range`},
		"taken":                {wholeTopology, config(keyA, `address = "10.100.0.2"`), `the address of VPN peer "phone"`},
		"somebody else's name": {wholeTopology, strings.ReplaceAll(config(keyA, ""), `"laptop"`, `"phone"`), `already exists: production/uploads-123456789012/phone \(it has another public key\)`},
		"no cluster":           {wholeTopology, strings.ReplaceAll(config(keyA, ""), "production", "staging"), `no cluster "staging"`},
		"private rubbish":      {wholeTopology, config("c2VjcmV0", ""), `Invalid WireGuard public key`},
		"no address":           {wholeTopology, config(keyA, `address = "fd00::1"`), `is not an IPv4 address`},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAccount(t, tc.topology)
			// Terraform wraps the lines of errors.
			says := strings.ReplaceAll(tc.says, " ", `[\s│]+`)
			a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: tc.config, ExpectError: regexp.MustCompile(says)}}})
		})
	}
}
