package acctest

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// ImportsByIdentity imports a resource by its identity, which has only the id, like
// Terraform 1.12, and reads it. It calls the provider itself, so that the tests
// need only Terraform 1.11.
func ImportsByIdentity(ctx context.Context, kind, id string) error {
	server, err := Factories()["xeroops"]()
	if err != nil {
		return err
	}
	schemas, err := server.GetProviderSchema(ctx, &tfprotov6.GetProviderSchemaRequest{})
	if err != nil {
		return err
	}
	config, err := emptyValue(schemas.Provider.ValueType())
	if err != nil {
		return err
	}
	configured, err := server.ConfigureProvider(ctx, &tfprotov6.ConfigureProviderRequest{Config: config})
	if err := failed(err, configured.Diagnostics); err != nil {
		return err
	}
	identityType := tftypes.Object{AttributeTypes: map[string]tftypes.Type{"id": tftypes.String}}
	identity, err := tfprotov6.NewDynamicValue(identityType, tftypes.NewValue(identityType, map[string]tftypes.Value{"id": tftypes.NewValue(tftypes.String, id)}))
	if err != nil {
		return err
	}
	imported, err := server.ImportResourceState(ctx, &tfprotov6.ImportResourceStateRequest{
		TypeName: kind, Identity: &tfprotov6.ResourceIdentityData{IdentityData: &identity}})
	if err := failed(err, imported.Diagnostics); err != nil {
		return err
	}
	got := imported.ImportedResources[0]
	read, err := server.ReadResource(ctx, &tfprotov6.ReadResourceRequest{
		TypeName: kind, CurrentState: got.State, CurrentIdentity: got.Identity, Private: got.Private})
	if err := failed(err, read.Diagnostics); err != nil {
		return err
	}
	state, err := read.NewState.Unmarshal(schemas.ResourceSchemas[kind].ValueType())
	if err != nil {
		return err
	}
	return sameID(state, id)
}

// emptyValue returns a configuration without values.
func emptyValue(of tftypes.Type) (*tfprotov6.DynamicValue, error) {
	attributes := map[string]tftypes.Value{}
	for name, t := range of.(tftypes.Object).AttributeTypes {
		attributes[name] = tftypes.NewValue(t, nil)
	}
	value, err := tfprotov6.NewDynamicValue(of, tftypes.NewValue(of, attributes))
	return &value, err
}

func failed(err error, diags []*tfprotov6.Diagnostic) error {
	for _, d := range diags {
		if d.Severity == tfprotov6.DiagnosticSeverityError {
			return fmt.Errorf("%s: %s", d.Summary, d.Detail)
		}
	}
	return err
}

func sameID(state tftypes.Value, want string) error {
	attributes, id := map[string]tftypes.Value{}, ""
	if state.IsNull() {
		return fmt.Errorf("nothing was imported for the identity %s", want)
	}
	if err := state.As(&attributes); err != nil {
		return err
	}
	if err := attributes["id"].As(&id); err != nil {
		return err
	}
	if id != want {
		return fmt.Errorf("imported %s by the identity of %s", id, want)
	}
	return nil
}
