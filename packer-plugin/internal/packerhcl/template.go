// Package packerhcl reads the subset of Packer's HCL that examples/images uses:
// variables, locals, sources of this plugin, one build with dynamic sources,
// provisioners and post-processors. With it the same template builds images, and is
// tested, without Packer. Anything outside the subset is an error.
package packerhcl

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/dynblock"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"

	"github.com/xeroops/xeroops/packer-plugin/internal/drive"
)

// Build is one source of a template with its provisioners and post-processors.
type Build struct {
	Name     string // such as app of xeroops-ebs.app
	Template drive.Template
}

// file is the top level of a template.
type file struct {
	Packer    []body     `hcl:"packer,block"` // ignored
	Variables []variable `hcl:"variable,block"`
	Locals    []body     `hcl:"locals,block"`
	Sources   []source   `hcl:"source,block"`
	Builds    []body     `hcl:"build,block"`
}

type body struct {
	Body hcl.Body `hcl:",remain"`
}

type source struct {
	Type string   `hcl:"type,label"`
	Name string   `hcl:"name,label"`
	Body hcl.Body `hcl:",remain"`
}

// build is the body of a build block.
type build struct {
	Sources        []buildSource `hcl:"source,block"`
	Provisioners   []component   `hcl:"provisioner,block"`
	PostProcessors []component   `hcl:"post-processor,block"`
}

type buildSource struct {
	Ref  string   `hcl:"ref,label"`
	Name string   `hcl:"name,optional"`
	Body hcl.Body `hcl:",remain"`
}

type component struct {
	Type string   `hcl:"type,label"`
	Body hcl.Body `hcl:",remain"`
}

// Load reads the *.pkr.hcl files of a directory. values sets variables like Packer's
// -var.
func Load(dir string, values map[string]string, now time.Time) ([]Build, error) {
	all, err := parse(dir)
	if err != nil {
		return nil, err
	}
	ctx := &hcl.EvalContext{
		Functions: map[string]function.Function{"formatdate": stdlib.FormatDateFunc, "merge": stdlib.MergeFunc, "timestamp": timestamp(now)},
		Variables: map[string]cty.Value{},
	}
	if ctx.Variables["var"], err = variables(all.Variables, values); err != nil {
		return nil, err
	}
	if ctx.Variables["local"], err = locals(all.Locals, ctx); err != nil {
		return nil, err
	}
	if len(all.Builds) != 1 {
		return nil, fmt.Errorf("%s has %d build blocks, want 1", dir, len(all.Builds))
	}
	var b build
	if diags := gohcl.DecodeBody(dynblock.Expand(all.Builds[0].Body, ctx), ctx, &b); diags.HasErrors() {
		return nil, fmt.Errorf("read the build of %s: %w", dir, diags)
	}
	var builds []Build
	for _, s := range b.Sources {
		loaded, err := all.build(b, s, ctx)
		if err != nil {
			return nil, err
		}
		builds = append(builds, loaded)
	}
	return builds, nil
}

// parse parses the files of a directory as one.
func parse(dir string) (file, error) {
	var all file
	paths, err := filepath.Glob(filepath.Join(dir, "*.pkr.hcl"))
	if err != nil || len(paths) == 0 {
		return all, errors.Join(fmt.Errorf("%s has no *.pkr.hcl", dir), err)
	}
	parser := hclparse.NewParser()
	var files []*hcl.File
	for _, path := range paths {
		parsed, diags := parser.ParseHCLFile(path)
		if diags.HasErrors() {
			return all, diags
		}
		files = append(files, parsed)
	}
	if diags := gohcl.DecodeBody(hcl.MergeFiles(files), nil, &all); diags.HasErrors() {
		return all, fmt.Errorf("read %s: %w", dir, diags)
	}
	return all, nil
}

// timestamp returns Packer's function timestamp, with a fixed time.
func timestamp(now time.Time) function.Function {
	return function.New(&function.Spec{
		Type: function.StaticReturnType(cty.String),
		Impl: func([]cty.Value, cty.Type) (cty.Value, error) {
			return cty.StringVal(now.UTC().Format(time.RFC3339)), nil
		},
	})
}

// build evaluates the build for one of its sources.
func (f file) build(b build, s buildSource, ctx *hcl.EvalContext) (Build, error) {
	at := slices.IndexFunc(f.Sources, func(named source) bool { return named.Type+"."+named.Name == s.Ref })
	if at < 0 {
		return Build{}, fmt.Errorf("source %q of the build does not exist; use TYPE.NAME of a source block", s.Ref)
	}
	named := f.Sources[at]
	result := Build{Name: cmp.Or(s.Name, named.Name)}
	ctx = ctx.NewChild()
	ctx.Variables = map[string]cty.Value{"source": cty.ObjectVal(map[string]cty.Value{
		"name": cty.StringVal(result.Name), "type": cty.StringVal(named.Type)})}
	var errs []error
	configure := func(kind, name string, body hcl.Body) drive.Component {
		c, err := decode(kind, name, body, ctx)
		errs = append(errs, err)
		return c
	}
	result.Template.Builder = configure("builder", named.Type, hcl.MergeBodies([]hcl.Body{named.Body, s.Body}))
	for _, c := range b.Provisioners {
		result.Template.Provisioners = append(result.Template.Provisioners, configure("provisioner", c.Type, c.Body))
	}
	for _, c := range b.PostProcessors {
		result.Template.PostProcessors = append(result.Template.PostProcessors, configure("post-processor", c.Type, c.Body))
	}
	return result, errors.Join(errs...)
}
