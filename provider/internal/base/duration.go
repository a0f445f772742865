package base

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
)

type durationBetween struct{ shortest, longest time.Duration }

// DurationBetween returns a validator that accepts durations such as 90s or 1h30m
// within the limits.
func DurationBetween(shortest, longest time.Duration) validator.String {
	return durationBetween{shortest, longest}
}

func (v durationBetween) Description(context.Context) string {
	return fmt.Sprintf("a duration such as 90s or 1h30m, from %s to %s", v.shortest, v.longest)
}

func (v durationBetween) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

func (v durationBetween) ValidateString(ctx context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	if req.ConfigValue.IsNull() || req.ConfigValue.IsUnknown() {
		return
	}
	text := req.ConfigValue.ValueString()
	if d, err := time.ParseDuration(text); err != nil || d < v.shortest || d > v.longest {
		resp.Diagnostics.AddAttributeError(req.Path, "Invalid duration", fmt.Sprintf("%q is not %s.", text, v.Description(ctx)))
	}
}
