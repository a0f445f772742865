package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

type clusterModel struct {
	ID                    types.String         `tfsdk:"id"`
	Name                  types.String         `tfsdk:"name"`
	VPCID                 types.String         `tfsdk:"vpc_id"`
	VPNCIDR               types.String         `tfsdk:"vpn_cidr"`
	Buckets               *bucketsModel        `tfsdk:"buckets"`
	Nodes                 map[string]nodeModel `tfsdk:"nodes"`
	Settings              types.Map            `tfsdk:"settings"`
	Credentials           types.Map            `tfsdk:"credentials_wo"`
	CredentialsVersion    types.Int64          `tfsdk:"credentials_wo_version"`
	InternalVersion       types.Int64          `tfsdk:"internal_credentials_version"`
	InstanceProfiles      types.Map            `tfsdk:"instance_profiles"`
	IAMPath               types.String         `tfsdk:"iam_path"`
	PermissionsBoundary   types.String         `tfsdk:"permissions_boundary"`
	AdditionalPolicies    types.Map            `tfsdk:"additional_policy_arns"`
	ExclusivePolicies     types.Bool           `tfsdk:"exclusive_policies"`
	Ingress               types.Map            `tfsdk:"ingress"`
	AdditionalGroups      types.Map            `tfsdk:"additional_security_group_ids"`
	DebugAccess           types.String         `tfsdk:"debug_access"`
	KeyName               types.String         `tfsdk:"key_name"`
	RootVolumeGiB         types.Int64          `tfsdk:"root_volume_gib"`
	KMSKeyID              types.String         `tfsdk:"kms_key_id"`
	TerminationProtection types.Bool           `tfsdk:"termination_protection"`
	ReadyTimeout          types.String         `tfsdk:"ready_timeout"`
	OnReadyTimeout        types.String         `tfsdk:"on_ready_timeout"`
	Status                types.String         `tfsdk:"status"`
	Instances             types.Map            `tfsdk:"instances"`
	VPN                   types.Object         `tfsdk:"vpn"`
	Drift                 types.Set            `tfsdk:"drift"`
	Tags                  types.Map            `tfsdk:"tags"`
	TagsAll               types.Map            `tfsdk:"tags_all"`
	Timeouts              timeouts.Value       `tfsdk:"timeouts"`
}

type bucketsModel struct {
	Uploads types.String `tfsdk:"uploads"`
	PGDump  types.String `tfsdk:"pgdump"`
	WALG    types.String `tfsdk:"walg"`
	Logs    types.String `tfsdk:"logs"`
}

type nodeModel struct {
	Role         types.String `tfsdk:"role"`
	InstanceType types.String `tfsdk:"instance_type"`
	SubnetID     types.String `tfsdk:"subnet_id"`
	Address      types.String `tfsdk:"address"`
	IPv6Address  types.String `tfsdk:"ipv6_address"`
	ImageID      types.String `tfsdk:"image_id"`
	EIPID        types.String `tfsdk:"eip_id"`
	VolumeID     types.String `tfsdk:"volume_id"`
	Tags         types.Map    `tfsdk:"tags"`
	Monitoring   types.Bool   `tfsdk:"monitoring"`
	CPUCredits   types.String `tfsdk:"cpu_credits"`
	Spot         types.Bool   `tfsdk:"spot"`
	Tenancy      types.String `tfsdk:"tenancy"`
	Group        types.String `tfsdk:"placement_group"`
	RootIOPS     types.Int64  `tfsdk:"root_volume_iops"`
	RootMiBps    types.Int64  `tfsdk:"root_volume_throughput"`
}

// sameInstance reports whether one EC2 instance can be both nodes; if not, the
// node is replaced.
func (n nodeModel) sameInstance(o nodeModel) bool {
	if n.Spot.IsUnknown() || n.Spot.ValueBool() != o.Spot.ValueBool() || n.Spot.ValueBool() && !n.sameHardware(o) {
		return false
	}
	return n.Role.Equal(o.Role) && n.SubnetID.Equal(o.SubnetID) && n.Address.Equal(o.Address) && n.ImageID.Equal(o.ImageID)
}

