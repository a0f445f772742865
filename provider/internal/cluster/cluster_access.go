package cluster

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework-validators/mapvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/setvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/cluster/securitygroup"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

// The values of debug_access.
const (
	debugAccessNone     = "none"
	debugAccessEndpoint = "instance-connect-endpoint"
)

// maxAdditionalGroups is the number of security groups that a node can have besides its
// own: AWS allows five per network interface (VPC user guide, "Amazon VPC quotas").
const maxAdditionalGroups = 4

func ingressAttribute() schema.Attribute {
	return schema.MapNestedAttribute{Optional: true,
		MarkdownDescription: "Sources that may connect to what a role opens to the internet: TCP 80 and 443 of `openresty-lb`, and UDP 51820 of `wireguard`. " +
			"By role, such as `{ openresty-lb = { prefix_list_ids = [\"pl-4fa04526\"] } }`. A role that is missing is open to all addresses. " +
			"A security group has at most 60 rules by default. A prefix list counts as its maximum number of entries, for each of the ports: " +
			"CloudFront's counts as 55, so the edge needs a quota of 110 or more.",
		Validators: []validator.Map{mapvalidator.KeysAre(stringvalidator.OneOf(internetRoles()...))},
		NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
			"cidrs": schema.SetAttribute{Optional: true, ElementType: types.StringType,
				MarkdownDescription: "IPv4 and IPv6 ranges, such as `203.0.113.0/24`. An empty set allows nobody.",
				Validators:          []validator.Set{setvalidator.ValueStringsAre(sourceRange{})}},
			"prefix_list_ids": schema.SetAttribute{Optional: true, ElementType: types.StringType,
				MarkdownDescription: "Ids of prefix lists, of your own or of AWS.",
				Validators:          []validator.Set{setvalidator.ValueStringsAre(idOf("prefix list", "pl-"))}},
		}}}
}

func additionalGroupsAttribute() schema.Attribute {
	return schema.MapAttribute{Optional: true, ElementType: types.SetType{ElemType: types.StringType},
		MarkdownDescription: "Ids of further security groups of the nodes, by role: at most four, since AWS allows five per network interface. They are attached to running nodes, and their rules are never changed.",
		Validators: []validator.Map{mapvalidator.KeysAre(roleValidator()),
			mapvalidator.ValueSetsAre(setvalidator.SizeAtMost(maxAdditionalGroups), setvalidator.ValueStringsAre(idOf("security group", "sg-")))}}
}

func debugAccessAttribute() schema.Attribute {
	return schema.StringAttribute{Optional: true, Computed: true, Default: stringdefault.StaticString(debugAccessNone),
		MarkdownDescription: "A way to the nodes' sshd without the VPN: `none`, or `instance-connect-endpoint` for an EC2 Instance Connect Endpoint. " +
			"AWS then tunnels SSH for IAM principals that may call `ec2-instance-connect:OpenTunnel`; the nodes need a `key_name` to log in with. " +
			"AWS allows one endpoint per VPC, and by default five per region. It costs nothing apart from traffic between zones. Default: `none`.",
		Validators: []validator.String{stringvalidator.OneOf(debugAccessNone, debugAccessEndpoint)}}
}

// internetRoles returns the roles that open ports to the internet.
func internetRoles() []string {
	var roles []string
	for _, role := range model.Roles() {
		for _, s := range model.ServicesOf(role) {
			opens := func(p model.Port) bool { return slices.Contains(p.From, model.FromInternet) }
			if slices.ContainsFunc(s.Ports, opens) && !slices.Contains(roles, string(role)) {
				roles = append(roles, string(role))
			}
		}
	}
	return roles
}

func idOf(what, prefix string) validator.String {
	return stringvalidator.RegexMatches(regexp.MustCompile(`^`+prefix+`[0-9a-f]+$`), "must be the id of a "+what+", such as "+prefix+"0123456789abcdef0")
}

// sourceRange validates an IPv4 or IPv6 range in the form in which EC2 returns it.
type sourceRange struct{}

func (sourceRange) Description(context.Context) string {
	return "an IPv4 or IPv6 range such as 203.0.113.0/24 or 2001:db8::/48"
}

func (v sourceRange) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

func (v sourceRange) ValidateString(ctx context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	if req.ConfigValue.IsNull() || req.ConfigValue.IsUnknown() {
		return
	}
	text := req.ConfigValue.ValueString()
	switch p, err := netip.ParsePrefix(text); {
	case err != nil || p.Addr().Is4In6():
		resp.Diagnostics.AddAttributeError(req.Path, "Invalid range", fmt.Sprintf("%q is not %s.", text, v.Description(ctx)))
	case p.Masked().String() != text:
		resp.Diagnostics.AddAttributeError(req.Path, "Invalid range", fmt.Sprintf("%q is not the form in which AWS returns this range; use %s.", text, p.Masked()))
	}
}

// validateIngress refuses a role without any source, which could mean all or nobody.
func validateIngress(ctx context.Context, req resource.ValidateConfigRequest, diags *diag.Diagnostics) {
	var ingress types.Map
	diags.Append(req.Config.GetAttribute(ctx, path.Root("ingress"), &ingress)...)
	for role, value := range ingress.Elements() {
		object, ok := value.(types.Object)
		if ok && !object.IsUnknown() && isNull(object, "cidrs") && isNull(object, "prefix_list_ids") {
			diags.AddAttributeError(path.Root("ingress").AtMapKey(role), "No source",
				"Set cidrs or prefix_list_ids, or remove the role to allow all addresses. With cidrs = [], nobody may connect.")
		}
	}
}

func isNull(object types.Object, name string) bool {
	value, exists := object.Attributes()[name]
	return !exists || value.IsNull()
}

