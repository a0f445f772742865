package storage

import (
	"context"
	"fmt"
	"regexp"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework-validators/listvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/resourcevalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/booldefault"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/base"
)

const bucketTypeName = "xeroops_bucket"

// maxLifecycleRules is S3's limit of 1,000 minus the provider's own rule (S3 user
// guide, "Setting a lifecycle configuration").
const maxLifecycleRules = 999

// A name has up to 63 characters. A prefix leaves 13 for a hyphen and the account
// (S3 user guide, "General purpose bucket naming rules").
var (
	bucketNameRule   = stringvalidator.RegexMatches(regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$`), "use 3 to 63 lowercase letters, digits and hyphens, and no hyphen at the start or end")
	bucketPrefixRule = stringvalidator.RegexMatches(regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,49}$`), "use 1 to 50 lowercase letters, digits and hyphens, and no hyphen at the start")
)

type bucketResource struct{ base.Resource }

// NewBucketResource returns the resource xeroops_bucket.
func NewBucketResource() resource.Resource { return &bucketResource{} }

func (r *bucketResource) Metadata(_ context.Context, _ resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = bucketTypeName
}

func (r *bucketResource) Schema(ctx context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "An S3 bucket that is encrypted, versioned, without public access and access control lists, and with a policy " +
			"that denies calls without TLS and calls of other accounts. Incomplete uploads are aborted after a week.",
		Attributes: map[string]schema.Attribute{
			"id":  schema.StringAttribute{Computed: true, MarkdownDescription: "Name of the bucket."},
			"arn": schema.StringAttribute{Computed: true, MarkdownDescription: "ARN of the bucket."},
			"name": schema.StringAttribute{
				Optional: true, Computed: true, Validators: []validator.String{bucketNameRule},
				MarkdownDescription: "Name of the bucket, unique among the buckets of all accounts. Set this or `prefix`. Changing it replaces the bucket.",
			},
			"prefix": schema.StringAttribute{
				Optional: true, Validators: []validator.String{bucketPrefixRule},
				MarkdownDescription: "Prefix of the name, which is followed by a hyphen and the account id: `uploads` results in `uploads-123456789012`.",
			},
			"kms_key_id": schema.StringAttribute{
				Optional: true, Validators: []validator.String{base.KeyARNValidator()},
				MarkdownDescription: "ARN of the KMS key that encrypts the objects. Default: S3's own keys (SSE-S3).",
			},
			"versioning": schema.BoolAttribute{
				Optional: true, Computed: true, Default: booldefault.StaticBool(true),
				MarkdownDescription: "Whether to keep old versions of objects. Default: `true`.",
			},
			"lifecycle_rules": schema.ListNestedAttribute{
				Optional: true, Validators: []validator.List{listvalidator.SizeAtMost(maxLifecycleRules)},
				MarkdownDescription: "Rules for the expiration of objects and for their transition to other storage classes.",
				NestedObject:        lifecycleObject(),
			},
			"policy": schema.StringAttribute{
				Optional: true,
				MarkdownDescription: "JSON policy document whose statements are added to the bucket's policy, such as `jsonencode({ Statement = [...] })` or `data.aws_iam_policy_document.x.json`. " +
					"A statement without `Resource` applies to the bucket and its objects. Statements that would open the bucket to the public are refused. " +
					"The accounts of allowed principals may use the bucket; all others stay denied, unless a statement allows principals whose account it does not name.",
			},
			"access_log": accessLogAttribute(),
			"receive_access_logs": schema.BoolAttribute{
				Optional: true, Computed: true, Default: booldefault.StaticBool(false),
				MarkdownDescription: "Whether S3 may write the access logs of the account's buckets into this one (`access_log` of the other buckets). Default: `false`.",
			},
			"receive_flow_logs": schema.BoolAttribute{
				Optional: true, Computed: true, Default: booldefault.StaticBool(false),
				MarkdownDescription: "Whether AWS may write the flow logs of the account's VPCs in this region into the bucket (`xeroops_flow_log`). " +
					"With `kms_key_id`, the key's policy has to allow it too. Default: `false`.",
			},
			"object_lock": objectLockAttribute(),
			"force_destroy": schema.BoolAttribute{
				Optional: true, Computed: true, Default: booldefault.StaticBool(false),
				MarkdownDescription: "Whether destroying the bucket deletes all objects with all versions. Default: `false`, which allows destroying only an empty bucket.",
			},
			"drift":    base.DriftAttribute(),
			"tags":     base.TagsAttribute(),
			"tags_all": base.TagsAllAttribute(),
			"timeouts": timeouts.AttributesAll(ctx),
		},
	}
}