// sameHardware reports whether both nodes run on the same kind of hardware.
func (n nodeModel) sameHardware(o nodeModel) bool {
	return n.InstanceType.Equal(o.InstanceType) && n.Tenancy.Equal(o.Tenancy) && n.Group.Equal(o.Group)
}

// staysRunning reports whether the one EC2 instance does not have to be stopped to
// become the other node.
func (n nodeModel) staysRunning(o nodeModel) bool {
	return n.sameInstance(o) && n.sameHardware(o) && n.IPv6Address.Equal(o.IPv6Address) && (n.VolumeID.Equal(o.VolumeID) || o.VolumeID.IsNull())
}

func (n nodeModel) known() bool {
	for _, s := range []types.String{n.Role, n.InstanceType, n.SubnetID, n.Address, n.IPv6Address, n.ImageID, n.EIPID, n.VolumeID, n.CPUCredits, n.Tenancy, n.Group} {
		if s.IsUnknown() {
			return false
		}
	}
	return !n.Monitoring.IsUnknown() && !n.Spot.IsUnknown() && !n.RootIOPS.IsUnknown() && !n.RootMiBps.IsUnknown()
}

var instanceAttrTypes = map[string]attr.Type{
	"instance_id":       types.StringType,
	"availability_zone": types.StringType,
	"public_ip":         types.StringType,
}

var instanceType = types.ObjectType{AttrTypes: instanceAttrTypes}

var vpnAttrTypes = map[string]attr.Type{"endpoint": types.StringType, "public_key": types.StringType}

func newVPN(endpoint, publicKey string) types.Object {
	orNull := func(s string) types.String {
		if s == "" {
			return types.StringNull()
		}
		return types.StringValue(s)
	}
	return types.ObjectValueMust(vpnAttrTypes, map[string]attr.Value{"endpoint": orNull(endpoint), "public_key": orNull(publicKey)})
}

// publicKeyOf returns the public key in the attribute vpn, or "".
func publicKeyOf(vpn types.Object) string {
	key, _ := vpn.Attributes()["public_key"].(basetypes.StringValue)
	return key.ValueString()
}

// spec returns the specification that the model holds.
func (m clusterModel) spec() *clusterspec.Spec {
	settings, _ := base.TagMap(m.Settings)
	profiles, _ := base.TagMap(m.InstanceProfiles)
	readyTimeout, _ := time.ParseDuration(m.ReadyTimeout.ValueString()) // validated
	s := &clusterspec.Spec{
		Name: m.Name.ValueString(), VPCID: m.VPCID.ValueString(), VPNCIDR: m.VPNCIDR.ValueString(),
		Nodes: map[string]clusterspec.Node{}, Settings: settings, InstanceProfiles: map[model.Role]string{},
		KeyName: m.KeyName.ValueString(), RootVolumeGiB: int32(m.RootVolumeGiB.ValueInt64()), KMSKeyID: m.KMSKeyID.ValueString(),
		TerminationProtection: m.TerminationProtection.ValueBool(),
		ReadyTimeout:          readyTimeout, OnReadyTimeout: m.OnReadyTimeout.ValueString(),
		TagsAll: m.TagsAll,
		IAM: clusterspec.IAM{Path: m.IAMPath.ValueString(), PermissionsBoundary: m.PermissionsBoundary.ValueString(),
			AdditionalPolicies: setsByRole(m.AdditionalPolicies), ExclusivePolicies: m.ExclusivePolicies.ValueBool()},
		Access: m.access(),
	}
	if b := m.Buckets; b != nil { // nil after an import
		s.Buckets = clusterspec.Buckets{Uploads: b.Uploads.ValueString(), PGDump: b.PGDump.ValueString(), WALG: b.WALG.ValueString(), Logs: b.Logs.ValueString()}
	}
	for role, name := range profiles {
		s.InstanceProfiles[model.Role(role)] = name
	}
	for name, n := range m.Nodes {
		tags, _ := base.TagMap(n.Tags)
		s.Nodes[name] = clusterspec.Node{Name: name, Role: model.Role(n.Role.ValueString()), InstanceType: n.InstanceType.ValueString(),
			SubnetID: n.SubnetID.ValueString(), Address: n.Address.ValueString(), IPv6Address: n.IPv6Address.ValueString(), ImageID: n.ImageID.ValueString(),
			EIPID: n.EIPID.ValueString(), VolumeID: n.VolumeID.ValueString(), Tags: tags,
			Monitoring: n.Monitoring.ValueBool(), CPUCredits: n.CPUCredits.ValueString(), Spot: n.Spot.ValueBool(),
			Tenancy: n.Tenancy.ValueString(), PlacementGroup: n.Group.ValueString(),
			RootVolumeIOPS: int32(n.RootIOPS.ValueInt64()), RootVolumeThroughput: int32(n.RootMiBps.ValueInt64())}
	}
	return s
}

