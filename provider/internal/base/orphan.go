package base

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	tftypes "github.com/hashicorp/terraform-plugin-framework/types"
)

// Found is an existing AWS resource with the name of one that Terraform is about to
// create (docs/decisions/0023).
type Found struct {
	ID string
	// Claim is the value of its tag TagClaim, or empty.
	Claim string
	// Conflict is why the resource cannot be the configured one, or empty.
	Conflict string
	// InUse is what uses the resource, or empty. One in use may belong to a state that
	// was not read again since its first apply; only a configured owner excludes that.
	InUse string
}

func taken(kind, name, id, why string) error {
	return AtAttribute(path.Root("name"), fmt.Errorf("%s %q already exists: %s (%s). If it is in this state under another address, add a moved block; "+
		"create_before_destroy is not possible, because names are unique. If it is to be managed here, import it: terraform import <address> %s. "+
		"Otherwise choose another name", kind, name, id, why, id))
}

// replaces is the private key under which the plan of a replacement stores the id
// of the replaced resource. Terraform plans a replacement again as a create,
// without the state, while the old resource still has the name.
const replaces = "replaces"

// FindByName returns the existing resource of a name, or nil.
type FindByName func(ctx context.Context, name string) (*Found, error)

// PlanAdoption is PlanAdoptionOf a resource with the attribute id.
func (p *ProviderData) PlanAdoption(ctx context.Context, kind string, find FindByName, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	var id tftypes.String
	if !req.State.Raw.IsNull() {
		resp.Diagnostics.Append(req.State.GetAttribute(ctx, path.Root("id"), &id)...)
	}
	if !resp.Diagnostics.HasError() {
		p.PlanAdoptionOf(ctx, kind, id.ValueString(), find, req, resp)
	}
}

// PlanAdoptionOf checks whether a resource with the name of the planned one exists. It
// warns if the apply will adopt what an interrupted one left. If the name is taken,
// the plan fails, or warns where only Create can tell: an error in the plan that
// Terraform makes again during an apply would leave a deposed object.
//
// id is that of the resource in the state, if there is one.
func (p *ProviderData) PlanAdoptionOf(ctx context.Context, kind, id string, find FindByName, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if !req.State.Raw.IsNull() {
		p.planExisting(ctx, kind, id, find, req, resp)
		return
	}
	name, known := plannedName(ctx, req.Plan.GetAttribute, &resp.Diagnostics)
	if !known {
		return
	}
	found, err := find(ctx, name)
	switch {
	case err != nil:
		AddError(&resp.Diagnostics, "plan", kind, name, err)
	case found == nil:
		p.PlanCache.Put(kind, name, vacant{})
	case !isReplaced(ctx, found.ID, req, resp):
		p.Claims.planCreate(kind, name, found, &resp.Diagnostics)
	}
}

// planCreate adds what the plan of a create says about the resource that has its
// name.
func (c *Claims) planCreate(kind, name string, found *Found, diags *diag.Diagnostics) {
	id, err := c.Adoptable(kind, name, found)
	c.mu.Lock()
	defer c.mu.Unlock()
	key := kind + "/" + found.ID
	switch {
	case id != "" && found.InUse != "":
		diags.AddAttributeWarning(path.Root("name"), "The apply adopts what is in use",
			fmt.Sprintf("%s %q exists (%s, in use: %s). It was created with the same owner, %q, and no state with it has been read back yet: an earlier apply was interrupted, or another state has the same owner. "+
				"In the latter case, set a different owner or name before the apply.", kind, name, id, found.InUse, c.owner))
	case id != "":
		diags.AddAttributeWarning(path.Root("name"), "An earlier apply was interrupted",
			fmt.Sprintf("%s %q exists (%s), is not in use and is not in any state. The apply adopts it instead of creating another. If it is not yours, choose another name.", kind, name, id))
	case c.read[key] && !c.prior[key]:
		c.found[key] = name // may be a tainted resource, which is deleted before this create
	case c.prior[key] || c.hasRead:
		AddError(diags, "plan", kind, name, err)
	default:
		c.found[key] = name
		diags.AddAttributeWarning(path.Root("name"), "The name is taken", fmt.Sprintf("%v. The apply will fail.", err))
	}
}

// planExisting checks the plan of a resource that is in the state: its name, if it
// changes, is not that of another, and no create of this run is to have it.
func (p *ProviderData) planExisting(ctx context.Context, kind, id string, find FindByName, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	before, _ := plannedName(ctx, req.State.GetAttribute, &resp.Diagnostics)
	if resp.Diagnostics.HasError() {
		return
	}
	AddError(&resp.Diagnostics, "plan", kind, before, p.Claims.planPrior(kind, id))
	if req.Plan.Raw.IsNull() || resp.Diagnostics.HasError() {
		return
	}
	saveReplaced(ctx, id, resp)
	name, known := plannedName(ctx, req.Plan.GetAttribute, &resp.Diagnostics)
	if !known || name == before {
		return
	}
	found, err := find(ctx, name)
	if err == nil && found != nil && found.ID != id {
		err = taken(kind, name, found.ID, "names are unique")
	}
	AddError(&resp.Diagnostics, "plan", kind, before, err)
}

// planPrior notes that a resource is in the state. It is an error if a create has
// found it under its own name.
func (c *Claims) planPrior(kind, id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := kind + "/" + id
	c.prior[key] = true
	if name, ok := c.found[key]; ok {
		return taken(kind, name, id, "it is in the state under another address")
	}
	return nil
}

func plannedName(ctx context.Context, get func(context.Context, path.Path, any) diag.Diagnostics, diags *diag.Diagnostics) (name string, known bool) {
	var value tftypes.String
	diags.Append(get(ctx, path.Root("name"), &value)...)
	return value.ValueString(), !diags.HasError() && !value.IsUnknown() && !value.IsNull()
}

func saveReplaced(ctx context.Context, id string, resp *resource.ModifyPlanResponse) {
	value, err := json.Marshal(id)
	if err != nil {
		resp.Diagnostics.AddError("Save the id of the replaced resource", err.Error())
		return
	}
	resp.Diagnostics.Append(resp.Private.SetKey(ctx, replaces, value)...)
}

func isReplaced(ctx context.Context, id string, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) bool {
	value, diags := req.Private.GetKey(ctx, replaces)
	resp.Diagnostics.Append(diags...)
	var replaced string
	return json.Unmarshal(value, &replaced) == nil && replaced == id
}
