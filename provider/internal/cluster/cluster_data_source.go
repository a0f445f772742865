package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/internal/awswait"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

type clusterDataSource struct {
	*base.ProviderData
}

// NewDataSource returns the data source xeroops_cluster: the current state of a
// cluster, as its nodes report it. With require_ready, a run fails if the cluster
// is not ready, which the resource itself must not do (docs/decisions/0006).
func NewDataSource() datasource.DataSource { return &clusterDataSource{} }

type clusterDataModel struct {
	Name          types.String             `tfsdk:"name"`
	UploadsBucket types.String             `tfsdk:"uploads_bucket"`
	RequireReady  types.Bool               `tfsdk:"require_ready"`
	Ready         types.Bool               `tfsdk:"ready"`
	Nodes         map[string]nodeDataModel `tfsdk:"nodes"`
	Endpoints     *endpointsDataModel      `tfsdk:"endpoints"`
}

type nodeDataModel struct {
	Role       types.String `tfsdk:"role"`
	Address    types.String `tfsdk:"address"`
	InstanceID types.String `tfsdk:"instance_id"`
	PublicIP   types.String `tfsdk:"public_ip"`
	State      types.String `tfsdk:"state"`
	BootState  types.String `tfsdk:"boot_state"`
	Error      types.String `tfsdk:"error"`
}

type endpointsDataModel struct {
	Edge []types.String `tfsdk:"edge"`
	VPN  types.String   `tfsdk:"vpn"`
}

func (d *clusterDataSource) Metadata(_ context.Context, _ datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = clusterTypeName
}

func (d *clusterDataSource) Configure(_ context.Context, req datasource.ConfigureRequest, resp *datasource.ConfigureResponse) {
	d.ProviderData = base.FromProvider(req.ProviderData, &resp.Diagnostics)
}

func (d *clusterDataSource) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	computed := func(description string) schema.StringAttribute {
		return schema.StringAttribute{Computed: true, MarkdownDescription: description}
	}
	resp.Schema = schema.Schema{
		MarkdownDescription: "The current state of a cluster: its nodes, the boot state that they report, and its endpoints.",
		Attributes: map[string]schema.Attribute{
			"name":           schema.StringAttribute{Required: true, MarkdownDescription: "Name of the cluster."},
			"uploads_bucket": schema.StringAttribute{Required: true, MarkdownDescription: "Bucket with the cluster's topology and boot reports."},
			"require_ready": schema.BoolAttribute{Optional: true,
				MarkdownDescription: "Fail unless every node has reported ready. Default: `false`."},
			"ready": schema.BoolAttribute{Computed: true, MarkdownDescription: "Whether every node is running and has reported ready."},
			"nodes": schema.MapNestedAttribute{Computed: true, MarkdownDescription: "Nodes by name.",
				NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
					"role":        computed("Role."),
					"address":     computed("Private address."),
					"instance_id": computed("Id of the EC2 instance."),
					"public_ip":   computed("Elastic IP address, if the node has one."),
					"state":       computed("State of the EC2 instance, such as `running`; `gone` without an instance."),
					"boot_state":  computed("`booting`, `ready` or `failed`; null without a boot report."),
					"error":       computed("Error that the node reports."),
				}}},
			"endpoints": schema.SingleNestedAttribute{Computed: true, MarkdownDescription: "Public endpoints of the cluster.",
				Attributes: map[string]schema.Attribute{
					"edge": schema.ListAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: "Public addresses of the edge (TCP 443 and 80)."},
					"vpn":  computed("Public address and port of the VPN gateway."),
				}},
		},
	}
}

func (d *clusterDataSource) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	var data clusterDataModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &data)...)
	if resp.Diagnostics.HasError() {
		return
	}
	name := data.Name.ValueString()
	q := statusQuery{observer: newObserver(d.ProviderData, name, data.UploadsBucket.ValueString()), nodes: map[string]clusterspec.Node{}}
	reports, err := q.run(d.ShareInRefresh(ctx))
	if err != nil {
		base.AddError(&resp.Diagnostics, "read", clusterTypeName, name, err)
		return
	}
	q.warnUnreadable(&resp.Diagnostics)
	data.fromQuery(&q, reports)
	resp.Diagnostics.Append(resp.State.Set(ctx, &data)...)
	if data.RequireReady.ValueBool() && !data.Ready.ValueBool() {
		resp.Diagnostics.AddError(fmt.Sprintf("Cluster %s is not ready", name),
			q.describeUnready(reports)+"\n\nThe next apply repairs the cluster and waits for it again.")
	}
}

// statusQuery reads the state of a cluster without its configuration.
type statusQuery struct {
	observer
	nodes       map[string]clusterspec.Node // those in the topology and those that exist; only role and address
	vpnEndpoint string                      // from the topology
}