// nullUnknown sets unknown attributes and the write-only one to null.
func (m *clusterModel) nullUnknown() {
	m.ID = m.Name
	m.Credentials = types.MapNull(types.MapType{ElemType: types.StringType})
	m.Status = types.StringValue(statusIncomplete)
	if m.Instances.IsUnknown() {
		m.Instances = types.MapNull(instanceType)
	}
	if m.VPN.IsUnknown() {
		m.VPN = types.ObjectNull(vpnAttrTypes)
	}
}

// fromOperation sets the computed attributes after converge, which may have
// failed half-way.
func (m *clusterModel) fromOperation(op *operation, err error) {
	m.nullUnknown()
	m.Instances = op.actual.instancesValue()
	m.VPN = newVPN(op.vpnEndpoint(), op.objects.VPNPublicKey)
	m.Status = types.StringValue(op.status(err))
}

// keepPlanned sets instances and status to their planned values if a node was
// lost between plan and apply and had to be launched again: Terraform treats
// any other result as a bug of the provider. The next refresh corrects them.
func (m *clusterModel) keepPlanned(planned clusterModel, diags *diag.Diagnostics) {
	instances := maps.Clone(m.Instances.Elements())
	var lost []string
	for node, value := range planned.Instances.Elements() {
		if actual, exists := instances[node]; exists && !value.IsUnknown() && !value.Equal(actual) {
			instances[node] = value
			lost = append(lost, node)
		}
	}
	if len(lost) == 0 {
		return
	}
	slices.Sort(lost)
	m.Instances = types.MapValueMust(instanceType, instances)
	if !planned.Status.IsUnknown() {
		m.Status = planned.Status
	}
	diags.AddAttributeWarning(path.Root("instances"), fmt.Sprintf("%s %s: lost since the plan: %s", clusterTypeName, m.Name.ValueString(), strings.Join(lost, ", ")),
		"These nodes' instances were terminated after the plan was made, and have been launched again. "+
			"The state still has the old instance ids; the next plan or refresh shows the new ones.")
}

// fromAWS sets the attributes to what was observed. A node without an instance
// is left out of nodes, so that the plan shows its creation; differences that no
// attribute shows are listed in drift, unless the cluster was only imported: what it
// should be is not in its state yet.
func (m *clusterModel) fromAWS(ctx context.Context, op *operation, settings base.TagSettings) {
	m.ID = m.Name
	m.VPCID = types.StringValue(op.actual.vpcID)
	nodes := map[string]nodeModel{}
	for name, instance := range op.actual.live {
		n := op.nodeFromAWS(instance, m.Nodes[name])
		n.Tags = op.nodeTagsFromAWS(instance, m.Nodes[name].Tags)
		nodes[name] = n
	}
	m.Nodes = nodes
	m.Instances = op.actual.instancesValue()
	m.Drift = base.NoDrift()
	if m.Buckets != nil {
		m.Drift = base.Drift(op.drift(ctx))
	}
	m.Tags, m.TagsAll = settings.TagsFromAWS(op.commonTags(), m.Tags, m.TagsAll)
	if m.DebugAccess.IsNull() {
		m.DebugAccess = op.debugAccessFromAWS()
	}
	if m.VPN.IsNull() {
		m.VPN = newVPN(op.vpnEndpoint(), op.objects.VPNPublicKey)
	}
}

