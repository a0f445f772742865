// Package cluster implements xeroops_cluster: a cluster's nodes with their
// security groups, IAM roles, objects in S3 and VPN routes. It is one resource
// on purpose (docs/decisions/0004): nodes are replaced in an order and one at a
// time, each after the previous one has reported ready.
//
// Create and Update both converge: they observe what exists, found by tag and
// name, and create or repair what is missing. So they can be interrupted
// anywhere and run again.
//
// The things that belong to a role or to the whole cluster are components, each
// in a package below this one ([component]). This package has the order in
// which they are applied, and the instances: check, launch, attach, rollout,
// readiness, terminate. Several zones concern [clusterspec.Node] and check.
package cluster

import (
	"context"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/identityschema"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/provider/internal/awsbatch"
	"github.com/xeroops/xeroops/provider/internal/base"
)

const clusterTypeName = "xeroops_cluster"

// Timeouts of whole operations: a rolling replacement of a large cluster takes
// a few minutes a node.
const (
	createTimeout = 30 * time.Minute
	readTimeout   = 5 * time.Minute
	updateTimeout = 2 * time.Hour
	deleteTimeout = 40 * time.Minute
)

type clusterResource struct {
	*base.ProviderData
}

var (
	_ resource.ResourceWithConfigure      = (*clusterResource)(nil)
	_ resource.ResourceWithModifyPlan     = (*clusterResource)(nil)
	_ resource.ResourceWithImportState    = (*clusterResource)(nil)
	_ resource.ResourceWithIdentity       = (*clusterResource)(nil)
	_ resource.ResourceWithValidateConfig = (*clusterResource)(nil)
)

// NewResource returns the resource xeroops_cluster.
func NewResource() resource.Resource { return &clusterResource{} }

func (r *clusterResource) Metadata(_ context.Context, _ resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = clusterTypeName
}

func (r *clusterResource) Configure(_ context.Context, req resource.ConfigureRequest, resp *resource.ConfigureResponse) {
	r.ProviderData = base.FromProvider(req.ProviderData, &resp.Diagnostics)
}

type clusterIdentity struct {
	Name types.String `tfsdk:"name"`
}

func (r *clusterResource) IdentitySchema(_ context.Context, _ resource.IdentitySchemaRequest, resp *resource.IdentitySchemaResponse) {
	resp.IdentitySchema = identityschema.Schema{Attributes: map[string]identityschema.Attribute{
		"name": identityschema.StringAttribute{RequiredForImport: true, Description: "name of the cluster"},
	}}
}

func (r *clusterResource) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	resource.ImportStatePassthroughWithIdentity(ctx, path.Root("name"), path.Root("name"), req, resp)
	var name types.String
	resp.Diagnostics.Append(resp.State.GetAttribute(ctx, path.Root("name"), &name)...)
	r.Claims.Import(name.ValueString())
}

func (r *clusterResource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var plan clusterModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	configured := configuredCredentials(ctx, req.Config, &resp.Diagnostics)
	ctx, cancel := base.Deadline(ctx, plan.Timeouts.Create, createTimeout, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}
	op := r.newCreate(plan)
	claim, err := r.Claims.Open(clusterTypeName, op.spec.Name)
	if err != nil {
		base.AddError(&resp.Diagnostics, "create", clusterTypeName, op.spec.Name, err)
		return
	}
	op.groups.Claim = claim
	op.objects.Configured, op.objects.RewriteCredentials = configured, true
	plan.nullUnknown() // Terraform drops a state with unknown values if the create fails
	resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
	resp.Diagnostics.Append(resp.Identity.Set(ctx, clusterIdentity{plan.Name})...)

	err = op.converge(ctx)
	if err != nil && !op.changed {
		// Nothing was changed, so nothing may be tainted, above all not a
		// cluster that runs under this name already.
		resp.State.RemoveResource(ctx)
		base.AddError(&resp.Diagnostics, "create", clusterTypeName, op.spec.Name, err)
		return
	}
	op.warnCopies(&resp.Diagnostics)
	plan.fromOperation(op, err)
	resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
	resp.Diagnostics.Append(resp.Private.SetKey(ctx, privateStateKey, op.privateState())...)
	r.Claims.Record(ctx, clusterTypeName, op.spec.Name, claim, resp.Private, &resp.Diagnostics)
	r.Claims.Settle(ctx, op.claimed(), claim)
	r.reportCreate(&resp.Diagnostics, op, err)
}

// reportCreate reports the result of a create. Terraform destroys what a failed
// create left before it tries again, which must not happen to running instances:
// from the first instance on, a failure is a warning, status is incomplete, and
// the next apply repairs (docs/decisions/0006).
func (r *clusterResource) reportCreate(diags *diag.Diagnostics, op *operation, err error) {
	name := op.spec.Name
	if err == nil {
		op.warnUnready(diags)
		return
	}
	if len(op.actual.live) == 0 && !op.mayHaveLaunched {
		base.AddError(diags, "create", clusterTypeName, name, err)
		return
	}
	var asErrors diag.Diagnostics
	base.AddError(&asErrors, "create", clusterTypeName, name, err)
	for _, d := range asErrors {
		diags.AddWarning(d.Summary()+": incomplete", d.Detail()+
			"\n\nThe cluster is kept with status = \"incomplete\". Fix the error and apply again: the apply continues from here, and running nodes are not changed.")
	}
}

