package securitygroup

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/awsclient"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
	"github.com/xeroops/xeroops/provider/internal/clusterspec/spectest"
)

// reference returns the groups of the reference cluster, as Ensure leaves them.
func reference() *Groups {
	g := New(&base.ProviderData{Client: &awsclient.Client{}}, spectest.Reference())
	for _, role := range model.Roles() {
		g.actual[role] = ec2types.SecurityGroup{GroupId: aws.String("sg-" + string(role))}
	}
	for _, role := range model.Roles() {
		g.actual[role] = ec2types.SecurityGroup{GroupId: aws.String("sg-" + string(role)),
			IpPermissions: permissions(g.wantedRules(role)), IpPermissionsEgress: permissions(map[rule]bool{allTraffic: true})}
	}
	return g
}

// allow adds a rule to a role's group, as an operator would.
func (g *Groups) allow(role model.Role, r rule) {
	group := g.actual[role]
	group.IpPermissions = append(slices.Clone(group.IpPermissions), r.permission())
	g.actual[role] = group
}

func TestRulesAreThoseOfTheServiceTable(t *testing.T) {
	g := reference()
	for _, role := range model.Roles() {
		rules := g.wantedRules(role)
		for r := range rules {
			if !inTable(role, r) {
				t.Errorf("role %s has rule %+v, which service-ports.json does not have", role, r)
			}
		}
		for _, s := range model.ServicesOf(role) {
			for _, p := range s.Ports {
				n := 0
				for r := range rules {
					if r.from == p.Port && r.to == p.Last() && r.protocol == p.Protocol {
						n++
					}
				}
				if n != len(p.From) {
					t.Errorf("role %s, port %d: %d rules, want %d", role, p.Port, n, len(p.From))
				}
			}
		}
	}
}

func inTable(role model.Role, r rule) bool {
	source := map[string]string{"0.0.0.0/0": model.FromInternet, "10.100.0.0/16": model.FromVPN}[r.cidr]
	if r.otherGroup != "" {
		source = strings.TrimPrefix(r.otherGroup, "sg-")
	}
	for _, s := range model.ServicesOf(role) {
		for _, p := range s.Ports {
			if p.Port == r.from && p.Last() == r.to && p.Protocol == r.protocol && slices.Contains(p.From, source) {
				return true
			}
		}
	}
	return false
}

func TestRulesSurviveTheConversionToPermissions(t *testing.T) {
	for r := range reference().wantedRules(model.RoleManagement) {
		if back := flattenRules([]ec2types.IpPermission{r.permission()}); !back[r] || len(back) != 1 {
			t.Errorf("%+v was converted to %+v", r, back)
		}
	}
	foreign := rule{protocol: "-1", other: "ipv6:::/0"}
	if back := flattenRules([]ec2types.IpPermission{foreign.permission()}); !back[foreign] {
		t.Errorf("a foreign rule was converted to %+v, so it could not be removed", back)
	}
}

func TestDriftNamesTheGroupAndWhatDiffers(t *testing.T) {
	byHand := rule{protocol: "tcp", from: 22, to: 22, cidr: "0.0.0.0/0"}
	cases := map[string]struct {
		change func(*Groups)
		want   string
	}{
		"":                        {func(*Groups) {}, ""},
		"a group deleted":         {func(g *Groups) { delete(g.actual, model.RoleApp) }, "security group of role app does not exist"},
		"a rule added":            {func(g *Groups) { g.allow(model.RoleApp, byHand) }, "sg-app (app) has 1 unexpected ingress rules"},
		"all rules removed":       {func(g *Groups) { g.actual[model.RoleDB] = ec2types.SecurityGroup{GroupId: aws.String("sg-db")} }, "sg-db (db) lacks"},
		"the egress rule removed": {func(g *Groups) { g.actual[model.RoleDB] = ec2types.SecurityGroup{GroupId: aws.String("sg-db")} }, "sg-db (db) does not allow outbound traffic"},
	}
	for name, c := range cases {
		g := reference()
		c.change(g)
		found := strings.Join(g.Drift(t.Context()), "\n")
		if (found == "") != (c.want == "") || !strings.Contains(found, c.want) {
			t.Errorf("%s: drift is %q, want %q", name, found, c.want)
		}
	}
}

func TestLimitedSourcesTakeThePlaceOfTheInternet(t *testing.T) {
	g := reference()
	g.spec.Access.Internet = map[model.Role]clusterspec.Sources{
		model.RoleLoadBalancer: {CIDRs: []string{"203.0.113.0/24", "2001:db8::/32"}, PrefixLists: []string{"pl-1"}}, model.RoleWireGuard: {}}
	rules := g.wantedRules(model.RoleLoadBalancer)
	for _, port := range []int32{80, 443} {
		for _, source := range []rule{{cidr: "203.0.113.0/24"}, {other: "ipv6:2001:db8::/32"}, {other: "pl:pl-1"}} {
			if !rules[rule{protocol: "tcp", from: port, to: port}.with(source)] {
				t.Errorf("port %d is not open to %+v", port, source)
			}
		}
	}
	for _, role := range []model.Role{model.RoleLoadBalancer, model.RoleWireGuard} {
		for r := range g.wantedRules(role) {
			if r.cidr == "0.0.0.0/0" {
				t.Errorf("role %s is open to all: %+v", role, r)
			}
		}
	}
}

func TestTheEndpointsGroupIsDriftWithoutAnEndpoint(t *testing.T) {
	g := reference()
	g.actual[EndpointRole] = ec2types.SecurityGroup{GroupId: aws.String("sg-endpoint")}
	if found := strings.Join(g.Drift(t.Context()), "\n"); !strings.Contains(found, "sg-endpoint") {
		t.Errorf("drift is %q", found)
	}
	g.spec.Access.ConnectEndpoint = true
	group := g.actual[EndpointRole]
	group.IpPermissionsEgress = permissions(g.wantedEgress(EndpointRole))
	g.actual[EndpointRole] = group
	for _, role := range model.Roles() {
		group := g.actual[role]
		group.IpPermissions = permissions(g.wantedRules(role))
		g.actual[role] = group
	}
	if found := g.Drift(t.Context()); len(found) > 0 {
		t.Errorf("drift of a complete endpoint: %v", found)
	}
	group.IpPermissionsEgress = append(group.IpPermissionsEgress, allTraffic.permission())
	g.actual[EndpointRole] = group
	if found := strings.Join(g.Drift(t.Context()), "\n"); !strings.Contains(found, "egress") {
		t.Errorf("drift with another egress rule is %q", found)
	}
}

func TestAFormerVPNRangeIsAllowedByEveryGroup(t *testing.T) {
	g := reference()
	g.allow(model.RoleApp, rule{protocol: "tcp", from: 22, to: 22, cidr: "192.168.0.0/16"})
	if former := g.FormerVPNRanges(); len(former) != 0 {
		t.Errorf("with an unchanged range, the former ranges are %v", former)
	}
	g.spec.VPNCIDR = "10.101.0.0/16"
	if former := g.FormerVPNRanges(); len(former) != 1 || !former["10.100.0.0/16"] {
		t.Errorf("former ranges are %v, want 10.100.0.0/16 alone", former)
	}
}
