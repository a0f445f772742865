// Package base is what every resource of the provider shares: how it gets its
// clients, tags, identity and import, how it finds what an interrupted apply
// left behind, and how it turns an error of AWS into a diagnostic.
package base

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/diag"

	"github.com/xeroops/xeroops/internal/awsclient"
)

// ProviderData is what the provider hands to its resources and data sources.
type ProviderData struct {
	Client      *awsclient.Client
	Describe    *Describer
	DefaultTags map[string]string
	PlanCache   *PlanCache
	Encryption  *BucketEncryption
}

// FromProvider returns the provider's data, or nil while the provider is not
// configured yet (Terraform then only validates).
func FromProvider(data any, diags *diag.Diagnostics) *ProviderData {
	if data == nil {
		return nil
	}
	p, ok := data.(*ProviderData)
	if !ok {
		diags.AddError("Provider not configured", fmt.Sprintf("The provider's data is a %T. This is a bug of the provider; please report it.", data))
	}
	return p
}

// Step is one of several pieces of work that may go on side by side.
type Step func(context.Context) error
