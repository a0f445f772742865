package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/internal/awswait"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
)

type clusterDataSource struct {
	*base.ProviderData
}

// NewDataSource returns the data source xeroops_cluster: how a cluster is right
// now, by its nodes' own word. With require_ready it is the gate that makes a
// run fail whose cluster is not ready, which the resource itself must not do
// (docs/decisions/0006).
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
	resp.TypeName = kindCluster
}

func (d *clusterDataSource) Configure(_ context.Context, req datasource.ConfigureRequest, resp *datasource.ConfigureResponse) {
	d.ProviderData = base.FromProvider(req.ProviderData, &resp.Diagnostics)
}

func (d *clusterDataSource) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	computed := func(description string) schema.StringAttribute {
		return schema.StringAttribute{Computed: true, MarkdownDescription: description}
	}
	resp.Schema = schema.Schema{
		MarkdownDescription: "A cluster as it is right now: its nodes, their own word on how their boot went, and its endpoints.",
		Attributes: map[string]schema.Attribute{
			"name":           schema.StringAttribute{Required: true, MarkdownDescription: "Name of the cluster."},
			"uploads_bucket": schema.StringAttribute{Required: true, MarkdownDescription: "Bucket with the boot reports."},
			"require_ready": schema.BoolAttribute{Optional: true,
				MarkdownDescription: "Fail unless every node has reported ready. Default: `false`."},
			"ready": schema.BoolAttribute{Computed: true, MarkdownDescription: "Whether every node runs and has reported ready."},
			"nodes": schema.MapNestedAttribute{Computed: true, MarkdownDescription: "Nodes by name.",
				NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
					"role":        computed("Role."),
					"address":     computed("Private address."),
					"instance_id": computed("Id of the EC2 instance."),
					"public_ip":   computed("Elastic IP address, if it has one."),
					"state":       computed("State of the EC2 instance, such as `running`."),
					"boot_state":  computed("`booting`, `ready`, `failed`, or null without a report."),
					"error":       computed("What the node says went wrong."),
				}}},
			"endpoints": schema.SingleNestedAttribute{Computed: true, MarkdownDescription: "Where the cluster is reached.",
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
	survey := survey{view: newView(d.ProviderData, name, data.UploadsBucket.ValueString()), nodes: map[string]nodeSpec{}}
	reports, err := survey.run(ctx)
	if err != nil {
		base.AddError(&resp.Diagnostics, "read", kindCluster, name, err)
		return
	}
	data.fromSurvey(&survey, reports)
	resp.Diagnostics.Append(resp.State.Set(ctx, &data)...)
	if data.RequireReady.ValueBool() && !data.Ready.ValueBool() {
		resp.Diagnostics.AddError(fmt.Sprintf("Cluster %s is not ready", name),
			survey.whyNotReady(reports)+"\n\nThe next apply repairs what is missing and waits again.")
	}
}

// survey is what can be learnt of a cluster without its configuration.
type survey struct {
	view
	nodes       map[string]nodeSpec // that it should have, and that it has; role and address alone
	vpnEndpoint string              // as the topology has it
}

// run observes the nodes and reads their reports.
func (s *survey) run(ctx context.Context) ([]nodeReport, error) {
	var reported []string
	listReports := func(ctx context.Context) (err error) {
		reported, err = s.listReports(ctx)
		return err
	}
	if err := base.Parallel(ctx, s.observeInstances, s.observeAddresses, s.observeWanted, listReports); err != nil {
		return nil, err
	}
	for _, i := range s.seen.live { // what runs without being in the topology counts, too
		if _, wanted := s.nodes[i.node]; !wanted {
			s.nodes[i.node] = nodeSpec{Name: i.node, Role: i.role, Address: aws.ToString(i.PrivateIpAddress)}
		}
	}
	return s.readReportsOf(ctx, spec{Nodes: s.nodes}.nodes(), func(n nodeSpec) bool { return slices.Contains(reported, s.layout().Report(n.Name)) })
}

// listReports lists the keys of boot reports.
func (s *survey) listReports(ctx context.Context) ([]string, error) {
	var keys []string
	pages := s3.NewListObjectsV2Paginator(s.Client.S3, &s3.ListObjectsV2Input{Bucket: &s.uploads, Prefix: aws.String(s.layout().Reports())})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, awswait.Ignore(err, awswait.IsNotFound)
		}
		for _, object := range page.Contents {
			keys = append(keys, aws.ToString(object.Key))
		}
	}
	return keys, nil
}

// observeWanted reads which nodes the cluster should have, from its topology.
func (s *survey) observeWanted(ctx context.Context) error {
	topology, _, err := readJSON[model.Topology](ctx, s.Client.S3, s.uploads, s.layout().Topology())
	if err != nil || topology == nil {
		return awswait.Ignore(err, awswait.IsNotFound)
	}
	for _, n := range topology.Nodes {
		s.nodes[n.Name] = nodeSpec{Name: n.Name, Role: n.Role, Address: n.Address}
	}
	s.vpnEndpoint = topology.VPN.Endpoint
	return nil
}

func (m *clusterDataModel) fromSurvey(s *survey, reports []nodeReport) {
	m.Nodes, m.Ready = map[string]nodeDataModel{}, types.BoolValue(len(reports) > 0)
	for _, r := range reports {
		n := s.nodes[r.Node]
		node := nodeDataModel{Role: types.StringValue(string(n.Role)), Address: types.StringValue(n.Address), State: types.StringValue("gone")}
		if i, lives := s.seen.live[r.Node]; lives {
			node.InstanceID, node.PublicIP = types.StringValue(i.id()), types.StringPointerValue(s.seen.publicIP(i))
			node.State = types.StringValue(string(i.state()))
		}
		if !r.none {
			node.BootState = types.StringValue(string(r.State))
		}
		if r.Error != "" {
			node.Error = types.StringValue(r.Error)
		}
		if r.none || r.State != model.BootReady || node.State.ValueString() != "running" {
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
	if s.vpnEndpoint != "" {
		m.Endpoints.VPN = types.StringValue(s.vpnEndpoint)
	}
}

func (s *survey) whyNotReady(reports []nodeReport) string {
	if len(reports) == 0 {
		return "It has no nodes: there is no cluster of that name, or no topology in the bucket."
	}
	var lines []string
	for _, r := range reports {
		i, lives := s.seen.live[r.Node]
		switch {
		case !lives:
			lines = append(lines, fmt.Sprintf("node %s: it has no instance", r.Node))
		case i.state() != "running":
			lines = append(lines, fmt.Sprintf("node %s: its instance %s is %s", r.Node, i.id(), i.state()))
		case r.none || r.State != model.BootReady:
			lines = append(lines, fmt.Sprintf("node %s: %s", r.Node, r.describe()))
		}
	}
	return strings.Join(lines, "\n")
}
