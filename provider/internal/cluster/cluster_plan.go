package cluster

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-framework/types"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/cluster/iamrole"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

// singletonRoles have at most one node: there is one registry, and the VPN range
// is routed to one gateway.
var singletonRoles = []model.Role{model.RoleManagement, model.RoleWireGuard}

// ValidateConfig checks what needs no call to AWS.
func (r *clusterResource) ValidateConfig(ctx context.Context, req resource.ValidateConfigRequest, resp *resource.ValidateConfigResponse) {
	validateIngress(ctx, req, &resp.Diagnostics)
	var nodes types.Map
	resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("nodes"), &nodes)...)
	if resp.Diagnostics.HasError() || nodes.IsUnknown() || nodes.IsNull() {
		return
	}
	known := map[string]nodeModel{}
	for name, value := range nodes.Elements() {
		object, ok := value.(types.Object)
		if !ok || object.IsUnknown() || object.IsNull() {
			continue
		}
		known[name] = nodeModel{Role: stringOf(object, "role"), Address: stringOf(object, "address"), IPv6Address: stringOf(object, "ipv6_address"),
			EIPID: stringOf(object, "eip_id"), VolumeID: stringOf(object, "volume_id"),
			InstanceType: stringOf(object, "instance_type"), CPUCredits: stringOf(object, "cpu_credits"), Spot: boolOf(object, "spot"),
			RootIOPS: intOf(object, "root_volume_iops"), RootMiBps: intOf(object, "root_volume_throughput")}
	}
	validateUnique(known, "address", func(n nodeModel) types.String { return n.Address }, &resp.Diagnostics)
	validateUnique(known, "ipv6_address", func(n nodeModel) types.String { return n.IPv6Address }, &resp.Diagnostics)
	validateIPv6Role(known, &resp.Diagnostics)
	validateUnique(known, "eip_id", func(n nodeModel) types.String { return n.EIPID }, &resp.Diagnostics)
	validateUnique(known, "volume_id", func(n nodeModel) types.String { return n.VolumeID }, &resp.Diagnostics)
	validateSingle(known, &resp.Diagnostics)
	validateManagementName(known, &resp.Diagnostics)
	validateOptions(known, &resp.Diagnostics)
	var rootGiB types.Int64
	resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("root_volume_gib"), &rootGiB)...)
	validateRootVolumes(known, rootGiB, &resp.Diagnostics)
	validateCredentials(ctx, req, &resp.Diagnostics)
	validateAdditionalPolicies(ctx, req, &resp.Diagnostics)
	var vpn types.String
	resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("vpn_cidr"), &vpn)...)
	validateOutsideVPN(known, vpn, &resp.Diagnostics)
}

func stringOf(object types.Object, name string) types.String {
	s, _ := object.Attributes()[name].(types.String)
	return s
}

func boolOf(object types.Object, name string) types.Bool {
	b, _ := object.Attributes()[name].(types.Bool)
	return b
}

func intOf(object types.Object, name string) types.Int64 {
	i, _ := object.Attributes()[name].(types.Int64)
	return i
}

func validateUnique(nodes map[string]nodeModel, attribute string, of func(nodeModel) types.String, diags *diag.Diagnostics) {
	taken := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		value := of(nodes[name]).ValueString()
		if value == "" {
			continue
		}
		if other, twice := taken[value]; twice {
			diags.AddAttributeError(path.Root("nodes").AtMapKey(name).AtName(attribute), "Duplicate value",
				fmt.Sprintf("Nodes %s and %s both have %s %s; choose a different value for one of them.", other, name, attribute, value))
		}
		taken[value] = name
	}
}

func validateSingle(nodes map[string]nodeModel, diags *diag.Diagnostics) {
	for _, role := range singletonRoles {
		first := ""
		for _, name := range slices.Sorted(maps.Keys(nodes)) {
			if nodes[name].Role.ValueString() != string(role) {
				continue
			}
			if first != "" {
				diags.AddAttributeError(path.Root("nodes").AtMapKey(name).AtName("role"), "Too many nodes of one role",
					fmt.Sprintf("A cluster has at most one %s node, and %s is one already; remove one of them.", role, first))
			}
			first = name
		}
	}
}

func validateOutsideVPN(nodes map[string]nodeModel, vpn types.String, diags *diag.Diagnostics) {
	cidr, err := netip.ParsePrefix(vpn.ValueString())
	if err != nil {
		return // unknown, or refused by the attribute's own validator
	}
	for name, n := range nodes {
		if address, err := netip.ParseAddr(n.Address.ValueString()); err == nil && cidr.Contains(address) {
			diags.AddAttributeError(path.Root("nodes").AtMapKey(name).AtName("address"), "Address within the VPN range",
				fmt.Sprintf("%s is in vpn_cidr (%s), the range of VPN clients; choose ranges that do not overlap.", address, cidr))
		}
	}
}

