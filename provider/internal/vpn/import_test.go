package vpn

import (
	"context"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/xeroops/xeroops/provider/internal/base"
)

// Import by identity needs Terraform 1.12; this tests the same with any version.
func TestPeerIsImportedByIdentityAlone(t *testing.T) {
	ctx := context.Background()
	r := &peerResource{&base.ProviderData{Claims: base.NewClaims("")}}
	var schema resource.SchemaResponse
	r.Schema(ctx, resource.SchemaRequest{}, &schema)
	var identity resource.IdentitySchemaResponse
	r.IdentitySchema(ctx, resource.IdentitySchemaRequest{}, &identity)

	given := tfsdk.ResourceIdentity{Schema: identity.IdentitySchema, Raw: tftypes.NewValue(identity.IdentitySchema.Type().TerraformType(ctx), nil)}
	want := peerIdentity{types.StringValue("production"), types.StringValue("uploads-1"), types.StringValue("laptop")}
	if diags := given.Set(ctx, want); diags.HasError() {
		t.Fatal(diags)
	}
	resp := resource.ImportStateResponse{
		State:    tfsdk.State{Schema: schema.Schema, Raw: tftypes.NewValue(schema.Schema.Type().TerraformType(ctx), nil)},
		Identity: &tfsdk.ResourceIdentity{Schema: given.Schema, Raw: given.Raw.Copy()},
	}
	r.ImportState(ctx, resource.ImportStateRequest{Identity: &given}, &resp)
	if resp.Diagnostics.HasError() {
		t.Fatal(resp.Diagnostics)
	}
	for attribute, value := range map[string]types.String{"cluster": want.Cluster, "uploads_bucket": want.UploadsBucket, "name": want.Name} {
		var got types.String
		if diags := resp.State.GetAttribute(ctx, path.Root(attribute), &got); diags.HasError() || got != value {
			t.Errorf("%s is %s (%v), want %s", attribute, got, diags, value)
		}
	}
}
