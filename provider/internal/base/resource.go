package base

import (
	"context"
	"regexp"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/identityschema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/setdefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	tftypes "github.com/hashicorp/terraform-plugin-framework/types"
)

// Resource is embedded by every resource that AWS identifies by one id. It
// implements the provider's data, an identity with the id, and import by either.
type Resource struct {
	*ProviderData
}

// Configure stores the provider's data.
func (r *Resource) Configure(_ context.Context, req resource.ConfigureRequest, resp *resource.ConfigureResponse) {
	r.ProviderData = FromProvider(req.ProviderData, &resp.Diagnostics)
}

// IdentitySchema returns an identity schema with the id.
func (r *Resource) IdentitySchema(_ context.Context, _ resource.IdentitySchemaRequest, resp *resource.IdentitySchemaResponse) {
	resp.IdentitySchema = identityschema.Schema{Attributes: map[string]identityschema.Attribute{
		"id": identityschema.StringAttribute{RequiredForImport: true, Description: "Id of the resource in AWS"},
	}}
}

// ImportState imports a resource by its id or identity.
func (r *Resource) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	resource.ImportStatePassthroughWithIdentity(ctx, path.Root("id"), path.Root("id"), req, resp)
	r.Claims.noteImport(ctx, resp)
}

// IDAttribute returns the attribute id.
func IDAttribute(description string) schema.StringAttribute {
	return ComputedOnce(description)
}

// ComputedOnce returns a computed string attribute that does not change once it is
// known. If the part that it identifies was deleted, it is null in the state and
// gets a new value from the apply.
func ComputedOnce(description string) schema.StringAttribute {
	return schema.StringAttribute{
		Computed:            true,
		MarkdownDescription: description,
		PlanModifiers:       []planmodifier.String{stringplanmodifier.UseNonNullStateForUnknown()},
	}
}

// DriftAttribute returns the attribute drift. It shows drift in parts of a resource
// that have no attributes, such as a policy, a route or a gateway. Read lists the
// drift, the plan is always empty, and Update corrects it.
func DriftAttribute() schema.SetAttribute {
	return schema.SetAttribute{
		ElementType: tftypes.StringType,
		Computed:    true,
		MarkdownDescription: "Changes made outside of Terraform to parts of the resource that have no attributes of their own. " +
			"The next apply reverts them, so the set is empty after every apply.",
		Default: setdefault.StaticValue(NoDrift()),
	}
}

// NoDrift returns the value of drift after an apply.
func NoDrift() tftypes.Set {
	return tftypes.SetValueMust(tftypes.StringType, []attr.Value{})
}

// Drift returns the value of drift that lists the findings.
func Drift(found []string) tftypes.Set {
	values := make([]attr.Value, 0, len(found))
	for _, f := range found {
		values = append(values, tftypes.StringValue(f))
	}
	return tftypes.SetValueMust(tftypes.StringType, values)
}

// Identity is the value of an identity that has only the id.
type Identity struct {
	ID tftypes.String `tfsdk:"id"`
}

// Deadline returns a context with the timeout of the operation: the configured one
// of the timeouts attribute, otherwise fallback.
func Deadline(ctx context.Context, of func(context.Context, time.Duration) (time.Duration, diag.Diagnostics), fallback time.Duration, diags *diag.Diagnostics) (context.Context, context.CancelFunc) {
	timeout, d := of(ctx, fallback)
	diags.Append(d...)
	return context.WithTimeout(ctx, timeout)
}

// NameValidators returns the validators of a resource's name, which is used in
// tags, host names and S3 keys.
func NameValidators() []validator.String {
	return []validator.String{stringvalidator.RegexMatches(regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`),
		"use up to 63 lowercase letters, digits and hyphens, and no hyphen at the start or end")}
}

// KeyARNValidator checks the ARN of a KMS key.
func KeyARNValidator() validator.String {
	return stringvalidator.RegexMatches(regexp.MustCompile(`^arn:[\w-]+:kms:[\w-]+:\d{12}:key/[\w-]+$`),
		"not the ARN of a KMS key, such as arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab")
}

// PolicyARNValidator checks the ARN of an IAM policy.
func PolicyARNValidator() validator.String {
	return stringvalidator.RegexMatches(regexp.MustCompile(`^arn:[\w-]+:iam::(\d{12}|aws):policy/.+$`), "must be the ARN of an IAM policy, such as arn:aws:iam::123456789012:policy/boundary")
}

// Optional returns a pointer to s, or nil if it is empty.
func Optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