func validateCredentials(ctx context.Context, req resource.ValidateConfigRequest, diags *diag.Diagnostics) {
	var credentials types.Map
	diags.Append(req.Config.GetAttribute(ctx, path.Root("credentials_wo"), &credentials)...)
	for role := range credentials.Elements() {
		if _, err := model.ParseRole(role); err != nil {
			diags.AddAttributeError(path.Root("credentials_wo"), "Unknown role", err.Error()+".")
		}
	}
}

// validateAdditionalPolicies refuses policies for roles that are not managed.
func validateAdditionalPolicies(ctx context.Context, req resource.ValidateConfigRequest, diags *diag.Diagnostics) {
	var policies, profiles types.Map
	diags.Append(req.Config.GetAttribute(ctx, path.Root("additional_policy_arns"), &policies)...)
	diags.Append(req.Config.GetAttribute(ctx, path.Root("instance_profiles"), &profiles)...)
	for role := range policies.Elements() {
		if _, own := profiles.Elements()[role]; own {
			diags.AddAttributeError(path.Root("additional_policy_arns").AtMapKey(role), "Role with an instance profile of its own",
				fmt.Sprintf("instance_profiles has a profile for role %s, whose IAM role is not managed here; attach the policies to that IAM role instead.", role))
		}
	}
}

// ModifyPlan plans the computed attributes and checks the plan against AWS.
func (r *clusterResource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if r.ProviderData == nil {
		return
	}
	if !req.State.Raw.IsNull() {
		r.PlanAdoption(ctx, clusterTypeName, nil, req, resp)
	}
	if req.Plan.Raw.IsNull() {
		return
	}
	r.PlanTags(ctx, clusterTagRules, req, resp)
	if resp.Diagnostics.HasError() {
		return
	}
	if !convertible(ctx, req.Plan, &resp.Diagnostics) {
		return
	}
	var plan, state clusterModel
	resp.Diagnostics.Append(resp.Plan.Get(ctx, &plan)...)
	if req.State.Raw.IsNull() {
		r.checkPlan(ctx, plan, clusterModel{}, req, resp)
		return
	}
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	if resp.Diagnostics.HasError() {
		return
	}
	checkSameUploads(plan, state, &resp.Diagnostics)
	checkSamePath(plan, state, &resp.Diagnostics)
	plan.planComputed(state)
	resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("status"), plan.Status)...)
	resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("instances"), plan.Instances)...)
	resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("vpn"), plan.VPN)...)
	r.checkPlan(ctx, plan, state, req, resp)
}

// convertible reports whether nodes and buckets can be stored in a clusterModel,
// whose maps and structs cannot be unknown as a whole.
func convertible(ctx context.Context, plan tfsdk.Plan, diags *diag.Diagnostics) bool {
	var nodes types.Map
	var buckets types.Object
	diags.Append(plan.GetAttribute(ctx, path.Root("nodes"), &nodes)...)
	diags.Append(plan.GetAttribute(ctx, path.Root("buckets"), &buckets)...)
	if diags.HasError() || nodes.IsUnknown() || buckets.IsUnknown() {
		return false
	}
	for _, n := range nodes.Elements() {
		if n.IsUnknown() {
			return false
		}
	}
	return true
}

// checkSameUploads refuses another uploads bucket: running nodes use the old one,
// and the secrets in it, including the key of backups, would be generated again.
func checkSameUploads(plan, state clusterModel, diags *diag.Diagnostics) {
	if state.Buckets == nil || plan.Buckets == nil || plan.Buckets.Uploads.IsUnknown() || state.Buckets.Uploads.IsNull() || plan.Buckets.Uploads.Equal(state.Buckets.Uploads) {
		return
	}
	diags.AddAttributeError(path.Root("buckets").AtName("uploads"), "The uploads bucket cannot change",
		fmt.Sprintf("The cluster's secrets are in %s, and its nodes boot from there. Keep the bucket, or create another cluster with another name.", state.Buckets.Uploads.ValueString()))
}

// checkSamePath refuses another IAM path: roles cannot be moved, and their names
// are taken while nodes use them. An import does not know the path.
func checkSamePath(plan, state clusterModel, diags *diag.Diagnostics) {
	before, after := cmp.Or(state.IAMPath.ValueString(), "/"), cmp.Or(plan.IAMPath.ValueString(), "/")
	if state.Buckets == nil || plan.IAMPath.IsUnknown() || before == after {
		return
	}
	diags.AddAttributeError(path.Root("iam_path"), "The IAM path cannot change",
		fmt.Sprintf("The cluster's IAM roles are under %s, and IAM cannot move roles. Keep the path, or create another cluster with another name.", before))
}