// run observes the nodes and reads their reports.
func (q *statusQuery) run(ctx context.Context) ([]nodeReport, error) {
	var objects map[string]string
	list := func(ctx context.Context) (err error) {
		objects, err = q.listObjects(ctx)
		return err
	}
	if err := base.Parallel(ctx, q.observeInstances, q.observeAddresses, q.readTopology, list); err != nil {
		return nil, err
	}
	for _, i := range q.actual.live {
		if _, inTopology := q.nodes[i.node]; !inTopology {
			q.nodes[i.node] = clusterspec.Node{Name: i.node, Role: i.role, Address: aws.ToString(i.PrivateIpAddress)}
		}
	}
	nodes := (&clusterspec.Spec{Nodes: q.nodes}).SortedNodes()
	return q.readReportsOf(ctx, nodes, func(n clusterspec.Node) bool { return objects[q.layout().Report(n.Name)] != "" })
}

// listObjects returns the ETags of the cluster's objects by key.
func (q *statusQuery) listObjects(ctx context.Context) (map[string]string, error) {
	objects, _, err := q.Describe.Objects.Get(ctx, q.uploads+"/"+q.layout().Prefix())
	return objects, err
}

// knownTopology is the topology of a cluster that was read moments ago, in the
// provider's plan cache.
type knownTopology struct{ content, etag string }

const topologyCacheKind = "topology"

// keepTopology keeps the topology for the data source, unless it differs from what the
// state has or that is not known without a call.
func (op *operation) keepTopology() {
	vpc, known := op.Describe.VPCs.Shared(op.spec.VPCID)
	if !known {
		return
	}
	op.actual.vpcCIDR = aws.ToString(vpc.CidrBlock)
	if content, etag := op.objects.Topology(); etag != "" {
		op.PlanCache.Put(topologyCacheKind, op.uploads+"/"+op.layout().Topology(), knownTopology{content, etag})
	}
}

// topology returns the topology: that which the cluster's read kept, if it is still the
// one in S3, or else the object.
func (q *statusQuery) topology(ctx context.Context) (*model.Topology, error) {
	key := q.layout().Topology()
	value, recent := q.PlanCache.Take(topologyCacheKind, q.uploads+"/"+key)
	if known, ok := value.(knownTopology); ok && recent {
		objects, err := q.listObjects(ctx)
		if err != nil {
			return nil, err
		}
		topology := &model.Topology{}
		if objects[key] == known.etag && json.Unmarshal([]byte(known.content), topology) == nil {
			return topology, nil
		}
	}
	topology, _, err := readJSON[model.Topology](ctx, q.Client.S3, q.uploads, key)
	return topology, awswait.Ignore(err, awswait.IsNotFound)
}

// readTopology reads the configured nodes from the topology.
func (q *statusQuery) readTopology(ctx context.Context) error {
	topology, err := q.topology(ctx)
	if err != nil || topology == nil {
		return err
	}
	for _, n := range topology.Nodes {
		q.nodes[n.Name] = clusterspec.Node{Name: n.Name, Role: n.Role, Address: n.Address}
	}
	q.vpnEndpoint = topology.VPN.Endpoint
	return nil
}

func (m *clusterDataModel) fromQuery(q *statusQuery, reports []nodeReport) {
	m.Nodes, m.Ready = map[string]nodeDataModel{}, types.BoolValue(len(reports) > 0)
	for _, r := range reports {
		n := q.nodes[r.Node]
		node := nodeDataModel{Role: types.StringValue(string(n.Role)), Address: types.StringValue(n.Address), State: types.StringValue("gone")}
		if i, lives := q.actual.live[r.Node]; lives {
			node.InstanceID, node.PublicIP = types.StringValue(i.id()), types.StringPointerValue(q.actual.publicIP(i))
			node.State = types.StringValue(string(i.state()))
		}
		if !r.missing {
			node.BootState = types.StringValue(string(r.State))
		}
		if r.unreadable != nil {
			node.Error = types.StringValue(r.unreadable.Error())
		}
		if r.Error != "" {
			node.Error = types.StringValue(r.Error)
		}
		if r.missing || r.State != model.BootReady || node.State.ValueString() != "running" {
			m.Ready = types.BoolValue(false)
		}
		m.Nodes[r.Node] = node
	}
	m.Endpoints = &endpointsDataModel{Edge: []types.String{}}
	for _, name := range slices.Sorted(maps.Keys(m.Nodes)) {
		if n := m.Nodes[name]; n.Role.ValueString() == string(model.RoleLoadBalancer) && !n.PublicIP.IsNull() {
			m.Endpoints.Edge = append(m.Endpoints.Edge, n.PublicIP)
		}
	}
	if q.vpnEndpoint != "" {
		m.Endpoints.VPN = types.StringValue(q.vpnEndpoint)
	}
}

func (q *statusQuery) describeUnready(reports []nodeReport) string {
	if len(reports) == 0 {
		return "It has no nodes: there is no cluster with that name, or the bucket has no topology."
	}
	var lines []string
	for _, r := range reports {
		i, lives := q.actual.live[r.Node]
		switch {
		case !lives:
			lines = append(lines, fmt.Sprintf("node %s: no instance", r.Node))
		case i.state() != "running":
			lines = append(lines, fmt.Sprintf("node %s: instance %s is %s", r.Node, i.id(), i.state()))
		case r.missing || r.State != model.BootReady:
			lines = append(lines, fmt.Sprintf("node %s: %s", r.Node, r.describe()))
		}
	}
	return strings.Join(lines, "\n")
}
