// Package base has what the provider's resources share: clients, tags, identity and
// import, adoption of what an interrupted apply left, and diagnostics for AWS
// errors.
package base

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/diag"

	"github.com/xeroops/xeroops/internal/awsclient"
)

// ProviderData is the data that the provider passes to its resources and data
// sources.
type ProviderData struct {
	Client     *awsclient.Client
	Describe   *Describer
	Tags       TagSettings
	PlanCache  *PlanCache
	Claims     *Claims
	Encryption *BucketEncryption
}

// FromProvider returns the provider's data, or nil if the provider is not
// configured yet, because Terraform only validates.
func FromProvider(data any, diags *diag.Diagnostics) *ProviderData {
	if data == nil {
		return nil
	}
	p, ok := data.(*ProviderData)
	if !ok {
		diags.AddError("Provider not configured", fmt.Sprintf("The provider's data has type %T. This is a bug in the provider; please report it.", data))
	}
	return p
}

// Step is one of several operations that may run concurrently.
type Step func(context.Context) error