// access returns the access to nodes that the model describes. It leaves out what is
// unknown.
func (m clusterModel) access() clusterspec.Access {
	a := clusterspec.Access{Internet: map[model.Role]clusterspec.Sources{}, AdditionalGroups: setsByRole(m.AdditionalGroups),
		ConnectEndpoint: m.DebugAccess.ValueString() == debugAccessEndpoint}
	for role, value := range m.Ingress.Elements() {
		if object, ok := value.(types.Object); ok && !object.IsUnknown() {
			a.Internet[model.Role(role)] = clusterspec.Sources{CIDRs: knownStrings(object.Attributes()["cidrs"]), PrefixLists: knownStrings(object.Attributes()["prefix_list_ids"])}
		}
	}
	return a
}

// setsByRole returns the known elements of a map of sets, by role.
func setsByRole(m types.Map) map[model.Role][]string {
	byRole := map[model.Role][]string{}
	for role, set := range m.Elements() {
		if known := knownStrings(set); len(known) > 0 {
			byRole[model.Role(role)] = known
		}
	}
	return byRole
}

// knownStrings returns the known elements of a set, sorted.
func knownStrings(set attr.Value) []string {
	var known []string
	if set, ok := set.(types.Set); ok {
		for _, element := range set.Elements() {
			if s, ok := element.(types.String); ok && !s.IsUnknown() {
				known = append(known, s.ValueString())
			}
		}
	}
	slices.Sort(known)
	return known
}

// debugAccessFromAWS returns debug_access for a state that does not have it yet.
func (op *operation) debugAccessFromAWS() types.String {
	if op.groups.ID(securitygroup.EndpointRole) != "" {
		return types.StringValue(debugAccessEndpoint)
	}
	return types.StringValue(debugAccessNone)
}

// groupsOf returns the ids of the security groups of a node.
func (op *operation) groupsOf(n clusterspec.Node) []string {
	return append([]string{op.groups.ID(n.Role)}, op.spec.Access.AdditionalGroups[n.Role]...)
}

// inGroups reports whether the instance is in those security groups and no others.
func (i instance) inGroups(ids []string) bool {
	if len(i.NetworkInterfaces) == 0 {
		return false
	}
	actual := i.NetworkInterfaces[0].Groups
	for _, g := range actual {
		if !slices.Contains(ids, aws.ToString(g.GroupId)) {
			return false
		}
	}
	return len(actual) == len(ids)
}

// planAccess checks, as far as it is known in the plan, what changed attributes refer
// to: security groups, prefix lists and the VPC's endpoint.
func (r *clusterResource) planAccess(ctx context.Context, plan, state clusterModel, diags *diag.Diagnostics) {
	same := plan.Ingress.Equal(state.Ingress) && plan.AdditionalGroups.Equal(state.AdditionalGroups) && plan.DebugAccess.Equal(state.DebugAccess)
	if same || plan.VPCID.IsUnknown() || plan.Name.IsUnknown() || diags.HasError() {
		return
	}
	op := r.newOperation(plan)
	err := base.Parallel(ctx, op.checkAdditionalGroups, op.checkPrefixLists, op.endpoint.Observe)
	if err == nil {
		err = op.endpoint.Check()
	}
	base.AddError(diags, "plan", clusterTypeName, plan.Name.ValueString(), err)
}

// checkAdditionalGroups checks that the additional security groups exist in the
// cluster's VPC.
func (op *operation) checkAdditionalGroups(ctx context.Context) error {
	var ids []string
	for _, groups := range op.spec.Access.AdditionalGroups {
		ids = append(ids, groups...)
	}
	if len(ids) == 0 {
		return nil
	}
	vpcs := map[string]string{}
	pages := ec2.NewDescribeSecurityGroupsPaginator(op.Client.EC2, &ec2.DescribeSecurityGroupsInput{Filters: []ec2types.Filter{base.Filter("group-id", ids...)}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, g := range page.SecurityGroups {
			vpcs[aws.ToString(g.GroupId)] = aws.ToString(g.VpcId)
		}
	}
	for role, groups := range op.spec.Access.AdditionalGroups {
		for _, id := range groups {
			at := path.Root("additional_security_group_ids").AtMapKey(string(role))
			switch vpc, exists := vpcs[id]; {
			case !exists:
				return base.AtAttribute(at, fmt.Errorf("security group %s does not exist in %s", id, op.Client.Region))
			case vpc != op.spec.VPCID:
				return base.AtAttribute(at, fmt.Errorf("security group %s is in %s, not in the cluster's %s; choose a group of that VPC", id, vpc, op.spec.VPCID))
			}
		}
	}
	return nil
}

// checkPrefixLists checks that the prefix lists in ingress exist.
func (op *operation) checkPrefixLists(ctx context.Context) error {
	var ids []string
	for _, sources := range op.spec.Access.Internet {
		ids = append(ids, sources.PrefixLists...)
	}
	if len(ids) == 0 {
		return nil
	}
	out, err := op.Client.EC2.DescribeManagedPrefixLists(ctx, &ec2.DescribeManagedPrefixListsInput{Filters: []ec2types.Filter{base.Filter("prefix-list-id", ids...)}})
	if err != nil {
		return err
	}
	for role, sources := range op.spec.Access.Internet {
		for _, id := range sources.PrefixLists {
			if !slices.ContainsFunc(out.PrefixLists, func(l ec2types.ManagedPrefixList) bool { return aws.ToString(l.PrefixListId) == id }) {
				return base.AtAttribute(path.Root("ingress").AtMapKey(string(role)).AtName("prefix_list_ids"),
					fmt.Errorf("prefix list %s does not exist in %s, or is not shared with this account", id, op.Client.Region))
			}
		}
	}
	return nil
}
