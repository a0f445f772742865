package packerhcl

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/xeroops/xeroops/packer-plugin/builder/ebs"
	"github.com/xeroops/xeroops/packer-plugin/internal/drive"
	"github.com/xeroops/xeroops/packer-plugin/post-processor/manifest"
	"github.com/xeroops/xeroops/packer-plugin/provisioner/role"
)

type variable struct {
	Name        string         `hcl:"name,label"`
	Description string         `hcl:"description,optional"`
	Type        hcl.Expression `hcl:"type"`
	Default     hcl.Expression `hcl:"default,optional"`
}

// variables evaluates the variables from values and their defaults.
func variables(all []variable, set map[string]string) (cty.Value, error) {
	values := map[string]cty.Value{}
	unknown := maps.Clone(set)
	var errs []error
	for _, v := range all {
		text, isSet := set[v.Name]
		delete(unknown, v.Name)
		value, err := v.value(text, isSet)
		if err != nil {
			errs = append(errs, fmt.Errorf("variable %s: %w", v.Name, err))
			continue
		}
		values[v.Name] = value
	}
	for _, name := range slices.Sorted(maps.Keys(unknown)) {
		errs = append(errs, fmt.Errorf("variable %s: not declared in the template", name))
	}
	return cty.ObjectVal(values), errors.Join(errs...)
}

func (v variable) value(text string, set bool) (cty.Value, error) {
	kind, diags := typeexpr.TypeConstraint(v.Type)
	if diags.HasErrors() {
		return cty.NilVal, diags
	}
	var value cty.Value
	switch {
	case set && kind == cty.String:
		return cty.StringVal(text), nil
	case set:
		expression, diags := hclsyntax.ParseExpression([]byte(text), "-var "+v.Name, hcl.InitialPos)
		if diags.HasErrors() {
			return cty.NilVal, diags
		}
		if value, diags = expression.Value(nil); diags.HasErrors() {
			return cty.NilVal, diags
		}
	default:
		if empty(v.Default) {
			return cty.NilVal, errors.New("no default; set it with -var")
		}
		if value, diags = v.Default.Value(nil); diags.HasErrors() {
			return cty.NilVal, diags
		}
	}
	return convert.Convert(value, kind)
}

// empty reports whether an optional attribute is absent, for which gohcl returns an
// expression without a range.
func empty(e hcl.Expression) bool { return e == nil || e.Range().Empty() }

// locals evaluates the locals. They cannot refer to each other.
func locals(all []body, ctx *hcl.EvalContext) (cty.Value, error) {
	values := map[string]cty.Value{}
	for _, block := range all {
		attributes, diags := block.Body.JustAttributes()
		if diags.HasErrors() {
			return cty.NilVal, diags
		}
		for name, a := range attributes {
			value, diags := a.Expr.Value(ctx)
			if diags.HasErrors() {
				return cty.NilVal, diags
			}
			values[name] = value
		}
	}
	return cty.ObjectVal(values), nil
}

// prefix is the plugin's prefix of component names in HCL.
const prefix = "xeroops-"

// specs holds the schemas of the components' blocks.
var specs = map[string]hcldec.ObjectSpec{
	"builder " + prefix + "ebs":             new(ebs.Builder).ConfigSpec(),
	"provisioner " + prefix + "role":        new(role.Provisioner).ConfigSpec(),
	"post-processor " + prefix + "manifest": new(manifest.PostProcessor).ConfigSpec(),
}

// decode evaluates a component's block. As in Packer, null means not set.
func decode(kind, name string, body hcl.Body, ctx *hcl.EvalContext) (drive.Component, error) {
	spec, ok := specs[kind+" "+name]
	if !ok {
		return drive.Component{}, fmt.Errorf("%s %q is not part of this plugin; run the template with Packer", kind, name)
	}
	value, diags := hcldec.Decode(body, spec, ctx)
	if diags.HasErrors() {
		return drive.Component{}, diags
	}
	content, err := ctyjson.SimpleJSONValue{Value: value}.MarshalJSON()
	if err != nil {
		return drive.Component{}, fmt.Errorf("%s %q: %w", kind, name, err)
	}
	config := map[string]any{}
	if err := json.Unmarshal(content, &config); err != nil {
		return drive.Component{}, fmt.Errorf("%s %q: %w", kind, name, err)
	}
	return drive.Component{Name: strings.TrimPrefix(name, prefix), Config: withoutNulls(config)}, nil
}

func withoutNulls(config map[string]any) map[string]any {
	for key, value := range config {
		switch v := value.(type) {
		case nil:
			delete(config, key)
		case map[string]any:
			withoutNulls(v)
		case []any:
			for _, item := range v {
				if block, ok := item.(map[string]any); ok {
					withoutNulls(block)
				}
			}
		}
	}
	return config
}
