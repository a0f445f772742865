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
	KeyName               types.String         `tfsdk:"key_name"`
	RootVolumeGiB         types.Int64          `tfsdk:"root_volume_gib"`
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
	ImageID      types.String `tfsdk:"image_id"`
	EIPID        types.String `tfsdk:"eip_id"`
	VolumeID     types.String `tfsdk:"volume_id"`
}

// sameInstance says whether both can be the same EC2 instance; if not, the node
// is replaced.
func (n nodeModel) sameInstance(o nodeModel) bool {
	return n.Role.Equal(o.Role) && n.InstanceType.Equal(o.InstanceType) && n.SubnetID.Equal(o.SubnetID) &&
		n.Address.Equal(o.Address) && n.ImageID.Equal(o.ImageID)
}

func (n nodeModel) known() bool {
	for _, s := range []types.String{n.Role, n.InstanceType, n.SubnetID, n.Address, n.ImageID, n.EIPID, n.VolumeID} {
		if s.IsUnknown() {
			return false
		}
	}
	return true
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

// spec is what a clusterModel asks for, in Go's own types.
type spec struct {
	Name, VPCID, VPNCIDR  string
	Buckets               buckets
	Nodes                 map[string]nodeSpec
	Settings              map[string]string
	Profiles              map[model.Role]string // given by the customer
	KeyName               string
	RootVolumeGiB         int32
	TerminationProtection bool
	ReadyTimeout          time.Duration
	OnReadyTimeout        string
	TagsAll               types.Map
}

type buckets struct{ Uploads, PGDump, WALG, Logs string }

type nodeSpec struct {
	Name                            string
	Role                            model.Role
	InstanceType, SubnetID, Address string
	ImageID, EIPID, VolumeID        string
}

func (m clusterModel) spec() spec {
	settings, _ := base.TagMap(m.Settings)
	profiles, _ := base.TagMap(m.InstanceProfiles)
	readyTimeout, _ := time.ParseDuration(m.ReadyTimeout.ValueString()) // validated
	s := spec{
		Name: m.Name.ValueString(), VPCID: m.VPCID.ValueString(), VPNCIDR: m.VPNCIDR.ValueString(),
		Nodes: map[string]nodeSpec{}, Settings: settings, Profiles: map[model.Role]string{},
		KeyName: m.KeyName.ValueString(), RootVolumeGiB: int32(m.RootVolumeGiB.ValueInt64()),
		TerminationProtection: m.TerminationProtection.ValueBool(),
		ReadyTimeout:          readyTimeout, OnReadyTimeout: m.OnReadyTimeout.ValueString(),
		TagsAll: m.TagsAll,
	}
	if b := m.Buckets; b != nil { // absent just after an import
		s.Buckets = buckets{Uploads: b.Uploads.ValueString(), PGDump: b.PGDump.ValueString(), WALG: b.WALG.ValueString(), Logs: b.Logs.ValueString()}
	}
	for role, name := range profiles {
		s.Profiles[model.Role(role)] = name
	}
	for name, n := range m.Nodes {
		s.Nodes[name] = nodeSpec{Name: name, Role: model.Role(n.Role.ValueString()), InstanceType: n.InstanceType.ValueString(),
			SubnetID: n.SubnetID.ValueString(), Address: n.Address.ValueString(), ImageID: n.ImageID.ValueString(),
			EIPID: n.EIPID.ValueString(), VolumeID: n.VolumeID.ValueString()}
	}
	return s
}

// nodes returns the nodes by name.
func (s spec) nodes() []nodeSpec {
	var nodes []nodeSpec
	for _, name := range slices.Sorted(maps.Keys(s.Nodes)) {
		nodes = append(nodes, s.Nodes[name])
	}
	return nodes
}

// roles returns the roles that have a node, in the order of model.Roles.
func (s spec) roles() []model.Role {
	var roles []model.Role
	for _, role := range model.Roles() {
		if len(s.nodesOf(role)) > 0 {
			roles = append(roles, role)
		}
	}
	return roles
}

func (s spec) nodesOf(role model.Role) []nodeSpec {
	var of []nodeSpec
	for _, n := range s.nodes() {
		if n.Role == role {
			of = append(of, n)
		}
	}
	return of
}

// nullUnknown nulls what is not known yet, and the write-only attribute.
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

// fromWork notes what converge left: all of it, or as far as it came.
func (m *clusterModel) fromWork(w *work, err error) {
	m.nullUnknown()
	m.Instances = w.seen.instancesValue()
	m.VPN = newVPN(w.vpnEndpoint(), w.vpnPublicKey)
	m.Status = types.StringValue(w.status(err))
}

// keepPlanned keeps what the plan promised of instances and status, if a node was
// lost between plan and apply and had to be launched anew: Terraform takes any
// other outcome for a bug of the provider. The next refresh shows what is.
func (m *clusterModel) keepPlanned(planned clusterModel, diags *diag.Diagnostics) {
	instances := maps.Clone(m.Instances.Elements())
	var other []string
	for node, value := range planned.Instances.Elements() {
		if is, exists := instances[node]; exists && !value.IsUnknown() && !value.Equal(is) {
			instances[node] = value
			other = append(other, node)
		}
	}
	if len(other) == 0 {
		return
	}
	slices.Sort(other)
	m.Instances = types.MapValueMust(instanceType, instances)
	if !planned.Status.IsUnknown() {
		m.Status = planned.Status
	}
	diags.AddAttributeWarning(path.Root("instances"), fmt.Sprintf("%s %s: lost since the plan: %s", kindCluster, m.Name.ValueString(), strings.Join(other, ", ")),
		"The instances that the plan showed had gone before it was applied, and were launched anew. "+
			"The state still has the old ids; the next plan or refresh shows the new ones.")
}

// fromAWS notes the cluster as it is: a node that is gone is not in nodes, so
// that the plan shows it coming back; what attributes cannot show is in drift.
func (m *clusterModel) fromAWS(ctx context.Context, w *work, defaultTags map[string]string) {
	m.ID = m.Name
	m.VPCID = types.StringValue(w.seen.vpcID)
	nodes := map[string]nodeModel{}
	for name, instance := range w.seen.live {
		nodes[name] = w.nodeFromAWS(instance)
	}
	m.Nodes = nodes
	m.Instances = w.seen.instancesValue()
	m.Drift = base.Drift(w.drift(ctx))
	m.Tags, m.TagsAll = base.TagsFromAWS(w.seen.commonTags(), defaultTags, m.Tags)
	if m.VPN.IsNull() {
		m.VPN = newVPN(w.vpnEndpoint(), w.vpnPublicKey)
	}
}

// nodeFromAWS describes a node as its instance is.
func (w *work) nodeFromAWS(i instance) nodeModel {
	n := nodeModel{
		Role:         types.StringValue(string(i.role)),
		InstanceType: types.StringValue(string(i.InstanceType)),
		SubnetID:     types.StringPointerValue(i.SubnetId),
		Address:      types.StringPointerValue(i.PrivateIpAddress),
		ImageID:      types.StringPointerValue(i.ImageId),
		EIPID:        types.StringNull(),
		VolumeID:     types.StringNull(),
	}
	for _, a := range w.seen.addresses {
		if aws.ToString(a.InstanceId) == i.id() {
			n.EIPID = types.StringPointerValue(a.AllocationId)
		}
	}
	if id := i.volumeAt(dataDevice); id != "" {
		n.VolumeID = types.StringValue(id)
	}
	return n
}

// givenCredentials reads credentials_wo, which is in the configuration alone.
func givenCredentials(ctx context.Context, config tfsdk.Config, diags *diag.Diagnostics) map[model.Role]map[string]string {
	var given map[string]map[string]string
	diags.Append(config.GetAttribute(ctx, path.Root("credentials_wo"), &given)...)
	byRole := map[model.Role]map[string]string{}
	for role, secrets := range given {
		byRole[model.Role(role)] = secrets
	}
	return byRole
}
