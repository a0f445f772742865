package base

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
)

func TestAtAttributeForCode(t *testing.T) {
	var diags diag.Diagnostics
	err := AtAttributeForCode(fmt.Errorf("create subnet: %w", answered(400, "InvalidSubnet.Range")), map[string]string{"InvalidSubnet.Range": "cidr"})
	AddError(&diags, "create", "xeroops_subnet", "app", err)
	d, ok := diags[0].(diag.DiagnosticWithPath)
	if !ok || !d.Path().Equal(path.Root("cidr")) {
		t.Errorf("%v is not on cidr", diags[0])
	}
	if d.Summary() != "create xeroops_subnet app" || !strings.Contains(d.Detail(), "AWS code: InvalidSubnet.Range") {
		t.Errorf("%s: %s", d.Summary(), d.Detail())
	}
}

func TestAtAttributeForCodeKeepsOtherErrors(t *testing.T) {
	other := errors.New("no route to host")
	if got := AtAttributeForCode(other, map[string]string{"X": "cidr"}); !errors.Is(got, other) {
		t.Errorf("got %v", got)
	}
	if AtAttributeForCode(nil, nil) != nil || AtAttribute(path.Root("a"), nil) != nil {
		t.Error("no error became one")
	}
}
