package functions

import (
	"context"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/internal/cluster"
)

func TestAddressPlanOfTheReferenceCluster(t *testing.T) {
	a, b := types.StringValue("eu-west-1a"), types.StringValue("eu-west-1b")
	plan := flattenPlan(cluster.ReferencePlan(), []string{"eu-west-1a", "eu-west-1b"})
	wantSubnets := map[string]string{"public": "10.0.1.0/24", "private": "10.0.2.0/24", "public-2": "10.0.3.0/24", "private-2": "10.0.4.0/24"}
	if !maps.Equal(plan.Subnets, wantSubnets) {
		t.Errorf("subnets %v, want %v", plan.Subnets, wantSubnets)
	}
	wantZones := map[string]types.String{"public": a, "private": a, "public-2": b, "private-2": b}
	if !maps.Equal(plan.Zones, wantZones) {
		t.Errorf("zones %v, want %v", plan.Zones, wantZones)
	}
	wantNodes := map[string]plannedNode{
		"edge":       {"openresty-lb", "public", a, "10.0.1.10"},
		"gateway":    {"wireguard", "public", a, "10.0.1.11"},
		"app1":       {"app", "private", a, "10.0.2.10"},
		"app2":       {"app", "private-2", b, "10.0.4.11"},
		"management": {"management", "private", a, "10.0.2.20"},
		"db1":        {"db", "private", a, "10.0.2.30"},
		"db2":        {"db", "private-2", b, "10.0.4.31"},
	}
	if !maps.Equal(plan.Nodes, wantNodes) {
		t.Errorf("nodes %v, want %v", plan.Nodes, wantNodes)
	}
}

func TestAddressPlanErrorsNameTheArgument(t *testing.T) {
	for _, tc := range []struct {
		cidr     string
		options  []any
		argument int64
		says     string
	}{
		{"ten", nil, 0, "not an IPv4 range"},
		{"fd00::/16", nil, 0, "not an IPv4 range"},
		{"10.0.3.0/16", nil, 0, "use 10.0.0.0/16"},
		{"10.0.0.0/24", nil, 0, "from /16 to /22"},
		{"10.0.0.0/8", nil, 0, "from /16 to /22"},
		{"10.0.0.0/16", []any{0}, 1, "0 app nodes; use 1 to 110"},
		{"10.0.0.0/16", []any{1.5}, 1, "1.5 app nodes; use 1 to 110"},
		{"10.0.0.0/16", []any{2, 11}, 2, "11 db nodes; use 1 to 10"},
		{"10.0.0.0/16", []any{2, "b"}, 2, "is not a number"},
		{"10.0.0.0/16", []any{2, 2, 2}, 3, "not a list of names"},
		{"10.0.0.0/16", []any{2, 2, []string{}}, 3, "0 zones in 10.0.0.0/16; use 1 to 6"},
		{"10.0.0.0/16", []any{2, 2, []string{"a", "b", "a"}}, 3, "zone a is listed twice"},
		{"10.0.0.0/22", []any{2, 2, []string{"a", "b"}}, 3, "2 zones in 10.0.0.0/22; use 1 to 1 zones, or a larger range"},
		{"10.0.0.0/16", []any{2, 2, []string{"a"}, 1}, 4, "at most three arguments"},
	} {
		_, err := runAddressPlan(t, tc.cidr, tc.options)
		switch {
		case err == nil:
			t.Errorf("%s %v: no error, want one that says %q", tc.cidr, tc.options, tc.says)
		case err.FunctionArgument == nil || *err.FunctionArgument != tc.argument || !strings.Contains(err.Text, tc.says):
			t.Errorf("%s %v: error %v, want argument %d and %q", tc.cidr, tc.options, err, tc.argument, tc.says)
		}
	}
}

func TestAddressPlanReturnsItsDeclaredType(t *testing.T) {
	result, err := runAddressPlan(t, "172.16.0.0/20", []any{3, 2, []string{"us-west-2b", "us-west-2d", "us-west-2c"}})
	if err != nil {
		t.Fatal(err)
	}
	nodes := result.(types.Object).Attributes()["nodes"].(types.Map).Elements()
	want := []string{"app1", "app2", "app3", "db1", "db2", "edge", "gateway", "management"}
	if got := slices.Sorted(maps.Keys(nodes)); !slices.Equal(got, want) {
		t.Errorf("nodes %v, want %v", got, want)
	}
}

// runAddressPlan calls the function as Terraform does: its options are dynamic values,
// and a list in an expression is a tuple.
func runAddressPlan(t *testing.T, cidr string, options []any) (attr.Value, *function.FuncError) {
	t.Helper()
	var elements []attr.Value
	var kinds []attr.Type
	for _, option := range options {
		var value attr.Value
		switch o := option.(type) {
		case int:
			value = types.NumberValue(big.NewFloat(float64(o)))
		case float64:
			value = types.NumberValue(big.NewFloat(o))
		case string:
			value = types.StringValue(o)
		case []string:
			var names []attr.Value
			var nameKinds []attr.Type
			for _, name := range o {
				names, nameKinds = append(names, types.StringValue(name)), append(nameKinds, types.StringType)
			}
			value = types.TupleValueMust(nameKinds, names)
		}
		elements, kinds = append(elements, types.DynamicValue(value)), append(kinds, types.DynamicType)
	}
	return run(t, NewAddressPlan(), types.StringValue(cidr), types.TupleValueMust(kinds, elements))
}

func run(t *testing.T, f function.Function, args ...attr.Value) (attr.Value, *function.FuncError) {
	t.Helper()
	ctx := context.Background()
	var def function.DefinitionResponse
	f.Definition(ctx, function.DefinitionRequest{}, &def)
	empty, err := def.Definition.Return.NewResultData(ctx)
	if err != nil {
		t.Fatal(err)
	}
	resp := function.RunResponse{Result: empty}
	f.Run(ctx, function.RunRequest{Arguments: function.NewArgumentsData(args)}, &resp)
	return resp.Result.Value(), resp.Error
}

func TestEnvFileAndParseEnvFileAreInverse(t *testing.T) {
	vars := map[string]attr.Value{"EMPTY": types.StringValue(""), "PASSWORD": types.StringValue("a \"b\" $c `d` \\ é\nf")}
	text, err := run(t, NewEnvFile(), types.MapValueMust(types.StringType, vars))
	if err != nil {
		t.Fatal(err)
	}
	back, err := run(t, NewParseEnvFile(), text)
	if err != nil {
		t.Fatal(err)
	}
	if want := types.MapValueMust(types.StringType, vars); !back.Equal(want) {
		t.Errorf("read back %v, want %v", back, want)
	}
}

func TestEnvFunctionErrorsNameTheArgument(t *testing.T) {
	badName := types.MapValueMust(types.StringType, map[string]attr.Value{"1X": types.StringValue("")})
	_, err := run(t, NewEnvFile(), badName)
	if err == nil || err.FunctionArgument == nil || !strings.Contains(err.Text, `variable "1X"`) {
		t.Errorf("env_file: error %v, want one on the argument that names the variable", err)
	}
	_, err = run(t, NewParseEnvFile(), types.StringValue("A=1\nsecret words\n"))
	if err == nil || err.FunctionArgument == nil || !strings.Contains(err.Text, "line 2") || strings.Contains(err.Text, "secret") {
		t.Errorf("parse_env_file: error %v, want one on the argument that names the line and not its content", err)
	}
}
