// Package vpn has the resources of the cluster's VPN: its peers, and an ephemeral
// WireGuard key. A peer is an object in the cluster's uploads bucket, which the
// gateway reads; it does not contain the peer's private key.
package vpn

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/identityschema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"

	"github.com/xeroops/xeroops/provider/internal/base"
)

const peerTypeName = "xeroops_vpn_peer"

// operationTimeout is the default of every timeout: a few S3 calls, and the
// retries that the SDK makes of them.
const operationTimeout = 2 * time.Minute

type peerResource struct{ *base.ProviderData }

// NewPeerResource returns the resource xeroops_vpn_peer.
func NewPeerResource() resource.Resource { return &peerResource{} }

func (r *peerResource) Metadata(_ context.Context, _ resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = peerTypeName
}

func (r *peerResource) Configure(_ context.Context, req resource.ConfigureRequest, resp *resource.ConfigureResponse) {
	r.ProviderData = base.FromProvider(req.ProviderData, &resp.Diagnostics)
}

func (r *peerResource) Schema(ctx context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	replace := []planmodifier.String{stringplanmodifier.RequiresReplace()}
	resp.Schema = schema.Schema{
		MarkdownDescription: "A WireGuard peer that may connect to a cluster's VPN gateway. The private key stays with the peer: " +
			"it is neither an argument nor part of `client_config`.",
		Attributes: map[string]schema.Attribute{
			"cluster": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "Name of the cluster. Use `xeroops_cluster.<name>.name`, so that the cluster is created first.",
				Validators:          base.NameValidators(),
				PlanModifiers:       replace,
			},
			"uploads_bucket": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "The cluster's uploads bucket.",
				PlanModifiers:       replace,
			},
			"name": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "Name of the peer, unique in the cluster.",
				Validators:          base.NameValidators(),
				PlanModifiers:       replace,
			},
			"public_key": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "The peer's WireGuard public key in base64, as printed by `wg pubkey`. It can be changed in place.",
				Validators:          []validator.String{publicKeyValidator()},
			},
			"address": schema.StringAttribute{
				Optional: true,
				Computed: true,
				MarkdownDescription: "The peer's IPv4 address within the cluster's VPN range, whose first address is the gateway's. " +
					"Default: the lowest free address. It can be changed in place.",
				Validators:    []validator.String{addressValidator()},
				PlanModifiers: []planmodifier.String{stringplanmodifier.UseStateForUnknown()},
			},
			"client_config": schema.StringAttribute{
				Computed: true,
				MarkdownDescription: "The peer's configuration for `wg-quick` and the WireGuard apps. The peer replaces the placeholder `" + PrivateKeyPlaceholder + "` with its private key, " +
					"for example with `sed`.",
			},
			"timeouts": timeouts.AttributesAll(ctx),
		},
	}
}

func (r *peerResource) IdentitySchema(_ context.Context, _ resource.IdentitySchemaRequest, resp *resource.IdentitySchemaResponse) {
	part := func(description string) identityschema.Attribute {
		return identityschema.StringAttribute{RequiredForImport: true, Description: description}
	}
	resp.IdentitySchema = identityschema.Schema{Attributes: map[string]identityschema.Attribute{
		"cluster":        part("Name of the cluster"),
		"uploads_bucket": part("The cluster's uploads bucket"),
		"name":           part("Name of the peer"),
	}}
}

func (r *peerResource) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	var id peerIdentity
	if req.ID == "" {
		resp.Diagnostics.Append(req.Identity.Get(ctx, &id)...)
	} else {
		var err error
		if id, err = parseImportID(req.ID); err != nil {
			base.AddError(&resp.Diagnostics, "import", peerTypeName, req.ID, err)
		}
	}
	if !resp.Diagnostics.HasError() {
		id.setState(ctx, resp)
		r.Claims.Import(importID(id.Cluster.ValueString(), id.UploadsBucket.ValueString(), id.Name.ValueString()))
	}
}

// ModifyPlan checks whether a peer of the name exists.
func (r *peerResource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if r.ProviderData == nil {
		return
	}
	var plan, state peerModel
	if !req.Plan.Raw.IsNull() {
		resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	}
	if !req.State.Raw.IsNull() {
		resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	}
	if resp.Diagnostics.HasError() {
		return
	}
	r.PlanAdoptionOf(ctx, peerTypeName, state.importID(), func(ctx context.Context, name string) (*base.Found, error) {
		if plan.Cluster.IsUnknown() || plan.UploadsBucket.IsUnknown() {
			return nil, nil
		}
		return r.store(plan).find(ctx, name, plan.PublicKey.ValueString())
	}, req, resp)
}

func (r *peerResource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var peer peerModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &peer)...)
	ctx, cancel := base.Deadline(ctx, peer.Timeouts.Create, operationTimeout, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}
	created, err := r.AdoptOrCreate(ctx, r.creation(&peer), resp.Private, &resp.Diagnostics)
	if err == nil && peer.ClientConfig.IsUnknown() { // adopted
		err = r.save(ctx, &peer, store.update)
	}
	if err == nil { // otherwise it is not in the state
		defer created.Settle(ctx)
	}
	peer.note(ctx, "create", err, &resp.State, resp.Identity, &resp.Diagnostics)
}

func (r *peerResource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var peer peerModel
	resp.Diagnostics.Append(req.State.Get(ctx, &peer)...)
	ctx, cancel := base.Deadline(ctx, peer.Timeouts.Read, operationTimeout, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}

	// First, because a resource that is gone has an identity too, and Terraform before
	// 1.12 does not pass it.
	resp.Diagnostics.Append(resp.Identity.Set(ctx, peer.identity())...)
	claim, err := r.refresh(ctx, &peer)
	if errors.Is(err, errNoObject) {
		resp.State.RemoveResource(ctx)
		return
	}
	if err != nil {
		base.AddError(&resp.Diagnostics, "read", peerTypeName, peer.Name.ValueString(), err)
		return
	}
	if !r.Claims.Keep(ctx, r.claimed(peer, claim), resp.Private, &resp.Diagnostics) {
		resp.State.RemoveResource(ctx)
		return
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &peer)...)
}

func (r *peerResource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var peer peerModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &peer)...)
	ctx, cancel := base.Deadline(ctx, peer.Timeouts.Update, operationTimeout, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}
	if !r.Claims.MayUpdate(ctx, r.claimed(peer, ""), req.Private, &resp.Diagnostics) {
		return
	}
	err := r.save(ctx, &peer, store.update)
	peer.note(ctx, "update", err, &resp.State, resp.Identity, &resp.Diagnostics)
}

func (r *peerResource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var peer peerModel
	resp.Diagnostics.Append(req.State.Get(ctx, &peer)...)
	ctx, cancel := base.Deadline(ctx, peer.Timeouts.Delete, operationTimeout, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}

	if !r.Claims.MayDelete(ctx, r.claimed(peer, ""), req.Private, &resp.Diagnostics) {
		return
	}
	err := r.store(peer).delete(ctx, peer.Name.ValueString())
	base.AddError(&resp.Diagnostics, "delete", peerTypeName, peer.Name.ValueString(), err)
}