// planComputed plans status, instances and vpn. What the change does not affect
// keeps its value, so that the plan shows only what is going to change.
func (m *clusterModel) planComputed(state clusterModel) {
	instances, same := map[string]attr.Value{}, len(m.Nodes) == len(state.Nodes)
	had := state.Instances.Elements()
	for name, n := range m.Nodes {
		before, existed := state.Nodes[name]
		instance, runs := had[name]
		switch {
		case existed && runs && n.sameInstance(before) && n.EIPID.Equal(before.EIPID):
			instances[name] = instance
			same = same && n.staysRunning(before)
		default:
			instances[name] = types.ObjectUnknown(instanceAttrTypes)
			same = false
		}
	}
	m.Instances = types.MapValueMust(instanceType, instances)
	m.Status, m.VPN = state.Status, state.VPN
	// A repair may change the status, such as that of a stopped node.
	if !same || state.Status.IsNull() || len(state.Drift.Elements()) > 0 || needsVerification(state.Status.ValueString(), m.OnReadyTimeout.ValueString()) {
		m.Status = types.StringUnknown()
	}
	lacksKey := publicKeyOf(state.VPN) == "" && len(gatewayEIPs(m.Nodes)) > 0
	if !sameGateway(m.Nodes, state.Nodes) || lacksKey || !m.InternalVersion.Equal(state.InternalVersion) || !m.CredentialsVersion.Equal(state.CredentialsVersion) {
		m.VPN = types.ObjectUnknown(vpnAttrTypes)
	}
}

// sameGateway reports whether the endpoint of the VPN stays the same.
func sameGateway(plan, state map[string]nodeModel) bool {
	return maps.EqualFunc(gatewayEIPs(plan), gatewayEIPs(state), func(a, b types.String) bool { return a.Equal(b) && !a.IsUnknown() })
}

// gatewayEIPs returns the Elastic IP of each node that is or may be a gateway, by
// node.
func gatewayEIPs(nodes map[string]nodeModel) map[string]types.String {
	of := map[string]types.String{}
	for name, n := range nodes {
		if n.Role.IsUnknown() || n.Role.ValueString() == string(model.RoleWireGuard) {
			of[name] = n.EIPID
		}
	}
	return of
}

// checkPlan checks the nodes to launch against their dependencies, as far as
// those are known.
func (r *clusterResource) checkPlan(ctx context.Context, plan, state clusterModel, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	diags := &resp.Diagnostics
	r.checkPolicies(plan, diags)
	r.planAccess(ctx, plan, state, diags)
	op := r.newOperation(plan)
	op.creating, op.toLaunch = state.Name.IsNull(), changedNodes(op.spec, plan, state)
	op.setState(state)
	if len(op.toLaunch) == 0 && !rootVolumesChange(plan, state) || plan.VPCID.IsUnknown() || plan.Name.IsUnknown() || diags.HasError() {
		return
	}
	err := op.observe(ctx, op.observeVPC, op.observeDependencies)
	if err == nil && op.creating {
		r.PlanAdoption(ctx, clusterTypeName, func(context.Context, string) (*base.Found, error) { return op.found(), nil }, req, resp)
	}
	if err == nil {
		err = op.checkLaunch(ctx, op.toLaunch)
	}
	if err == nil {
		err = op.checkRootVolumes()
	}
	base.AddError(diags, "plan", clusterTypeName, plan.Name.ValueString(), err)
	if op.creating && !diags.HasError() {
		r.PlanCache.Put(clusterTypeName, op.cacheKey(), op)
	}
}

// changedNodes returns the nodes to launch or restart according to a plan, as far as
// they are known.
func changedNodes(spec *clusterspec.Spec, plan, state clusterModel) []clusterspec.Node {
	var changed []clusterspec.Node
	for _, node := range spec.SortedNodes() {
		n := plan.Nodes[node.Name]
		if before, existed := state.Nodes[node.Name]; n.known() && (!existed || !n.staysRunning(before)) {
			changed = append(changed, node)
		}
	}
	return changed
}

// checkPolicies checks that the roles' policies are not too long for IAM.
func (r *clusterResource) checkPolicies(plan clusterModel, diags *diag.Diagnostics) {
	if _, known := base.TagMap(plan.InstanceProfiles); !known || plan.Name.IsUnknown() {
		return
	}
	base.AddError(diags, "plan", clusterTypeName, plan.Name.ValueString(), iamrole.CheckPolicies(plan.spec()))
}

type ipv4 struct{}

func (ipv4) Description(context.Context) string { return "an IPv4 address such as 10.0.2.10" }

func (v ipv4) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

func (v ipv4) ValidateString(ctx context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	if req.ConfigValue.IsNull() || req.ConfigValue.IsUnknown() {
		return
	}
	if a, err := netip.ParseAddr(req.ConfigValue.ValueString()); err != nil || !a.Is4() {
		resp.Diagnostics.AddAttributeError(req.Path, "Invalid address", fmt.Sprintf("%q is not %s.", req.ConfigValue.ValueString(), v.Description(ctx)))
	}
}
