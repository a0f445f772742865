package network

import (
	"context"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/awsbatch"
	"github.com/xeroops/xeroops/provider/internal/base"
)

const subnetTypeName = "xeroops_subnet"

type subnetResource struct{ base.Resource }

// NewSubnetResource returns the resource xeroops_subnet.
func NewSubnetResource() resource.Resource { return &subnetResource{} }

func (r *subnetResource) Metadata(_ context.Context, _ resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = subnetTypeName
}

func (r *subnetResource) Schema(ctx context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	replace := []planmodifier.String{stringplanmodifier.RequiresReplace()}
	resp.Schema = schema.Schema{
		MarkdownDescription: "A subnet with its own route table. A public subnet routes to the VPC's internet gateway. A private subnet has no route to public addresses " +
			"except to S3 through the VPC's gateway endpoint, and the next apply removes routes that were added outside of Terraform.",
		Attributes: map[string]schema.Attribute{
			"id":  base.IDAttribute("Id of the subnet."),
			"arn": base.ComputedOnce("ARN of the subnet."),
			"name": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "Name of the subnet, unique among the subnets of the VPC.",
				Validators:          base.NameValidators(),
			},
			"vpc_id": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "Id of the VPC. It must have a gateway endpoint for S3 and, for a public subnet, an internet gateway, like a `xeroops_vpc`.",
				PlanModifiers:       replace,
			},
			"type": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "`public` or `private`.",
				Validators:          []validator.String{stringvalidator.OneOf(typePublic, typePrivate)},
			},
			"cidr": schema.StringAttribute{
				Required: true,
				MarkdownDescription: "IPv4 range within the VPC's, such as `10.0.1.0/24`: /16 to /28. " +
					"AWS reserves the first four addresses and the last. Changing it replaces the subnet.",
				Validators:    []validator.String{CIDRBetween(subnetLargest, subnetSmallest)},
				PlanModifiers: replace,
			},
			"ipv6_cidr": schema.StringAttribute{
				Optional: true,
				MarkdownDescription: "IPv6 range of a public subnet, a /64 within the VPC's, such as `cidrsubnet(xeroops_vpc.main.ipv6_cidr, 8, 1)`. " +
					"Instances get no IPv6 address unless it is configured for them. A private subnet has none.",
				Validators: []validator.String{ipv6Range{}},
			},
			"availability_zone": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "Availability zone, such as `eu-west-1a`. Changing it replaces the subnet.",
				PlanModifiers:       replace,
			},
			"route_table_id": base.ComputedOnce("Id of the subnet's route table. You may add other routes for private ranges to it."),
			"drift":          base.DriftAttribute(),
			"tags":           base.TagsAttribute(),
			"tags_all":       base.TagsAllAttribute(),
			"timeouts":       timeouts.AttributesAll(ctx),
		},
	}
}

func (r *subnetResource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if r.ProviderData == nil {
		return
	}
	r.PlanTags(ctx, base.TagRules{}, req, resp)
	var subnet subnetModel
	if !req.Plan.Raw.IsNull() {
		resp.Diagnostics.Append(resp.Plan.Get(ctx, &subnet)...)
	}
	if resp.Diagnostics.HasError() {
		return
	}
	var near *neighbours
	r.PlanAdoption(ctx, subnetTypeName, func(ctx context.Context, name string) (_ *base.Found, err error) {
		if subnet.VPCID.IsUnknown() || subnet.CIDR.IsUnknown() {
			return nil, nil
		}
		if near, err = r.findNeighbours(ctx, subnet); err != nil {
			return nil, err
		}
		return r.adoptable(ctx, near.named(name), subnet)
	}, req, resp)
	if near != nil && !resp.Diagnostics.HasError() {
		base.AddError(&resp.Diagnostics, "plan", subnetTypeName, subnet.Name.ValueString(), near.check(subnet))
		if len(near.named(subnet.Name.ValueString())) == 0 {
			r.PlanCache.Put(subnetTypeName, subnet.nameInVPC(), near.parts)
		}
	}
}

