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

type addressPlan struct {
	Subnets map[string]string      `tfsdk:"subnets"`
	Nodes   map[string]plannedNode `tfsdk:"nodes"`
}

type plannedNode struct {
	Role    string `tfsdk:"role"`
	Subnet  string `tfsdk:"subnet"`
	Address string `tfsdk:"address"`
}

func flattenPlan(p cluster.AddressPlan) addressPlan {
	flat := addressPlan{
		Subnets: map[string]string{"public": p.Public.String(), "private": p.Private.String()},
		Nodes:   map[string]plannedNode{},
	}
	for _, n := range p.Nodes {
		subnet := "private"
		if n.Public {
			subnet = "public"
		}
		flat.Nodes[n.Name] = plannedNode{Role: string(n.Role), Subnet: subnet, Address: n.Address}
	}
	return flat
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
		MarkdownDescription: "Returns the subnets and fixed addresses of the reference cluster in a VPC range. The result has two maps: " +
			"`subnets`, with the CIDR of `public` and `private`, and `nodes`, with `role`, `subnet` and `address` by node name " +
			"(`edge`, `gateway`, `management`, `app1` …, `db1` …). The address of a node does not depend on the number of nodes.",
		Parameters: []function.Parameter{function.StringParameter{
			Name:                "cidr",
			MarkdownDescription: "The VPC's IPv4 range, /16 to /22.",
		}},
		VariadicParameter: function.Int32Parameter{
			Name:                "counts",
			MarkdownDescription: "Number of `app` nodes (1 to 110), followed by the number of `db` nodes (1 to 10). Default: 2 each.",
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
	resp.Error = resp.Result.Set(ctx, flattenPlan(cluster.PlanAddresses(vpc, apps, dbs)))
}

func parseVPC(cidr string) (netip.Prefix, error) {
	vpc, err := netip.ParsePrefix(cidr)
	switch {
	case err != nil || !vpc.Addr().Is4():
		return vpc, fmt.Errorf("plan addresses: %q is not an IPv4 range such as 10.0.0.0/16", cidr)
	case vpc != vpc.Masked():
		return vpc, fmt.Errorf("plan addresses: %s has host bits set; use %s", cidr, vpc.Masked())
	case vpc.Bits() < cluster.MinPlannedVPCBits || vpc.Bits() > cluster.MaxPlannedVPCBits:
		return vpc, fmt.Errorf("plan addresses: %s is a /%d; use a range from /%d to /%d", cidr, vpc.Bits(), cluster.MinPlannedVPCBits, cluster.MaxPlannedVPCBits)
	}
	return vpc, nil
}

// parseCounts parses the arguments after the CIDR, which are numbered from 1.
func parseCounts(counts []int32) (apps, dbs int, _ *function.FuncError) {
	kinds := []struct {
		role       cluster.Role
		value, max int
	}{
		{cluster.RoleApp, cluster.ReferenceApps, cluster.MaxPlannedApps},
		{cluster.RoleDB, cluster.ReferenceDBs, cluster.MaxPlannedDBs},
	}
	if len(counts) > len(kinds) {
		return 0, 0, function.NewArgumentFuncError(int64(len(kinds))+1, "plan addresses: use at most two counts after the CIDR: app nodes and db nodes")
	}
	for i, n := range counts {
		k := &kinds[i]
		if n < 1 || int(n) > k.max {
			return 0, 0, function.NewArgumentFuncError(int64(i)+1,
				fmt.Sprintf("plan addresses: %d %s nodes; use 1 to %d", n, k.role, k.max))
		}
		k.value = int(n)
	}
	return kinds[0].value, kinds[1].value, nil
}
