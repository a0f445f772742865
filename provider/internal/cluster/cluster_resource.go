// Package cluster has xeroops_cluster: the nodes of a cluster with their
// security groups, IAM roles, objects in S3 and VPN routes. It is one resource
// on purpose (docs/decisions/0004): nodes are replaced in an order and one at a
// time, each gated on the boot report of the one before.
//
// Create, Update and repair are the same work, converge: it looks at what is
// there, by tag, and does what is missing. So it can be interrupted anywhere
// and run again.
package cluster

import (
	"context"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/identityschema"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/provider/internal/base"
)

const kindCluster = "xeroops_cluster"

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
	resp.TypeName = kindCluster
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
}

func (r *clusterResource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var plan clusterModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	given := givenCredentials(ctx, req.Config, &resp.Diagnostics)
	ctx, cancel := base.Deadline(ctx, plan.Timeouts.Create, createTimeout, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}
	work := r.newWork(plan, given)
	work.rewriteCredentials, work.first = true, true
	plan.nullUnknown() // a state with unknown values is thrown away if the create fails
	resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
	resp.Diagnostics.Append(resp.Identity.Set(ctx, clusterIdentity{plan.Name})...)

	err := work.converge(ctx)
	if err != nil && !work.changed {
		// Nothing was touched, so there is nothing to taint: least of all what
		// runs under this name already.
		resp.State.RemoveResource(ctx)
		base.AddError(&resp.Diagnostics, "create", kindCluster, work.spec.Name, err)
		return
	}
	plan.fromWork(work, err)
	resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
	resp.Diagnostics.Append(resp.Private.SetKey(ctx, privateObjects, work.objects.remember())...)
	r.reportCreate(&resp.Diagnostics, work, err)
}

// reportCreate says how a create went. Terraform destroys what a failed create
// left before it tries again; with instances running that would be a disaster,
// so from the first instance on a failure is a warning, status says incomplete,
// and the next apply repairs (docs/decisions/0006).
func (r *clusterResource) reportCreate(diags *diag.Diagnostics, work *work, err error) {
	name := work.spec.Name
	if err == nil {
		work.reportReadiness(diags)
		return
	}
	if len(work.seen.live) == 0 && !work.mayRun {
		base.AddError(diags, "create", kindCluster, name, err)
		return
	}
	var asErrors diag.Diagnostics
	base.AddError(&asErrors, "create", kindCluster, name, err)
	for _, d := range asErrors {
		diags.AddWarning(d.Summary()+": incomplete", d.Detail()+
			"\n\nThe cluster is kept as it is, with status = \"incomplete\". The next apply goes on from here; what runs already is not touched.")
	}
}

func (r *clusterResource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var state clusterModel
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	remembered, diags := req.Private.GetKey(ctx, privateObjects)
	resp.Diagnostics.Append(diags...)
	ctx, cancel := base.Deadline(ctx, state.Timeouts.Read, readTimeout, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}
	work := r.newWork(state, nil)
	work.objects.recall(remembered)
	work.readPolicies = true
	if err := work.observe(ctx); err != nil {
		base.AddError(&resp.Diagnostics, "read", kindCluster, state.Name.ValueString(), err)
		return
	}
	resp.Diagnostics.Append(resp.Identity.Set(ctx, clusterIdentity{state.Name})...)
	// A cluster is gone only when nothing of it is left: a node that is away
	// or terminated is repaired, never a reason to make a second cluster.
	if work.seen.nothing() {
		resp.State.RemoveResource(ctx)
		return
	}
	state.fromAWS(ctx, work, r.DefaultTags)
	if state.Status.ValueString() == statusReady {
		// Otherwise the gate would fail each plan of a run that changes
		// nothing here, a destroy's included.
		ready, err := work.stillReady(ctx)
		base.AddError(&resp.Diagnostics, "read", kindCluster, state.Name.ValueString(), err)
		if !ready {
			state.Status = types.StringValue(statusIncomplete)
		}
		resp.Diagnostics.Append(resp.Private.SetKey(ctx, privateObjects, work.objects.remember())...)
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &state)...)
}

func (r *clusterResource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var plan, state clusterModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	given := givenCredentials(ctx, req.Config, &resp.Diagnostics)
	remembered, diags := req.Private.GetKey(ctx, privateObjects)
	resp.Diagnostics.Append(diags...)
	ctx, cancel := base.Deadline(ctx, plan.Timeouts.Update, updateTimeout, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}
	work := r.newWork(plan, given)
	work.objects.recall(remembered)
	work.rewriteCredentials = !plan.CredentialsVersion.Equal(state.CredentialsVersion)
	work.rotateInternal = !state.InternalVersion.IsNull() && !plan.InternalVersion.Equal(state.InternalVersion)
	work.vpnPublicKey = publicKeyOf(state.VPN)
	work.priorStatus = state.Status.ValueString()
	work.setProtection = !plan.TerminationProtection.Equal(state.TerminationProtection)
	work.setTags = !plan.TagsAll.Equal(state.TagsAll) || work.priorStatus == statusIncomplete
	work.readPolicies = true

	planned := plan
	err := work.converge(ctx)
	plan.fromWork(work, err)
	if err == nil {
		plan.keepPlanned(planned, &resp.Diagnostics)
	} else {
		// Versions that did not get through are tried again by the next apply.
		plan.CredentialsVersion, plan.InternalVersion = state.CredentialsVersion, state.InternalVersion
		plan.TerminationProtection = state.TerminationProtection
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
	resp.Diagnostics.Append(resp.Identity.Set(ctx, clusterIdentity{plan.Name})...)
	resp.Diagnostics.Append(resp.Private.SetKey(ctx, privateObjects, work.objects.remember())...)
	base.AddError(&resp.Diagnostics, "update", kindCluster, plan.Name.ValueString(), err)
	if err == nil {
		work.reportReadiness(&resp.Diagnostics)
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
	err := r.newWork(state, nil).destroy(ctx)
	base.AddError(&resp.Diagnostics, "delete", kindCluster, state.Name.ValueString(), err)
}
