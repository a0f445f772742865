// Package storage has the resources in which a cluster stores data: EBS volumes and
// S3 buckets.
package storage

import (
	"context"
	"errors"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/booldefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/base"
)

const volumeTypeName = "xeroops_volume"

type volumeResource struct{ base.Resource }

// NewVolumeResource returns the resource xeroops_volume.
func NewVolumeResource() resource.Resource { return &volumeResource{} }

func (r *volumeResource) Metadata(_ context.Context, _ resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = volumeTypeName
}

func (r *volumeResource) Schema(ctx context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	replace := []planmodifier.String{stringplanmodifier.RequiresReplace()}
	replaceIfGiven := []planmodifier.String{stringplanmodifier.UseStateForUnknown(), stringplanmodifier.RequiresReplaceIfConfigured()}
	resp.Schema = schema.Schema{
		MarkdownDescription: "An encrypted EBS volume. Type, size, IOPS and throughput are changed in place while the volume is in use; " +
			"the node grows the file system. EBS starts a change of a volume only after the previous one is complete, at most four within 24 hours " +
			"(in some partitions one in six hours), so make all changes in one apply. It cannot shrink a volume.",
		Attributes: map[string]schema.Attribute{
			"id":  base.IDAttribute("Id of the volume."),
			"arn": base.ComputedOnce("ARN of the volume."),
			"name": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "Name of the volume, unique among the volumes of the account and region.",
				Validators:          base.NameValidators(),
			},
			"availability_zone": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "Availability zone, such as `eu-west-1a`, which must be that of the instance. Changing it replaces the volume.",
				PlanModifiers:       replace,
			},
			"type": schema.StringAttribute{
				Optional: true, Computed: true, Default: stringdefault.StaticString(string(ec2types.VolumeTypeGp3)),
				MarkdownDescription: "Type: `gp3`, or `io2` for IOPS with a latency below a millisecond and a durability of 99.999 %. Default: `gp3`.",
				Validators:          []validator.String{stringvalidator.OneOf(string(ec2types.VolumeTypeGp3), string(ec2types.VolumeTypeIo2))},
			},
			"size_gib": schema.Int64Attribute{
				Required:            true,
				MarkdownDescription: "Size in GiB: 1 to 65,536, with `io2` 4 to 65,536.",
				Validators:          []validator.Int64{int64validator.Between(minSizeGiB, maxSizeGiB)},
			},
			"iops": schema.Int64Attribute{
				Optional: true, Computed: true,
				MarkdownDescription: "I/O operations per second. `gp3`: 3,000 to 80,000, and at most 500 per GiB; default: 3,000. " +
					"`io2`: required, 100 to 256,000, and at most 1,000 per GiB. Instance types without io2 Block Express reach 64,000.",
				Validators: []validator.Int64{int64validator.Between(minIOPS, maxIOPS)},
			},
			"throughput_mibps": schema.Int64Attribute{
				Optional: true, Computed: true,
				MarkdownDescription: "Throughput in MiB/s of `gp3`: 125 to 2,000, and at most a quarter of `iops`. Default: 125. The throughput of `io2` follows from `iops`.",
			},
			"kms_key_id": schema.StringAttribute{
				Optional: true, Computed: true, PlanModifiers: replaceIfGiven,
				MarkdownDescription: "ARN of the KMS key that encrypts the volume. Default: the account's default key for EBS. Changing it replaces the volume.",
				Validators:          []validator.String{base.KeyARNValidator()},
			},
			"snapshot_id": schema.StringAttribute{
				Optional: true, Computed: true, PlanModifiers: replaceIfGiven,
				MarkdownDescription: "Id of the snapshot to create the volume from. Changing it replaces the volume.",
				Validators:          []validator.String{stringvalidator.RegexMatches(regexp.MustCompile(`^snap-[0-9a-f]+$`), "not the id of a snapshot, such as snap-0123456789abcdef0")},
			},
			"final_snapshot": schema.BoolAttribute{
				Optional: true, Computed: true, Default: booldefault.StaticBool(true),
				MarkdownDescription: "Whether destroying the volume first creates a snapshot with the volume's name and tags, and waits until it is complete. Default: `true`.",
			},
			"final_snapshot_timeout": schema.StringAttribute{
				Optional: true, Computed: true, Default: stringdefault.StaticString(defaultSnapshotTimeout),
				MarkdownDescription: "How long destroying the volume waits for the final snapshot, in addition to `timeouts.delete`: the first snapshot of a large volume " +
					"takes hours. The log has its progress (`TF_LOG_PROVIDER=INFO`). If the time is over or the destroy is interrupted, the volume stays, EBS " +
					"continues the snapshot, and the next destroy waits for the same one. Default: `" + defaultSnapshotTimeout + "`.",
				Validators: []validator.String{base.DurationBetween(time.Second, 7*24*time.Hour)},
			},
			"snapshot_schedule": scheduleAttribute(),

			"drift":    base.DriftAttribute(),
			"tags":     base.TagsAttribute(),
			"tags_all": base.TagsAllAttribute(),
			"timeouts": timeouts.AttributesAll(ctx),
		},
	}
}

func (r *volumeResource) ValidateConfig(ctx context.Context, req resource.ValidateConfigRequest, resp *resource.ValidateConfigResponse) {
	var volume volumeModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &volume)...)
	if resp.Diagnostics.HasError() {
		return
	}
	for _, err := range volume.checkLimits() {
		base.AddError(&resp.Diagnostics, "check", volumeTypeName, volume.Name.ValueString(), err)
	}
}

