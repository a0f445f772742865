package functions

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/internal/cluster"
)

type addressPlan struct {
	Subnets map[string]string       `tfsdk:"subnets"`
	Zones   map[string]types.String `tfsdk:"zones"`
	Nodes   map[string]plannedNode  `tfsdk:"nodes"`
}

type plannedNode struct {
	Role    string       `tfsdk:"role"`
	Subnet  string       `tfsdk:"subnet"`
	Zone    types.String `tfsdk:"zone"`
	Address string       `tfsdk:"address"`
}

// flattenPlan returns the function's result. Without zones, there is one, which is
// null.
func flattenPlan(p cluster.AddressPlan, zones []string) addressPlan {
	flat := addressPlan{Subnets: map[string]string{}, Zones: map[string]types.String{}, Nodes: map[string]plannedNode{}}
	for _, s := range p.Subnets {
		flat.Subnets[s.Name] = s.CIDR.String()
		flat.Zones[s.Name] = types.StringNull()
		if s.Zone < len(zones) {
			flat.Zones[s.Name] = types.StringValue(zones[s.Zone])
		}
	}
	for _, n := range p.Nodes {
		flat.Nodes[n.Name] = plannedNode{Role: string(n.Role), Subnet: n.Subnet, Zone: flat.Zones[n.Subnet], Address: n.Address}
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
	node := types.ObjectType{AttrTypes: map[string]attr.Type{"role": types.StringType, "subnet": types.StringType, "zone": types.StringType, "address": types.StringType}}
	resp.Definition = function.Definition{
		Summary: "Plan the subnets and addresses of a cluster",
		MarkdownDescription: "Returns the subnets and fixed addresses of the reference cluster in a VPC range. The result has three maps: " +
			"`subnets`, with the CIDR of `public` and `private` and, in the second zone, of `public-2` and `private-2`; `zones`, with the availability zone of each subnet; " +
			"and `nodes`, with `role`, `subnet`, `zone` and `address` by node name (`edge`, `gateway`, `management`, `app1` …, `db1` …). " +
			"The address of a node does not depend on the number of nodes. " +
			"`app` and `db` nodes are spread over the zones; the other nodes are in the first.",
		Parameters: []function.Parameter{function.StringParameter{
			Name:                "cidr",
			MarkdownDescription: "The VPC's IPv4 range, /16 to /22. Two or three zones need a /21 or larger, and more zones a /20.",
		}},
		VariadicParameter: function.DynamicParameter{
			Name: "counts_and_zones",
			MarkdownDescription: "Number of `app` nodes (1 to 110), followed by the number of `db` nodes (1 to 10), followed by the list of availability zones (1 to 6 names). " +
				"Default: 2 nodes each in one zone, which is then null in the result.",
		},
		Return: function.ObjectReturn{AttributeTypes: map[string]attr.Type{
			"subnets": types.MapType{ElemType: types.StringType},
			"zones":   types.MapType{ElemType: types.StringType},
			"nodes":   types.MapType{ElemType: node},
		}},
	}
}

func (addressPlanFunction) Run(ctx context.Context, req function.RunRequest, resp *function.RunResponse) {
	var cidr string
	var options []types.Dynamic
	if resp.Error = req.Arguments.Get(ctx, &cidr, &options); resp.Error != nil {
		return
	}
	vpc, err := parseVPC(cidr)
	if err != nil {
		resp.Error = function.NewArgumentFuncError(0, err.Error())
		return
	}
	if len(options) > zonesArgument {
		resp.Error = function.NewArgumentFuncError(zonesArgument+1, "plan addresses: at most three arguments may follow the CIDR: numbers of app nodes and of db nodes, and the list of zones")
		return
	}
	counts := []int{cluster.ReferenceApps, cluster.ReferenceDBs}
	var zones []string
	for i, option := range options {
		argument, value := i+1, option.UnderlyingValue()
		if argument == zonesArgument {
			zones, err = parseZones(value, cluster.MaxZonesOf(vpc), vpc)
		} else {
			counts[i], err = parseCount(value, countKinds[i].role, countKinds[i].max)
		}
		if err != nil {
			resp.Error = function.NewArgumentFuncError(int64(argument), "plan addresses: "+err.Error())
			return
		}
	}
	resp.Error = resp.Result.Set(ctx, flattenPlan(cluster.PlanAddresses(vpc, counts[0], counts[1], max(1, len(zones))), zones))
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

// zonesArgument is the number of the argument with the zones; the CIDR is 0.
const zonesArgument = 3

// countKinds are the arguments 1 and 2.
var countKinds = []struct {
	role cluster.Role
	max  int
}{{cluster.RoleApp, cluster.MaxPlannedApps}, {cluster.RoleDB, cluster.MaxPlannedDBs}}

// parseCount parses a number of nodes.
func parseCount(v attr.Value, role cluster.Role, most int) (int, error) {
	number, ok := v.(types.Number)
	if !ok || number.IsNull() {
		return 0, fmt.Errorf("the number of %s nodes is not a number; use 1 to %d", role, most)
	}
	n, accuracy := number.ValueBigFloat().Int64()
	if accuracy != big.Exact || n < 1 || n > int64(most) {
		return 0, fmt.Errorf("%s %s nodes; use 1 to %d", number.ValueBigFloat().Text('g', 10), role, most)
	}
	return int(n), nil
}

// parseZones parses a list, tuple or set of zone names.
func parseZones(v attr.Value, most int, vpc netip.Prefix) ([]string, error) {
	list, ok := v.(interface{ Elements() []attr.Value })
	if !ok || v.IsNull() {
		return nil, errors.New("the zones are not a list of names, such as data.xeroops_availability_zones.this.names")
	}
	var zones []string
	for _, element := range list.Elements() {
		if dynamic, ok := element.(types.Dynamic); ok {
			element = dynamic.UnderlyingValue()
		}
		name, ok := element.(types.String)
		if !ok || name.ValueString() == "" {
			return nil, fmt.Errorf("zone %s is not a name, such as \"eu-west-1b\"", element)
		}
		if slices.Contains(zones, name.ValueString()) {
			return nil, fmt.Errorf("zone %s is listed twice", name.ValueString())
		}
		zones = append(zones, name.ValueString())
	}
	if len(zones) == 0 || len(zones) > most {
		return nil, fmt.Errorf("%d zones in %s; use 1 to %d zones, or a larger range", len(zones), vpc, most)
	}
	return zones, nil
}
