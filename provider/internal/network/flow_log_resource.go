package network

import (
	"context"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/int64default"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/int64planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/base"
)

const flowLogTypeName = "xeroops_flow_log"

type flowLogResource struct{ base.Resource }

// NewFlowLogResource returns the resource xeroops_flow_log.
func NewFlowLogResource() resource.Resource { return &flowLogResource{} }

func (r *flowLogResource) Metadata(_ context.Context, _ resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = flowLogTypeName
}

func (r *flowLogResource) Schema(ctx context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	replace := []planmodifier.String{stringplanmodifier.RequiresReplace()}
	resp.Schema = schema.Schema{
		MarkdownDescription: "A flow log of a VPC's traffic to an S3 bucket, in AWS's default format. Other flow logs of the VPC stay as they are. " +
			"AWS cannot change a flow log: every change except of its name and tags replaces it, and nothing is logged in between. The records stay in the bucket.",
		Attributes: map[string]schema.Attribute{
			"id":  base.IDAttribute("Id of the flow log."),
			"arn": base.ComputedOnce("ARN of the flow log."),
			"name": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "Name of the flow log, unique among the flow logs of the account and region.",
				Validators:          base.NameValidators(),
			},
			"vpc_id": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "Id of the VPC.",
				PlanModifiers:       replace,
			},
			"bucket": schema.StringAttribute{
				Required: true,
				MarkdownDescription: "Name of the bucket: an `xeroops_bucket` with `receive_flow_logs`, or one whose policy lets `delivery.logs.amazonaws.com` write; the provider checks it, because AWS would otherwise replace the bucket's whole policy by its own. " +
					"If the bucket has a KMS key of yours, the key's policy must allow the same principal `kms:Encrypt`, `kms:Decrypt`, `kms:ReEncrypt*`, `kms:GenerateDataKey*` and `kms:DescribeKey`.",
				Validators:    []validator.String{stringvalidator.LengthBetween(3, 63)},
				PlanModifiers: replace,
			},
			"prefix": schema.StringAttribute{
				Optional:            true,
				MarkdownDescription: "Prefix of the keys, without a slash at the start or end. AWS appends `/AWSLogs/ACCOUNT/vpcflowlogs/REGION/YYYY/MM/DD/`.",
				Validators: []validator.String{
					stringvalidator.RegexMatches(flowLogPrefix, "use letters, digits and -_.!*'()=, with single slashes between, and none at the start or end"),
					stringvalidator.NoneOf("AWSLogs"),
				},
				PlanModifiers: replace,
			},
			"traffic_type": schema.StringAttribute{
				Optional: true, Computed: true, Default: stringdefault.StaticString(string(ec2types.TrafficTypeAll)),
				MarkdownDescription: "Traffic to log: `ALL`, or `ACCEPT` or `REJECT` by security groups and network access lists. Default: `ALL`.",
				Validators:          []validator.String{stringvalidator.OneOf("ALL", "ACCEPT", "REJECT")},
				PlanModifiers:       replace,
			},
			"aggregation_seconds": schema.Int64Attribute{
				Optional: true, Computed: true, Default: int64default.StaticInt64(aggregationLong),
				MarkdownDescription: "Longest time that a record of a flow covers, in seconds: `60` or `600`. With `60` there are more records, which AWS charges by size. Default: `600`.",
				Validators:          []validator.Int64{int64validator.OneOf(aggregationShort, aggregationLong)},
				PlanModifiers:       []planmodifier.Int64{int64planmodifier.RequiresReplace()},
			},
			"tags":     base.TagsAttribute(),
			"tags_all": base.TagsAllAttribute(),
			"timeouts": timeouts.AttributesAll(ctx),
		},
	}
}

func (r *flowLogResource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if r.ProviderData == nil {
		return
	}
	r.PlanTags(ctx, base.TagRules{}, req, resp)
	var planned flowLogModel
	if !req.Plan.Raw.IsNull() {
		resp.Diagnostics.Append(resp.Plan.Get(ctx, &planned)...)
	}
	if resp.Diagnostics.HasError() {
		return
	}
	r.PlanAdoption(ctx, flowLogTypeName, func(ctx context.Context, name string) (*base.Found, error) {
		return r.findByName(ctx, name, planned)
	}, req, resp)
}

