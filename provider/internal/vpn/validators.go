package vpn

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
)

// checked is a validator of strings by a function.
type checked struct {
	description string
	check       func(string) error
}

func (c checked) Description(context.Context) string             { return c.description }
func (c checked) MarkdownDescription(ctx context.Context) string { return c.Description(ctx) }

func (c checked) ValidateString(_ context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	if req.ConfigValue.IsNull() || req.ConfigValue.IsUnknown() {
		return
	}
	if err := c.check(req.ConfigValue.ValueString()); err != nil {
		resp.Diagnostics.AddAttributeError(req.Path, "Invalid "+c.description, err.Error()+".")
	}
}

func publicKeyValidator() validator.String {
	return checked{"WireGuard public key", checkKey}
}

func addressValidator() validator.String {
	return checked{"VPN address", func(s string) error {
		if a, err := netip.ParseAddr(s); err != nil || !a.Is4() {
			return fmt.Errorf("%q is not an IPv4 address such as 10.100.0.7", s)
		}
		return nil
	}}
}