func (r *bucketResource) ConfigValidators(context.Context) []resource.ConfigValidator {
	return []resource.ConfigValidator{resourcevalidator.AtLeastOneOf(path.MatchRoot("name"), path.MatchRoot("prefix"))}
}

func (r *bucketResource) ValidateConfig(ctx context.Context, req resource.ValidateConfigRequest, resp *resource.ValidateConfigResponse) {
	var m bucketModel
	var lock, log types.Object
	for name, value := range map[string]any{"name": &m.Name, "policy": &m.Policy, "versioning": &m.Versioning, "kms_key_id": &m.KMSKeyID,
		"receive_access_logs": &m.ReceiveAccessLogs, "object_lock": &lock, "access_log": &log} {
		resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root(name), value)...)
	}
	if isKnown(lock) {
		m.ObjectLock = &objectLockModel{}
		resp.Diagnostics.Append(lock.As(ctx, m.ObjectLock, basetypes.ObjectAsOptions{})...)
	}
	if isKnown(log) {
		m.AccessLog = &accessLogModel{}
		resp.Diagnostics.Append(log.As(ctx, m.AccessLog, basetypes.ObjectAsOptions{})...)
	}
	if resp.Diagnostics.HasError() {
		return
	}
	for _, err := range append(m.checkPolicy(), m.checkLock(), m.checkReceiver()) {
		base.AddError(&resp.Diagnostics, "check", bucketTypeName, m.Name.ValueString(), err)
	}
}

func isKnown(o types.Object) bool { return !o.IsNull() && !o.IsUnknown() }

func (r *bucketResource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if r.ProviderData == nil {
		return
	}
	if !req.Plan.Raw.IsNull() {
		r.PlanTags(ctx, base.TagRules{Service: "S3"}, req, resp)
		r.planName(ctx, req, resp)
		req.Plan = resp.Plan // has the name
	}
	if resp.Diagnostics.HasError() {
		return
	}
	if !req.Plan.Raw.IsNull() {
		base.AddError(&resp.Diagnostics, "plan", bucketTypeName, "", r.checkPlan(ctx, req, resp))
	}
	r.PlanAdoption(ctx, bucketTypeName, r.findExisting, req, resp)
}

// checkPlan returns an error for what S3 would refuse in view of the bucket's name and
// of its state.
func (r *bucketResource) checkPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) error {
	var m bucketModel
	var target types.String
	var lock, lockBefore types.Object
	get := func(from interface {
		GetAttribute(context.Context, path.Path, any) diag.Diagnostics
	}, at path.Path, value any) {
		resp.Diagnostics.Append(from.GetAttribute(ctx, at, value)...)
	}
	get(req.Plan, path.Root("name"), &m.Name)
	get(req.Plan, path.Root("policy"), &m.Policy)
	get(req.Plan, path.Root("receive_access_logs"), &m.ReceiveAccessLogs)
	get(req.Plan, path.Root("receive_flow_logs"), &m.ReceiveFlowLogs)
	m.region = r.Client.Region
	get(req.Plan, path.Root("object_lock"), &lock)
	get(req.Config, path.Root("access_log").AtName("bucket"), &target)
	if !req.State.Raw.IsNull() {
		get(req.State, path.Root("object_lock"), &lockBefore)
		if len(resp.RequiresReplace) == 0 {
			if err := checkLockChange(lock, lockBefore); err != nil {
				return err
			}
		}
	}
	if resp.Diagnostics.HasError() || m.Name.IsUnknown() {
		return nil
	}
	arn, err := r.arn(ctx, m.Name.ValueString())
	if err != nil {
		return err
	}
	account, err := r.Client.AccountID(ctx)
	if err != nil {
		return err
	}
	if err := (&accessLogModel{Bucket: target}).checkTarget(m.Name.ValueString()); err != nil {
		return err
	}
	return m.checkWholePolicy(arn, account)
}