func (r *flowLogResource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var log flowLogModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &log)...)
	ctx, cancel := base.Deadline(ctx, log.Timeouts.Create, awswait.CreatedVisible, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}

	created, err := r.AdoptOrCreate(ctx, r.creation(log), resp.Private, &resp.Diagnostics)
	if err != nil {
		base.AddError(&resp.Diagnostics, "create", flowLogTypeName, log.Name.ValueString(), err)
		return
	}
	defer created.Settle(ctx)
	log.ID = types.StringValue(created.ID)
	log.ARN, err = r.arn(ctx, created.ID)
	resp.Diagnostics.Append(resp.State.Set(ctx, &log)...)
	resp.Diagnostics.Append(resp.Identity.Set(ctx, base.Identity{ID: log.ID})...)
	base.AddError(&resp.Diagnostics, "create", flowLogTypeName, log.Name.ValueString()+" ("+created.ID+")", err)
}

func (r *flowLogResource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var log flowLogModel
	resp.Diagnostics.Append(req.State.Get(ctx, &log)...)
	resp.Diagnostics.Append(resp.Identity.Set(ctx, base.Identity{ID: log.ID})...)
	ctx, cancel := base.Deadline(ctx, log.Timeouts.Read, awswait.CreatedVisible, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}

	id := log.ID.ValueString()
	found, err := r.describeOne(ctx, base.Filter("flow-log-id", id))
	if err == nil && (found == nil || !r.Claims.Keep(ctx, r.claimed(id, found.Tags), resp.Private, &resp.Diagnostics)) {
		resp.State.RemoveResource(ctx)
		return
	}
	if err == nil {
		log.ARN, err = r.arn(ctx, id)
	}
	if err != nil {
		base.AddError(&resp.Diagnostics, "read", flowLogTypeName, id, err)
		return
	}
	if err := undelivered(*found); err != nil {
		resp.Diagnostics.AddAttributeWarning(path.Root("bucket"), "Flow logs are not delivered", err.Error()+".")
	}
	log.fromAWS(*found, r.Tags)
	resp.Diagnostics.Append(resp.State.Set(ctx, &log)...)
}

func (r *flowLogResource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var log flowLogModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &log)...)
	managed := r.ManagedTags(ctx, req.Private, &resp.Diagnostics)
	resp.Diagnostics.Append(resp.Identity.Set(ctx, base.Identity{ID: log.ID})...)
	ctx, cancel := base.Deadline(ctx, log.Timeouts.Update, awswait.CreatedVisible, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}

	id := log.ID.ValueString()
	if !r.Claims.MayUpdate(ctx, r.claimed(id, nil), req.Private, &resp.Diagnostics) {
		return
	}
	found, err := r.describeOne(ctx, base.Filter("flow-log-id", id))
	if err == nil && found == nil {
		err = errFlowLogGone
	}
	if err == nil {
		err = base.SetEC2Tags(ctx, r.Client.EC2, id, found.Tags, log.tags(), managed)
	}
	if err != nil {
		base.AddError(&resp.Diagnostics, "update", flowLogTypeName, id, err)
		return
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &log)...)
	resp.Diagnostics.Append(base.KeepManagedTags(ctx, resp.Private, log.TagsAll, nil)...)
}

func (r *flowLogResource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var log flowLogModel
	resp.Diagnostics.Append(req.State.Get(ctx, &log)...)
	ctx, cancel := base.Deadline(ctx, log.Timeouts.Delete, awswait.CreatedVisible, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}

	id := log.ID.ValueString()
	if !r.Claims.MayDelete(ctx, r.claimed(id, nil), req.Private, &resp.Diagnostics) {
		return
	}
	base.AddError(&resp.Diagnostics, "delete", flowLogTypeName, id, r.delete(ctx, id))
}

func (r *flowLogResource) arn(ctx context.Context, id string) (types.String, error) {
	arn, err := base.EC2ARN(ctx, r.Client, "vpc-flow-log/"+id)
	return types.StringPointerValue(base.Optional(arn)), err
}

// claimed returns a flow log as the holder of its claim.
func (r *flowLogResource) claimed(id string, tags []ec2types.Tag) base.Claimed {
	return base.Claimed{Kind: flowLogTypeName, ID: id, Tag: base.EC2Claim(tags), Write: base.WriteEC2Claim(r.Client.EC2, id),
		Reread: func(ctx context.Context) (string, bool, error) {
			log, err := r.describeOne(ctx, base.Filter("flow-log-id", id))
			if err != nil || log == nil {
				return "", false, err
			}
			return base.EC2Claim(log.Tags), true, nil
		}}
}
