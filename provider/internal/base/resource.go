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

// Resource is embedded by every resource that AWS knows by one id: it gives it
// the provider's data, an identity of that id, and import by either.
type Resource struct {
	*ProviderData
}

// Configure takes the provider's data.
func (r *Resource) Configure(_ context.Context, req resource.ConfigureRequest, resp *resource.ConfigureResponse) {
	r.ProviderData = FromProvider(req.ProviderData, &resp.Diagnostics)
}

// IdentitySchema is the id alone.
func (r *Resource) IdentitySchema(_ context.Context, _ resource.IdentitySchemaRequest, resp *resource.IdentitySchemaResponse) {
	resp.IdentitySchema = identityschema.Schema{Attributes: map[string]identityschema.Attribute{
		"id": identityschema.StringAttribute{RequiredForImport: true, Description: "id that AWS gave the resource"},
	}}
}

// ImportState takes the id, given as such or as the identity.
func (r *Resource) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	resource.ImportStatePassthroughWithIdentity(ctx, path.Root("id"), path.Root("id"), req, resp)
}

// IDAttribute is the attribute id.
func IDAttribute(description string) schema.StringAttribute {
	return ComputedOnce(description)
}

// ComputedOnce is a computed string that does not change once it is known. A
// part that was lost is null in the state, and gets a new id from the apply.
func ComputedOnce(description string) schema.StringAttribute {
	return schema.StringAttribute{
		Computed:            true,
		MarkdownDescription: description,
		PlanModifiers:       []planmodifier.String{stringplanmodifier.UseNonNullStateForUnknown()},
	}
}

// DriftAttribute is the attribute drift. What a resource is made of besides its
// attributes (a policy, a route, a gateway) cannot show its drift in them, so
// Read lists it here; the plan is always "nothing", and Update puts it right.
func DriftAttribute() schema.SetAttribute {
	return schema.SetAttribute{
		ElementType: tftypes.StringType,
		Computed:    true,
		MarkdownDescription: "What was found changed outside of Terraform in the parts that the resource is made of, a sentence each. " +
			"The next apply puts it right, so it is empty after every apply.",
		Default: setdefault.StaticValue(NoDrift()),
	}
}

// NoDrift is the value of drift after an apply.
func NoDrift() tftypes.Set {
	return tftypes.SetValueMust(tftypes.StringType, []attr.Value{})
}

// Drift is the value of drift that lists what was found.
func Drift(found []string) tftypes.Set {
	values := make([]attr.Value, 0, len(found))
	for _, f := range found {
		values = append(values, tftypes.StringValue(f))
	}
	return tftypes.SetValueMust(tftypes.StringType, values)
}

// Identity is the value of an identity made of the id alone.
type Identity struct {
	ID tftypes.String `tfsdk:"id"`
}

// Deadline returns a context that ends when the operation's timeout (of the
// timeouts attribute, else fallback) is up.
func Deadline(ctx context.Context, of func(context.Context, time.Duration) (time.Duration, diag.Diagnostics), fallback time.Duration, diags *diag.Diagnostics) (context.Context, context.CancelFunc) {
	timeout, d := of(ctx, fallback)
	diags.Append(d...)
	return context.WithTimeout(ctx, timeout)
}

// NameValidators check the name of a resource: it ends up in tags, host names
// and keys of S3.
func NameValidators() []validator.String {
	return []validator.String{stringvalidator.RegexMatches(regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`),
		"a name is up to 63 lower-case letters, digits and hyphens, and neither begins nor ends with a hyphen")}
}

// KeyARNValidator checks the ARN of a KMS key.
func KeyARNValidator() validator.String {
	return stringvalidator.RegexMatches(regexp.MustCompile(`^arn:[\w-]+:kms:[\w-]+:\d{12}:key/[\w-]+$`),
		"not the ARN of a KMS key, such as arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab")
}

// Optional returns a pointer to s, or nil if it is empty.
func Optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