func (r *clusterResource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var state clusterModel
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	saved, diags := req.Private.GetKey(ctx, privateStateKey)
	resp.Diagnostics.Append(diags...)
	ctx, cancel := base.Deadline(ctx, state.Timeouts.Read, readTimeout, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}
	op := r.newOperation(state)
	op.setPrivateState(saved)
	op.roles.ReadPolicies, op.roles.OnlyInUse = true, true
	if err := op.observe(awsbatch.Share(ctx)); err != nil {
		base.AddError(&resp.Diagnostics, "read", clusterTypeName, state.Name.ValueString(), err)
		return
	}
	resp.Diagnostics.Append(resp.Identity.Set(ctx, clusterIdentity{state.Name})...)
	op.warnCopies(&resp.Diagnostics)
	// The cluster is removed from the state only if nothing of it exists: lost
	// nodes are repaired, and never a reason to create a second cluster.
	if op.nothingExists() || !r.Claims.Keep(ctx, op.claimed(), resp.Private, &resp.Diagnostics) {
		resp.State.RemoveResource(ctx)
		return
	}
	state.fromAWS(ctx, op, r.Tags)
	op.keepTopology()
	if state.Status.ValueString() == statusReady {
		// Otherwise the data source with require_ready would fail every plan
		// that changes nothing here, including that of a destroy.
		ready, err := op.allReady(ctx)
		op.warnUnreadable(&resp.Diagnostics)
		base.AddError(&resp.Diagnostics, "read", clusterTypeName, state.Name.ValueString(), err)
		if !ready {
			state.Status = types.StringValue(statusIncomplete)
		}
		resp.Diagnostics.Append(resp.Private.SetKey(ctx, privateStateKey, op.privateState())...)
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &state)...)
}

func (r *clusterResource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var plan, state clusterModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	configured := configuredCredentials(ctx, req.Config, &resp.Diagnostics)
	saved, diags := req.Private.GetKey(ctx, privateStateKey)
	resp.Diagnostics.Append(diags...)
	ctx, cancel := base.Deadline(ctx, plan.Timeouts.Update, updateTimeout, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}
	op := r.newOperation(plan)
	if !r.Claims.MayUpdate(ctx, op.claimed(), req.Private, &resp.Diagnostics) {
		return
	}
	op.toLaunch = changedNodes(op.spec, plan, state)
	op.setState(state)
	op.objects.Configured = configured
	op.setPrivateState(saved)
	op.groups.Claim = r.Claims.Saved(ctx, req.Private, &resp.Diagnostics)
	op.objects.RewriteCredentials = !plan.CredentialsVersion.Equal(state.CredentialsVersion)
	op.objects.RotateInternal = !state.InternalVersion.IsNull() && !plan.InternalVersion.Equal(state.InternalVersion)
	op.objects.VPNPublicKey = publicKeyOf(state.VPN)
	op.priorStatus = state.Status.ValueString()
	op.setProtection = !plan.TerminationProtection.Equal(state.TerminationProtection)
	op.setTags = !plan.sameTags(state) || op.priorStatus == statusIncomplete
	op.roles.SetTags = op.setTags
	op.managedTags = r.ManagedTagsOfParts(ctx, req.Private, &resp.Diagnostics)
	op.groups.ManagedTags, op.roles.ManagedTags, op.endpoint.ManagedTags = op.managedTags(""), op.managedTags(""), op.managedTags("")
	op.roles.ReadPolicies = true
	op.roles.Former = state.spec().IAM

	planned := plan
	err := op.converge(ctx)
	op.warnCopies(&resp.Diagnostics)
	plan.fromOperation(op, err)
	if err == nil {
		plan.keepPlanned(planned, &resp.Diagnostics)
		resp.Diagnostics.Append(base.KeepManagedTags(ctx, resp.Private, plan.TagsAll, plan.nodeTags())...)
	} else {
		// The next apply tries again what these versions stand for.
		plan.CredentialsVersion, plan.InternalVersion = state.CredentialsVersion, state.InternalVersion
		plan.TerminationProtection = state.TerminationProtection
		plan.PermissionsBoundary, plan.AdditionalPolicies = state.PermissionsBoundary, state.AdditionalPolicies
		plan.keepFormer(op, state)
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
	resp.Diagnostics.Append(resp.Identity.Set(ctx, clusterIdentity{plan.Name})...)
	resp.Diagnostics.Append(resp.Private.SetKey(ctx, privateStateKey, op.privateState())...)
	base.AddError(&resp.Diagnostics, "update", clusterTypeName, plan.Name.ValueString(), err)
	if err == nil {
		op.warnUnready(&resp.Diagnostics)
	}
}

func (r *clusterResource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var state clusterModel
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	ctx, cancel := base.Deadline(ctx, state.Timeouts.Delete, deleteTimeout, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}
	op := r.newOperation(state)
	if !r.Claims.MayDelete(ctx, op.claimed(), req.Private, &resp.Diagnostics) {
		return
	}
	err := op.destroy(ctx)
	base.AddError(&resp.Diagnostics, "delete", clusterTypeName, state.Name.ValueString(), err)
}
