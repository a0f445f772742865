package base

import (
	"errors"
	"fmt"
	"strings"

	"github.com/aws/smithy-go"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/xeroops/xeroops/internal/awswait"
)

// AddError adds err to diags. The summary has operation, type and id; the detail
// has the error with AWS's code, message and request id.
func AddError(diags *diag.Diagnostics, operation, kind, id string, err error) {
	if err == nil {
		return
	}
	summary, detail := summarize(operation, kind, id), detailOf(err)
	var at *AttributeError
	if errors.As(err, &at) {
		diags.AddAttributeError(at.Path, summary, detail)
		return
	}
	diags.AddError(summary, detail)
}

func summarize(operation, kind, id string) string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", operation, kind, id))
}

func detailOf(err error) string {
	detail := err.Error()
	var api smithy.APIError
	if errors.As(err, &api) {
		detail += fmt.Sprintf("\n\nAWS code: %s\nAWS message: %s", api.ErrorCode(), api.ErrorMessage())
	}
	if id := awswait.RequestID(err); id != "" {
		detail += "\nAWS request id: " + id
	}
	return detail
}

// AttributeError is an error that an attribute of the configuration causes.
type AttributeError struct {
	Path path.Path
	Err  error
}

func (e *AttributeError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *AttributeError) Unwrap() error { return e.Err }

// AtAttribute returns err as an error of an attribute, or nil if err is nil.
func AtAttribute(p path.Path, err error) error {
	if err == nil {
		return nil
	}
	return &AttributeError{Path: p, Err: err}
}

// AtAttributeForCode returns err as an error of the attribute that codes has for
// its AWS code, or err itself if codes has none.
func AtAttributeForCode(err error, codes map[string]string) error {
	if attribute, ok := codes[awswait.Code(err)]; ok {
		return AtAttribute(path.Root(attribute), err)
	}
	return err
}
