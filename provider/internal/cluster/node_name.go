package cluster

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"

	model "github.com/xeroops/xeroops/internal/cluster"
)

// nodeName refuses names that mean another machine on every host: those of Debian's
// /etc/hosts, and numbers, which resolvers read as an IPv4 address (inet_aton(3)).
type nodeName struct{}

var isNumber = regexp.MustCompile(`^(\d+|0x[0-9a-f]+)$`)

func (nodeName) Description(context.Context) string {
	return "a host name of its own, not localhost, ip6-* or a number"
}

func (v nodeName) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

func (nodeName) ValidateString(_ context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	name := req.ConfigValue.ValueString()
	if name == "localhost" || strings.HasPrefix(name, "ip6-") || isNumber.MatchString(name) {
		resp.Diagnostics.AddAttributeError(req.Path, "Node name with another meaning",
			fmt.Sprintf("%q is the node's host name, and every host takes it for something else: the host itself, an IPv6 group or an IPv4 address; choose another name, such as app1.", name))
	}
}

// validateManagementName refuses the name management for other roles: all nodes have it
// as the name of the first management node.
func validateManagementName(nodes map[string]nodeModel, diags *diag.Diagnostics) {
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		role := nodes[name].Role
		if name == string(model.RoleManagement) && !role.IsUnknown() && role.ValueString() != name {
			diags.AddAttributeError(path.Root("nodes").AtMapKey(name), "Node name with another meaning",
				fmt.Sprintf("Every node calls the node of role management by the name management, and this node's role is %s; choose another name.", role.ValueString()))
		}
	}
}