// nodeFromAWS returns a node as its instance is configured. Options that were not set
// and are off stay null.
func (op *operation) nodeFromAWS(i instance, before nodeModel) nodeModel {
	n := nodeModel{
		Role:         types.StringValue(string(i.role)),
		InstanceType: types.StringValue(string(i.InstanceType)),
		SubnetID:     types.StringPointerValue(i.SubnetId),
		Address:      types.StringPointerValue(i.PrivateIpAddress),
		IPv6Address:  i.ipv6FromAWS(before.IPv6Address),
		ImageID:      types.StringPointerValue(i.ImageId),
		EIPID:        types.StringNull(),
		VolumeID:     types.StringNull(),
		Monitoring:   boolFromAWS(i.isMonitored(), before.Monitoring),
		CPUCredits:   before.CPUCredits,
		Spot:         boolFromAWS(i.isSpot(), before.Spot),
		Tenancy:      op.tenancyFromAWS(i, before.Tenancy),
		Group:        types.StringNull(),
		RootIOPS:     before.RootIOPS,
		RootMiBps:    before.RootMiBps,
	}
	if group := i.placementGroup(); group != "" {
		n.Group = types.StringValue(group)
	}
	if actual, observed := op.actual.roots[i.id()]; observed && !before.RootIOPS.IsNull() {
		n.RootIOPS = types.Int64Value(int64(actual.iops))
	}
	if actual, observed := op.actual.roots[i.id()]; observed && !before.RootMiBps.IsNull() {
		n.RootMiBps = types.Int64Value(int64(actual.throughputMiBps))
	}
	if credits := op.actual.credits[i.id()]; credits != "" && !before.CPUCredits.IsNull() {
		n.CPUCredits = types.StringValue(credits)
	}
	for _, a := range op.actual.addresses {
		if aws.ToString(a.InstanceId) == i.id() {
			n.EIPID = types.StringPointerValue(a.AllocationId)
		}
	}
	if id := i.volumeAt(dataDevice); id != "" {
		n.VolumeID = types.StringValue(id)
	}
	return n
}

// boolFromAWS returns the value of an option, and null if it is off and was not set.
func boolFromAWS(actual bool, before types.Bool) types.Bool {
	if actual == before.ValueBool() {
		return before
	}
	return types.BoolValue(actual)
}

// configuredCredentials reads credentials_wo, which only the configuration has. A secret
// that is null is not set.
func configuredCredentials(ctx context.Context, config tfsdk.Config, diags *diag.Diagnostics) map[model.Role]map[string]string {
	var configured map[string]map[string]types.String
	diags.Append(config.GetAttribute(ctx, path.Root("credentials_wo"), &configured)...)
	byRole := map[model.Role]map[string]string{}
	for role, secrets := range configured {
		set := map[string]string{}
		for name, secret := range secrets {
			if !secret.IsNull() {
				set[name] = secret.ValueString()
			}
		}
		if len(set) > 0 {
			byRole[model.Role(role)] = set
		}
	}
	return byRole
}

// keepFormer keeps what a failed update may not have taken from running nodes yet: only
// the state says that it is the cluster's. The next refresh corrects it.
func (m *clusterModel) keepFormer(op *operation, state clusterModel) {
	for name, n := range m.Nodes {
		was, existed := state.Nodes[name]
		if i, lives := op.actual.live[name]; existed && lives && i.hasIPv6(was.IPv6Address.ValueString()) {
			n.IPv6Address = was.IPv6Address
		}
		if !was.RootIOPS.IsNull() {
			n.RootIOPS = was.RootIOPS
		}
		if !was.RootMiBps.IsNull() {
			n.RootMiBps = was.RootMiBps
		}
		m.Nodes[name] = n
	}
}
