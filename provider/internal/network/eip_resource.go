package network

import (
	"context"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/awsbatch"
	"github.com/xeroops/xeroops/provider/internal/base"
)

const eipTypeName = "xeroops_eip"

type eipResource struct{ base.Resource }

// NewEIPResource returns the resource xeroops_eip.
func NewEIPResource() resource.Resource { return &eipResource{} }

func (r *eipResource) Metadata(_ context.Context, _ resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = eipTypeName
}

func (r *eipResource) Schema(ctx context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "An Elastic IP address. It is independent of the instance that it is associated with, so that DNS records stay valid when the instance is replaced.",
		Attributes: map[string]schema.Attribute{
			"id":  base.IDAttribute("Allocation id of the address."),
			"arn": base.ComputedOnce("ARN of the address."),
			"name": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "Name of the address, unique among the addresses of the account and region.",
				Validators:          base.NameValidators(),
			},
			"public_ip": base.ComputedOnce("The IPv4 address."),
			"tags":      base.TagsAttribute(),
			"tags_all":  base.TagsAllAttribute(),
			"timeouts":  timeouts.AttributesAll(ctx),
		},
	}
}

func (r *eipResource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if r.ProviderData == nil {
		return
	}
	r.PlanTags(ctx, base.TagRules{}, req, resp)
	r.PlanAdoption(ctx, eipTypeName, r.findByName, req, resp)
}

func (r *eipResource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var eip eipModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &eip)...)
	ctx, cancel := base.Deadline(ctx, eip.Timeouts.Create, awswait.CreatedVisible, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}

	var found ec2types.Address
	created, err := r.AdoptOrCreate(ctx, r.creation(eip, &found), resp.Private, &resp.Diagnostics)
	if err != nil {
		base.AddError(&resp.Diagnostics, "create", eipTypeName, eip.Name.ValueString(), err)
		return
	}
	defer created.Settle(ctx)
	eip.ID, eip.PublicIP, eip.ARN = types.StringPointerValue(found.AllocationId), types.StringPointerValue(found.PublicIp), types.StringNull()
	resp.Diagnostics.Append(resp.State.Set(ctx, &eip)...)
	resp.Diagnostics.Append(resp.Identity.Set(ctx, base.Identity{ID: eip.ID})...)

	err = r.converge(ctx, &eip, found.Tags)
	base.AddError(&resp.Diagnostics, "create", eipTypeName, eip.Name.ValueString()+" ("+eip.ID.ValueString()+")", err)
	resp.Diagnostics.Append(resp.State.Set(ctx, &eip)...)
}

func (r *eipResource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var eip eipModel
	resp.Diagnostics.Append(req.State.Get(ctx, &eip)...)
	resp.Diagnostics.Append(resp.Identity.Set(ctx, base.Identity{ID: eip.ID})...)
	ctx, cancel := base.Deadline(ctx, eip.Timeouts.Read, awswait.CreatedVisible, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}

	address, exists, err := r.Describe.Address(awsbatch.Share(ctx), eip.ID.ValueString())
	if err != nil {
		base.AddError(&resp.Diagnostics, "read", eipTypeName, eip.ID.ValueString(), err)
		return
	}
	if !exists {
		resp.State.RemoveResource(ctx)
		return
	}
	if !r.Claims.Keep(ctx, r.claimed(address), resp.Private, &resp.Diagnostics) {
		resp.State.RemoveResource(ctx)
		return
	}
	arn, err := base.EC2ARN(ctx, r.Client, "elastic-ip/"+eip.ID.ValueString())
	base.AddError(&resp.Diagnostics, "read", eipTypeName, eip.ID.ValueString(), err)
	eip.fromAWS(address, arn, r.Tags)
	resp.Diagnostics.Append(resp.State.Set(ctx, &eip)...)
}

func (r *eipResource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var eip eipModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &eip)...)
	eip.managed = r.ManagedTags(ctx, req.Private, &resp.Diagnostics)
	resp.Diagnostics.Append(resp.Identity.Set(ctx, base.Identity{ID: eip.ID})...)
	ctx, cancel := base.Deadline(ctx, eip.Timeouts.Update, awswait.CreatedVisible, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}

	if !r.Claims.MayUpdate(ctx, r.claimed(ec2types.Address{AllocationId: eip.ID.ValueStringPointer()}), req.Private, &resp.Diagnostics) {
		return
	}
	address, exists, err := r.Describe.Address(ctx, eip.ID.ValueString())
	if err == nil && !exists {
		err = errAddressGone
	}
	if err == nil {
		err = r.converge(ctx, &eip, address.Tags)
	}
	if err != nil {
		base.AddError(&resp.Diagnostics, "update", eipTypeName, eip.ID.ValueString(), err)
		return
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &eip)...)
	resp.Diagnostics.Append(base.KeepManagedTags(ctx, resp.Private, eip.TagsAll, nil)...)
}

func (r *eipResource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var eip eipModel
	resp.Diagnostics.Append(req.State.Get(ctx, &eip)...)
	ctx, cancel := base.Deadline(ctx, eip.Timeouts.Delete, awswait.StateChange, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}

	if !r.Claims.MayDelete(ctx, r.claimed(ec2types.Address{AllocationId: eip.ID.ValueStringPointer()}), req.Private, &resp.Diagnostics) {
		return
	}
	err := r.release(ctx, eip.ID.ValueString())
	base.AddError(&resp.Diagnostics, "delete", eipTypeName, eip.ID.ValueString(), err)
}
