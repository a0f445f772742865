// Package network has the resources of a cluster's network: the VPC, its subnets and
// flow logs, and Elastic IP addresses.
package network

import (
	"context"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/booldefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/awsbatch"
	"github.com/xeroops/xeroops/provider/internal/base"
)

const vpcTypeName = "xeroops_vpc"

// vpcTimeout is how long a create or update of a VPC may take by default: the
// association of a DNS firewall takes up to minutes, like the end of one.
const vpcTimeout = awswait.DependencyRelease

type vpcResource struct{ base.Resource }

// NewVPCResource returns the resource xeroops_vpc.
func NewVPCResource() resource.Resource { return &vpcResource{} }

func (r *vpcResource) Metadata(_ context.Context, _ resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = vpcTypeName
}

func (r *vpcResource) Schema(ctx context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "A VPC with an internet gateway, a gateway endpoint for S3 whose policy allows only buckets of the same account, " +
			"a default security group without rules, and DNS enabled.",
		Attributes: map[string]schema.Attribute{
			"id":  base.IDAttribute("Id of the VPC."),
			"arn": base.ComputedOnce("ARN of the VPC."),
			"name": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "Name of the VPC, unique among the VPCs of the account and region.",
				Validators:          base.NameValidators(),
			},
			"cidr": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "IPv4 range, such as `10.0.0.0/16`: /16 to /28. Changing it replaces the VPC.",
				Validators:          []validator.String{CIDRBetween(vpcLargest, vpcSmallest)},
				PlanModifiers:       []planmodifier.String{stringplanmodifier.RequiresReplace()},
			},
			"ipv6": schema.BoolAttribute{
				Optional: true, Computed: true, Default: booldefault.StaticBool(false),
				MarkdownDescription: "Whether the VPC has an IPv6 range of Amazon's as well, for public subnets with `ipv6_cidr`. " +
					"Before it can be turned off, the subnets have to give up theirs. Default: `false`.",
			},
			"ipv6_cidr": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The IPv6 range, a /56; null without `ipv6`.",
			},
			"dns_firewall":              dnsFirewallAttribute(),
			"internet_gateway_id":       base.ComputedOnce("Id of the internet gateway."),
			"s3_endpoint_id":            base.ComputedOnce("Id of the gateway endpoint for S3."),
			"default_security_group_id": base.ComputedOnce("Id of the default security group."),
			"drift":                     base.DriftAttribute(),
			"tags":                      base.TagsAttribute(),
			"tags_all":                  base.TagsAllAttribute(),
			"timeouts":                  timeouts.AttributesAll(ctx),
		},
	}
}

func (r *vpcResource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if r.ProviderData == nil {
		return
	}
	r.PlanTags(ctx, vpcTagRules, req, resp)
	var cidr types.String
	if !req.Plan.Raw.IsNull() {
		resp.Diagnostics.Append(req.Plan.GetAttribute(ctx, path.Root("cidr"), &cidr)...)
		r.planIPv6(ctx, req, resp)
	}
	r.PlanAdoption(ctx, vpcTypeName, r.findByName(cidr), req, resp)
}

func (r *vpcResource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var vpc vpcModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &vpc)...)
	ctx, cancel := base.Deadline(ctx, vpc.Timeouts.Create, vpcTimeout, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}

	var isNew *ec2types.Vpc
	created, err := r.AdoptOrCreate(ctx, r.creation(vpc, &isNew), resp.Private, &resp.Diagnostics)
	if err != nil {
		base.AddError(&resp.Diagnostics, "create", vpcTypeName, vpc.Name.ValueString(), err)
		return
	}
	defer created.Settle(ctx)
	vpc.setID(created.ID)
	resp.Diagnostics.Append(resp.State.Set(ctx, &vpc)...)
	resp.Diagnostics.Append(resp.Identity.Set(ctx, base.Identity{ID: vpc.ID})...)

	err = r.converge(ctx, &vpc, isNew, vpc.DNSFirewall != nil)
	base.AddError(&resp.Diagnostics, "create", vpcTypeName, vpc.Name.ValueString()+" ("+created.ID+")", err)
	resp.Diagnostics.Append(resp.State.Set(ctx, &vpc)...)
}

func (r *vpcResource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var vpc vpcModel
	resp.Diagnostics.Append(req.State.Get(ctx, &vpc)...)
	resp.Diagnostics.Append(resp.Identity.Set(ctx, base.Identity{ID: vpc.ID})...)
	ctx, cancel := base.Deadline(ctx, vpc.Timeouts.Read, awswait.CreatedVisible, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}

	found, err := r.findParts(awsbatch.Share(ctx), vpc.ID.ValueString())
	if err != nil {
		base.AddError(&resp.Diagnostics, "read", vpcTypeName, vpc.ID.ValueString(), err)
		return
	}
	if found == nil || !r.Claims.Keep(ctx, r.claimed(vpc.ID.ValueString(), found.vpc.Tags), resp.Private, &resp.Diagnostics) {
		resp.State.RemoveResource(ctx)
		return
	}
	firewall, err := r.readFirewall(ctx, vpc)
	if err != nil {
		base.AddError(&resp.Diagnostics, "read", vpcTypeName, vpc.ID.ValueString(), err)
		return
	}
	vpc.fromAWS(found, r.Tags)
	vpc.setFirewall(firewall, r.Client.Region, found.partition)
	resp.Diagnostics.Append(resp.State.Set(ctx, &vpc)...)
}

func (r *vpcResource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var vpc vpcModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &vpc)...)
	vpc.managed = r.ManagedTags(ctx, req.Private, &resp.Diagnostics)
	resp.Diagnostics.Append(resp.Identity.Set(ctx, base.Identity{ID: vpc.ID})...)
	ctx, cancel := base.Deadline(ctx, vpc.Timeouts.Update, vpcTimeout, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}

	if !r.Claims.MayUpdate(ctx, r.claimed(vpc.ID.ValueString(), nil), req.Private, &resp.Diagnostics) {
		return
	}
	var former *dnsFirewallModel
	resp.Diagnostics.Append(req.State.GetAttribute(ctx, path.Root("dns_firewall"), &former)...)
	if err := r.converge(ctx, &vpc, nil, former != nil); err != nil {
		base.AddError(&resp.Diagnostics, "update", vpcTypeName, vpc.ID.ValueString(), err)
		return
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &vpc)...)
	resp.Diagnostics.Append(base.KeepManagedTags(ctx, resp.Private, vpc.TagsAll, nil)...)
}

func (r *vpcResource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var vpc vpcModel
	resp.Diagnostics.Append(req.State.Get(ctx, &vpc)...)
	ctx, cancel := base.Deadline(ctx, vpc.Timeouts.Delete, awswait.DependencyRelease, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}

	if !r.Claims.MayDelete(ctx, r.claimed(vpc.ID.ValueString(), nil), req.Private, &resp.Diagnostics) {
		return
	}
	err := r.delete(ctx, vpc.ID.ValueString(), vpc.DNSFirewall != nil)
	base.AddError(&resp.Diagnostics, "delete", vpcTypeName, vpc.ID.ValueString(), err)
}