// planName plans the name before the bucket exists, so that policies can refer to
// it.
func (r *bucketResource) planName(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	var config bucketModel
	var current types.String
	resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("name"), &config.Name)...)
	resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("prefix"), &config.Prefix)...)
	if !req.State.Raw.IsNull() {
		resp.Diagnostics.Append(req.State.GetAttribute(ctx, path.Root("name"), &current)...)
	}
	if resp.Diagnostics.HasError() {
		return
	}
	name, err := config.bucketName(ctx, r.Client.AccountID)
	if err != nil {
		base.AddError(&resp.Diagnostics, "plan", bucketTypeName, config.Prefix.ValueString(), err)
		return
	}
	arn := types.StringUnknown()
	if !name.IsUnknown() {
		text, err := r.arn(ctx, name.ValueString())
		base.AddError(&resp.Diagnostics, "plan", bucketTypeName, name.ValueString(), err)
		arn = types.StringValue(text)
	}
	resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("name"), name)...)
	resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("id"), name)...)
	resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("arn"), arn)...)
	if !req.State.Raw.IsNull() && !name.Equal(current) {
		resp.RequiresReplace.Append(path.Root("name"))
	}
}

func (r *bucketResource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var bucket bucketModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &bucket)...)
	ctx, cancel := base.Deadline(ctx, bucket.Timeouts.Create, awswait.CreatedVisible, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}

	created, err := r.AdoptOrCreate(ctx, r.creation(bucket), resp.Private, &resp.Diagnostics)
	if err != nil {
		base.AddError(&resp.Diagnostics, "create", bucketTypeName, bucket.Name.ValueString(), err)
		return
	}
	defer created.Settle(ctx)
	resp.Diagnostics.Append(resp.State.Set(ctx, &bucket)...)
	resp.Diagnostics.Append(resp.Identity.Set(ctx, base.Identity{ID: bucket.ID})...)

	err = r.converge(ctx, bucket, nil)
	base.AddError(&resp.Diagnostics, "create", bucketTypeName, bucket.Name.ValueString(), err)
}

func (r *bucketResource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var bucket bucketModel
	resp.Diagnostics.Append(req.State.Get(ctx, &bucket)...)
	resp.Diagnostics.Append(resp.Identity.Set(ctx, base.Identity{ID: bucket.ID})...)
	ctx, cancel := base.Deadline(ctx, bucket.Timeouts.Read, awswait.CreatedVisible, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}

	name := bucket.ID.ValueString()
	found, err := r.findParts(ctx, name, bucket.scope())
	if isNoBucket(err) {
		resp.State.RemoveResource(ctx)
		return
	}
	var arn, account string
	if err == nil {
		arn, err = r.arn(ctx, name)
	}
	if err == nil {
		account, err = r.Client.AccountID(ctx)
	}
	if err != nil {
		base.AddError(&resp.Diagnostics, "read", bucketTypeName, name, err)
		return
	}
	if !r.Claims.Keep(ctx, r.claimed(name, found.tags), resp.Private, &resp.Diagnostics) {
		resp.State.RemoveResource(ctx)
		return
	}
	bucket.region = r.Client.Region
	bucket.fromAWS(found, arn, account, r.Tags)
	resp.Diagnostics.Append(resp.State.Set(ctx, &bucket)...)
}

func (r *bucketResource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var bucket, state bucketModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &bucket)...)
	bucket.managed = r.ManagedTags(ctx, req.Private, &resp.Diagnostics)
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	resp.Diagnostics.Append(resp.Identity.Set(ctx, base.Identity{ID: bucket.ID})...)
	ctx, cancel := base.Deadline(ctx, bucket.Timeouts.Update, awswait.CreatedVisible, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}

	if !r.Claims.MayUpdate(ctx, r.claimed(bucket.ID.ValueString(), nil), req.Private, &resp.Diagnostics) {
		return
	}
	if err := r.converge(ctx, bucket, state.AccessLog); err != nil {
		base.AddError(&resp.Diagnostics, "update", bucketTypeName, bucket.ID.ValueString(), err)
		return
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &bucket)...)
	resp.Diagnostics.Append(base.KeepManagedTags(ctx, resp.Private, bucket.TagsAll, nil)...)
}

func (r *bucketResource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var bucket bucketModel
	resp.Diagnostics.Append(req.State.Get(ctx, &bucket)...)
	ctx, cancel := base.Deadline(ctx, bucket.Timeouts.Delete, awswait.DependencyRelease, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}

	if !r.Claims.MayDelete(ctx, r.claimed(bucket.ID.ValueString(), nil), req.Private, &resp.Diagnostics) {
		return
	}
	err := r.delete(ctx, bucket)
	base.AddError(&resp.Diagnostics, "delete", bucketTypeName, bucket.ID.ValueString(), err)
}

func (r *bucketResource) arn(ctx context.Context, name string) (string, error) {
	partition, err := r.Client.Partition(ctx)
	return fmt.Sprintf("arn:%s:s3:::%s", partition, name), err
}
