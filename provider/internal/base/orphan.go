package base

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	tftypes "github.com/hashicorp/terraform-plugin-framework/types"
)

// Found is something at AWS that carries the name of a resource which
// Terraform is about to create (docs/decisions/0005).
type Found struct {
	ID string
	// InUse says what already uses it, or is "". A create that was interrupted
	// leaves things that nothing uses yet, since everything else learns of them
	// from the state; what is in use belongs to somebody.
	InUse string
}

// Adoptable returns the id of what may be taken over, "" if there is nothing,
// or an error if the name is taken.
func (f *Found) Adoptable(kind, name string) (string, error) {
	if f == nil {
		return "", nil
	}
	if f.InUse != "" {
		return "", AtAttribute(path.Root("name"), fmt.Errorf(
			"%s %q exists already: %s, and %s. Choose another name, or bring it under this configuration with: terraform import <address> %s",
			kind, name, f.ID, f.InUse, f.ID))
	}
	return f.ID, nil
}

// replaces is the private key under which the plan of a replacement keeps the
// id of what it replaces: Terraform plans a replacement once more as a create,
// without the state, and the old one still has its name then.
const replaces = "replaces"

// PlanAdoption looks, when a resource is about to be created, whether an
// interrupted apply left one of its name; a name that is taken fails the plan.
func (p *ProviderData) PlanAdoption(ctx context.Context, kind string, find func(ctx context.Context, name string) (*Found, error), req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if req.Plan.Raw.IsNull() {
		return
	}
	if !req.State.Raw.IsNull() {
		noteReplaced(ctx, req, resp)
		return
	}
	var name tftypes.String
	resp.Diagnostics.Append(req.Plan.GetAttribute(ctx, path.Root("name"), &name)...)
	if resp.Diagnostics.HasError() || name.IsUnknown() || name.IsNull() {
		return
	}
	found, err := find(ctx, name.ValueString())
	if err != nil {
		AddError(&resp.Diagnostics, "plan", kind, name.ValueString(), err)
		return
	}
	if found == nil {
		p.PlanCache.Put(kind, name.ValueString(), vacant{})
	}
	if found != nil && isReplaced(ctx, found.ID, req, resp) {
		return
	}
	id, err := found.Adoptable(kind, name.ValueString())
	AddError(&resp.Diagnostics, "plan", kind, name.ValueString(), err)
	if id != "" {
		resp.Diagnostics.AddAttributeWarning(path.Root("name"), "An earlier apply was interrupted",
			fmt.Sprintf("%s %q exists (%s), nothing uses it, and this state does not know it. The apply takes it over instead of creating another. If it is not yours, choose another name.", kind, name.ValueString(), id))
	}
}

func noteReplaced(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	var id tftypes.String
	resp.Diagnostics.Append(req.State.GetAttribute(ctx, path.Root("id"), &id)...)
	value, err := json.Marshal(id.ValueString())
	if err != nil {
		resp.Diagnostics.AddError("Note the id of what may be replaced", err.Error())
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