func (r *subnetResource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var subnet subnetModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &subnet)...)
	ctx, cancel := base.Deadline(ctx, subnet.Timeouts.Create, awswait.CreatedVisible, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}

	parts := &subnetParts{}
	var incomplete error
	created, err := r.AdoptOrCreate(ctx, r.creation(subnet, parts, &incomplete), resp.Private, &resp.Diagnostics)
	if err != nil {
		base.AddError(&resp.Diagnostics, "create", subnetTypeName, subnet.Name.ValueString(), err)
		return
	}
	defer created.Settle(ctx)
	if err = incomplete; err == nil {
		err = r.ensureCreated(ctx, parts, subnet, base.Claim{}) // the table of one that was adopted
	}
	subnet.setIDs(parts)
	resp.Diagnostics.Append(resp.State.Set(ctx, &subnet)...)
	resp.Diagnostics.Append(resp.Identity.Set(ctx, base.Identity{ID: subnet.ID})...)
	if err == nil {
		err = r.connect(ctx, parts, subnet)
	}
	base.AddError(&resp.Diagnostics, "create", subnetTypeName, subnet.Name.ValueString(), err)
}

func (r *subnetResource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var subnet subnetModel
	resp.Diagnostics.Append(req.State.Get(ctx, &subnet)...)
	resp.Diagnostics.Append(resp.Identity.Set(ctx, base.Identity{ID: subnet.ID})...)
	ctx, cancel := base.Deadline(ctx, subnet.Timeouts.Read, awswait.CreatedVisible, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}

	found, err := r.findByID(awsbatch.Share(ctx), subnet)
	if err != nil {
		base.AddError(&resp.Diagnostics, "read", subnetTypeName, subnet.ID.ValueString(), err)
		return
	}
	if found.subnet == nil || !r.Claims.Keep(ctx, r.claimed(*found.subnet), resp.Private, &resp.Diagnostics) {
		resp.State.RemoveResource(ctx)
		return
	}
	subnet.fromAWS(found, r.Tags)
	resp.Diagnostics.Append(resp.State.Set(ctx, &subnet)...)
}

func (r *subnetResource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var subnet subnetModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &subnet)...)
	subnet.managed = r.ManagedTags(ctx, req.Private, &resp.Diagnostics)
	resp.Diagnostics.Append(resp.Identity.Set(ctx, base.Identity{ID: subnet.ID})...)
	ctx, cancel := base.Deadline(ctx, subnet.Timeouts.Update, awswait.CreatedVisible, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}

	if !r.Claims.MayUpdate(ctx, r.claimed(ec2types.Subnet{SubnetId: subnet.ID.ValueStringPointer()}), req.Private, &resp.Diagnostics) {
		return
	}
	found, err := r.findForRepair(ctx, subnet)
	if err == nil {
		err = r.ensureCreated(ctx, found, subnet, base.Claim{}) // which exists
	}
	if err == nil {
		err = r.connect(ctx, found, subnet)
	}
	if err != nil {
		base.AddError(&resp.Diagnostics, "update", subnetTypeName, subnet.ID.ValueString(), err)
		return
	}
	subnet.setIDs(found)
	resp.Diagnostics.Append(resp.State.Set(ctx, &subnet)...)
	resp.Diagnostics.Append(base.KeepManagedTags(ctx, resp.Private, subnet.TagsAll, nil)...)
}

func (r *subnetResource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var subnet subnetModel
	resp.Diagnostics.Append(req.State.Get(ctx, &subnet)...)
	ctx, cancel := base.Deadline(ctx, subnet.Timeouts.Delete, awswait.DependencyRelease, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}

	if !r.Claims.MayDelete(ctx, r.claimed(ec2types.Subnet{SubnetId: subnet.ID.ValueStringPointer()}), req.Private, &resp.Diagnostics) {
		return
	}
	err := r.delete(ctx, subnet)
	base.AddError(&resp.Diagnostics, "delete", subnetTypeName, subnet.ID.ValueString(), err)
}