func (r *volumeResource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if !req.Plan.Raw.IsNull() {
		planPerformance(ctx, req, resp)
	}
	if r.ProviderData == nil {
		return
	}
	r.PlanTags(ctx, volumeTagRules, req, resp)
	var volume, state volumeModel
	if !req.Plan.Raw.IsNull() {
		resp.Diagnostics.Append(req.Plan.Get(ctx, &volume)...)
	}
	if !req.State.Raw.IsNull() {
		resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	}
	if resp.Diagnostics.HasError() {
		return
	}
	if !req.Plan.Raw.IsNull() {
		base.AddError(&resp.Diagnostics, "plan", volumeTypeName, volume.Name.ValueString(), volume.checkShrink(state))
		base.AddError(&resp.Diagnostics, "plan", volumeTypeName, volume.Name.ValueString(), r.checkSnapshot(ctx, volume, state))
	}
	r.PlanAdoption(ctx, volumeTypeName, func(ctx context.Context, name string) (*base.Found, error) {
		volumes, err := r.findByName(ctx, name)
		return volume.adoptable(volumes), err
	}, req, resp)
}

func (r *volumeResource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var volume volumeModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &volume)...)
	ctx, cancel := base.Deadline(ctx, volume.Timeouts.Create, awswait.CreatedVisible, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}

	created, err := r.AdoptOrCreate(ctx, r.creation(volume), resp.Private, &resp.Diagnostics)
	if err != nil {
		base.AddError(&resp.Diagnostics, "create", volumeTypeName, volume.Name.ValueString(), err)
		return
	}
	defer created.Settle(ctx)
	volume.setID(created.ID)
	resp.Diagnostics.Append(resp.State.Set(ctx, &volume)...)
	resp.Diagnostics.Append(resp.Identity.Set(ctx, base.Identity{ID: volume.ID})...)

	err = r.converge(ctx, &volume, false)
	base.AddError(&resp.Diagnostics, "create", volumeTypeName, volume.Name.ValueString()+" ("+created.ID+")", err)
	resp.Diagnostics.Append(resp.State.Set(ctx, &volume)...)
}

var errNotEncrypted = errors.New("the volume is not encrypted, and xeroops_volume manages only encrypted volumes; " +
	"create a snapshot of it, and a xeroops_volume with that snapshot_id")

func (r *volumeResource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var volume volumeModel
	resp.Diagnostics.Append(req.State.Get(ctx, &volume)...)
	resp.Diagnostics.Append(resp.Identity.Set(ctx, base.Identity{ID: volume.ID})...)
	ctx, cancel := base.Deadline(ctx, volume.Timeouts.Read, awswait.CreatedVisible, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}

	found, err := r.find(ctx, volume.ID.ValueString())
	if err == nil && (found == nil || !r.Claims.Keep(ctx, r.claimed(*found), resp.Private, &resp.Diagnostics)) {
		resp.State.RemoveResource(ctx)
		return
	}
	if err == nil && !aws.ToBool(found.Encrypted) {
		err = errNotEncrypted
	}
	var arn string
	if err == nil {
		arn, err = r.arn(ctx, volume.ID.ValueString())
	}
	if err != nil {
		base.AddError(&resp.Diagnostics, "read", volumeTypeName, volume.ID.ValueString(), err)
		return
	}
	volume.fromAWS(*found, arn, r.Tags)
	if err := r.readSchedule(ctx, &volume, base.FlattenEC2Tags(found.Tags)); err != nil {
		base.AddError(&resp.Diagnostics, "read", volumeTypeName, volume.ID.ValueString(), err)
		return
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &volume)...)
	resp.Diagnostics.Append(noteAttachment(ctx, *found, resp.Private)...)
}

func (r *volumeResource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var volume, state volumeModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &volume)...)
	volume.managed = r.ManagedTags(ctx, req.Private, &resp.Diagnostics)
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	resp.Diagnostics.Append(resp.Identity.Set(ctx, base.Identity{ID: volume.ID})...)
	ctx, cancel := base.Deadline(ctx, volume.Timeouts.Update, awswait.DependencyRelease, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}

	if !r.Claims.MayUpdate(ctx, r.claimed(ec2types.Volume{VolumeId: volume.ID.ValueStringPointer()}), req.Private, &resp.Diagnostics) {
		return
	}
	if err := r.converge(ctx, &volume, hasSchedule(state.SnapshotSchedule)); err != nil {
		base.AddError(&resp.Diagnostics, "update", volumeTypeName, volume.ID.ValueString(), err)
		return
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &volume)...)
	resp.Diagnostics.Append(base.KeepManagedTags(ctx, resp.Private, volume.TagsAll, nil)...)
}

func (r *volumeResource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var volume volumeModel
	resp.Diagnostics.Append(req.State.Get(ctx, &volume)...)
	attached, diags := lastAttachment(ctx, req.Private)
	resp.Diagnostics.Append(diags...)
	timeout, diags := volume.Timeouts.Delete(ctx, awswait.DependencyRelease)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}

	if !r.Claims.MayDelete(ctx, r.claimed(ec2types.Volume{VolumeId: volume.ID.ValueStringPointer()}), req.Private, &resp.Diagnostics) {
		return
	}
	err := r.delete(ctx, volume, attached, timeout)
	base.AddError(&resp.Diagnostics, "delete", volumeTypeName, volume.ID.ValueString(), err)
}
