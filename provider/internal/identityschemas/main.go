// Identityschemas copies the output of `terraform providers schema -json` and adds
// the identity schemas of the provider's resources, which Terraform before 1.12
// omits. So the documentation does not depend on the version of Terraform.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"

	"github.com/xeroops/xeroops/provider/internal/provider"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "identityschemas:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var output struct {
		FormatVersion string                    `json:"format_version"`
		Providers     map[string]map[string]any `json:"provider_schemas"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&output); err != nil {
		return fmt.Errorf("read the schema from standard input: %w", err)
	}
	identities, err := identitySchemas(ctx)
	if err != nil {
		return err
	}
	for _, schemas := range output.Providers {
		schemas["resource_identity_schemas"] = identities
	}
	return json.NewEncoder(os.Stdout).Encode(output)
}

// identitySchemas returns the identity schemas in Terraform's JSON format.
func identitySchemas(ctx context.Context) (map[string]any, error) {
	server := providerserver.NewProtocol6(provider.New("docs")())()
	answer, err := server.GetResourceIdentitySchemas(ctx, &tfprotov6.GetResourceIdentitySchemasRequest{})
	if err != nil {
		return nil, fmt.Errorf("get the identity schemas: %w", err)
	}
	for _, d := range answer.Diagnostics {
		return nil, fmt.Errorf("get the identity schemas: %s: %s", d.Summary, d.Detail)
	}
	schemas := map[string]any{}
	for name, schema := range answer.IdentitySchemas {
		attributes := map[string]any{}
		for _, a := range schema.IdentityAttributes {
			attributes[a.Name] = map[string]any{
				"type":                a.Type,
				"description":         a.Description,
				"required_for_import": a.RequiredForImport,
				"optional_for_import": a.OptionalForImport,
			}
		}
		schemas[name] = map[string]any{"version": schema.Version, "attributes": attributes}
	}
	return schemas, nil
}
