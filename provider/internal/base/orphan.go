package base

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	tftypes "github.com/hashicorp/terraform-plugin-framework/types"
)

// Found is an existing AWS resource with the name of one that Terraform is about to
// create (docs/decisions/0005).
type Found struct {
	ID string
	// Conflict is why the resource cannot be adopted, or empty. One that an
	// interrupted create left is not in use, because other resources get its id from
	// the state; one that is in use belongs to somebody else.
	Conflict string
}

// Adoptable returns the id of a resource that can be adopted, "" if there is none,
// or an error if the name is taken.
func (f *Found) Adoptable(kind, name string) (string, error) {
	if f == nil {
		return "", nil
	}
	if f.Conflict != "" {
		return "", AtAttribute(path.Root("name"), fmt.Errorf(
			"%s %q already exists: %s (%s); choose another name, or import it: terraform import <address> %s",
			kind, name, f.ID, f.Conflict, f.ID))
	}
	return f.ID, nil
}

// replaces is the private key under which the plan of a replacement stores the id
// of the replaced resource. Terraform plans a replacement again as a create,
// without the state, while the old resource still has the name.
const replaces = "replaces"

// PlanAdoption checks whether an interrupted apply left a resource with the name of
// the one to be created. It warns if the apply will adopt it, and fails the plan if
// the name is taken.
func (p *ProviderData) PlanAdoption(ctx context.Context, kind string, find func(ctx context.Context, name string) (*Found, error), req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if req.Plan.Raw.IsNull() {
		return
	}
	if !req.State.Raw.IsNull() {
		saveReplaced(ctx, req, resp)
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
			fmt.Sprintf("%s %q exists (%s), is not in use and is not in the state. The apply adopts it instead of creating another. If it is not yours, choose another name.", kind, name.ValueString(), id))
	}
}

func saveReplaced(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	var id tftypes.String
	resp.Diagnostics.Append(req.State.GetAttribute(ctx, path.Root("id"), &id)...)
	value, err := json.Marshal(id.ValueString())
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
