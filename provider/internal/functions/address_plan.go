package functions

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/internal/cluster"
)

// The reference cluster (docs/design.md#reference-cluster), as counted from the VPC's address: its
// subnets are the second and third /24, and a node's host number never depends
// on how many nodes there are, so that adding one moves no other.
const (
	subnetBits    = 24
	publicSubnet  = 1
	privateSubnet = 2

	defaultApps, maxApps = 2, 110 // .10 to .19, then .100 to .199
	defaultDBs, maxDBs   = 2, 10  // .30 to .39
)

// Prefix lengths of a VPC that hold the three /24 networks; AWS allows no VPC
// larger than a /16.
const minVPCBits, maxVPCBits = 16, 22

type addressPlan struct {
	Subnets map[string]string      `tfsdk:"subnets"`
	Nodes   map[string]plannedNode `tfsdk:"nodes"`
}

type plannedNode struct {
	Role    string `tfsdk:"role"`
	Subnet  string `tfsdk:"subnet"`
	Address string `tfsdk:"address"`
}

// planAddresses returns the plan for a VPC of that range.
func planAddresses(vpc netip.Prefix, apps, dbs int) addressPlan {
	public, private := subnet(vpc, publicSubnet), subnet(vpc, privateSubnet)
	plan := addressPlan{
		Subnets: map[string]string{"public": public.String(), "private": private.String()},
		Nodes:   map[string]plannedNode{},
	}
	add := func(name string, role cluster.Role, subnet string, in netip.Prefix, number int) {
		plan.Nodes[name] = plannedNode{Role: string(role), Subnet: subnet, Address: host(in, number).String()}
	}
	add("edge", cluster.RoleLoadBalancer, "public", public, 10)
	add("gateway", cluster.RoleWireGuard, "public", public, 11)
	add("management", cluster.RoleManagement, "private", private, 20)
	for n := 1; n <= apps; n++ {
		add(fmt.Sprintf("app%d", n), cluster.RoleApp, "private", private, appHost(n))
	}
	for n := 1; n <= dbs; n++ {
		add(fmt.Sprintf("db%d", n), cluster.RoleDB, "private", private, 29+n)
	}
	return plan
}

func appHost(n int) int {
	if n > 10 {
		return 89 + n
	}
	return 9 + n
}

// subnet returns the n-th /24 of the VPC.
func subnet(vpc netip.Prefix, n int) netip.Prefix {
	a := vpc.Masked().Addr().As4()
	a[2] += byte(n) // cannot overflow: the VPC begins on a multiple of four
	return netip.PrefixFrom(netip.AddrFrom4(a), subnetBits)
}

func host(in netip.Prefix, number int) netip.Addr {
	a := in.Addr().As4()
	a[3] = byte(number)
	return netip.AddrFrom4(a)
}

type addressPlanFunction struct{}

// NewAddressPlan returns the function address_plan.
func NewAddressPlan() function.Function { return addressPlanFunction{} }

func (addressPlanFunction) Metadata(_ context.Context, _ function.MetadataRequest, resp *function.MetadataResponse) {
	resp.Name = "address_plan"
}

func (addressPlanFunction) Definition(_ context.Context, _ function.DefinitionRequest, resp *function.DefinitionResponse) {
	node := types.ObjectType{AttrTypes: map[string]attr.Type{"role": types.StringType, "subnet": types.StringType, "address": types.StringType}}
	resp.Definition = function.Definition{
		Summary: "Plan the subnets and addresses of a cluster",
		MarkdownDescription: "Returns the subnets and fixed addresses of the reference cluster within one VPC range. The result has two maps: " +
			"`subnets`, with the CIDR of `public` and `private`, and `nodes`, with `role`, `subnet` and `address` by node name " +
			"(`edge`, `gateway`, `management`, `app1` …, `db1` …). A node's address does not depend on how many others there are.",
		Parameters: []function.Parameter{function.StringParameter{
			Name:                "cidr",
			MarkdownDescription: "The VPC's IPv4 range, from /16 to /22.",
		}},
		VariadicParameter: function.Int32Parameter{
			Name:                "counts",
			MarkdownDescription: "How many `app` nodes there are (1 to 110), and after it how many `db` nodes (1 to 10). Each is 2 if left out.",
		},
		Return: function.ObjectReturn{AttributeTypes: map[string]attr.Type{
			"subnets": types.MapType{ElemType: types.StringType},
			"nodes":   types.MapType{ElemType: node},
		}},
	}
}

func (addressPlanFunction) Run(ctx context.Context, req function.RunRequest, resp *function.RunResponse) {
	var cidr string
	var counts []int32
	if resp.Error = req.Arguments.Get(ctx, &cidr, &counts); resp.Error != nil {
		return
	}
	vpc, err := parseVPC(cidr)
	if err != nil {
		resp.Error = function.NewArgumentFuncError(0, err.Error())
		return
	}
	apps, dbs, funcErr := parseCounts(counts)
	if funcErr != nil {
		resp.Error = funcErr
		return
	}
	resp.Error = resp.Result.Set(ctx, planAddresses(vpc, apps, dbs))
}

func parseVPC(cidr string) (netip.Prefix, error) {
	vpc, err := netip.ParsePrefix(cidr)
	switch {
	case err != nil || !vpc.Addr().Is4():
		return vpc, fmt.Errorf("plan addresses: %q is not an IPv4 range; write it like 10.0.0.0/16", cidr)
	case vpc != vpc.Masked():
		return vpc, fmt.Errorf("plan addresses: %s has bits set after its prefix; write %s", cidr, vpc.Masked())
	case vpc.Bits() < minVPCBits || vpc.Bits() > maxVPCBits:
		return vpc, fmt.Errorf("plan addresses: %s is a /%d; the plan needs a VPC range from /%d to /%d", cidr, vpc.Bits(), minVPCBits, maxVPCBits)
	}
	return vpc, nil
}

// parseCounts reads the arguments after the CIDR, which are numbered from 1.
func parseCounts(counts []int32) (apps, dbs int, _ *function.FuncError) {
	kinds := []struct {
		role       cluster.Role
		value, max int
	}{{cluster.RoleApp, defaultApps, maxApps}, {cluster.RoleDB, defaultDBs, maxDBs}}
	if len(counts) > len(kinds) {
		return 0, 0, function.NewArgumentFuncError(int64(len(kinds))+1, "plan addresses: at most two counts may follow the CIDR: of app nodes, then of db nodes")
	}
	for i, n := range counts {
		k := &kinds[i]
		if n < 1 || int(n) > k.max {
			return 0, 0, function.NewArgumentFuncError(int64(i)+1,
				fmt.Sprintf("plan addresses: %d %s nodes; the plan has room for 1 to %d", n, k.role, k.max))
		}
		k.value = int(n)
	}
	return kinds[0].value, kinds[1].value, nil
}
