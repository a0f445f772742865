package network

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
)

// Prefix lengths of a VPC and a subnet (VPC user guide, "VPC CIDR blocks" and
// "Subnet sizing").
const (
	vpcLargest     = 16
	vpcSmallest    = 28
	subnetLargest  = 16
	subnetSmallest = 28
)

// everywhere is the destination of a default route.
const everywhere = "0.0.0.0/0"

type cidrBetween struct{ largest, smallest int }

// CIDRBetween returns a validator that accepts IPv4 ranges without host bits and
// with a prefix of largest to smallest bits.
func CIDRBetween(largest, smallest int) validator.String { return cidrBetween{largest, smallest} }

func (v cidrBetween) Description(context.Context) string {
	return fmt.Sprintf("an IPv4 range such as 10.0.0.0/%d, /%d to /%d", v.largest, v.largest, v.smallest)
}

func (v cidrBetween) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

func (v cidrBetween) ValidateString(ctx context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	if req.ConfigValue.IsNull() || req.ConfigValue.IsUnknown() {
		return
	}
	if err := v.check(req.ConfigValue.ValueString()); err != nil {
		resp.Diagnostics.AddAttributeError(req.Path, "Invalid IPv4 range", err.Error()+"; use "+v.Description(ctx)+".")
	}
}

func (v cidrBetween) check(text string) error {
	prefix, err := netip.ParsePrefix(text)
	switch {
	case err != nil || !prefix.Addr().Is4():
		return fmt.Errorf("%q is not an IPv4 range", text)
	case prefix.Masked() != prefix:
		return fmt.Errorf("%s has host bits; the range is %s", text, prefix.Masked())
	case prefix.Bits() < v.largest || prefix.Bits() > v.smallest:
		return fmt.Errorf("%s is a /%d", text, prefix.Bits())
	}
	return nil
}
