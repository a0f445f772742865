package awscalls

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Site is a place in the code that makes a call.
type Site struct {
	Action string // service:Operation, as ec2:RunInstances
	File   string // relative to the module, with slashes
	Line   int
}

// components are the main packages of the released programs.
var components = []string{"./provider", "./packer-plugin", "./node", "./cli"}

// clientTable is the file that lists the EC2 calls without making them.
const clientTable = "internal/awsclient/ec2.go"

// goPackage is what `go list -json` reports of a package.
type goPackage struct {
	ImportPath, Dir, Export string
	GoFiles, Imports        []string
	Module                  *struct {
		Dir  string
		Main bool
	}
}

// Find returns the calls of AWS APIs in the released programs of the module in dir,
// in order. It finds method calls and values of clients and of our own types with
// the SDK's signatures, paginators and waiters, but not calls that a library makes.
func Find(ctx context.Context, dir string) ([]Site, error) {
	packages, err := list(ctx, dir)
	if err != nil {
		return nil, err
	}
	exports := map[string]string{}
	for _, p := range packages {
		exports[p.ImportPath] = p.Export
	}
	fset := token.NewFileSet()
	imports := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	var sites []Site
	for _, p := range packages {
		if p.Module == nil || !p.Module.Main {
			continue
		}
		found, err := p.find(fset, imports)
		if err != nil {
			return nil, fmt.Errorf("find calls in %s: %w", p.ImportPath, err)
		}
		sites = append(sites, found...)
	}
	slices.SortFunc(sites, func(a, b Site) int {
		return cmp.Or(cmp.Compare(a.Action, b.Action), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return slices.Compact(sites), nil
}

// list returns the packages of the released programs and what they import.
func list(ctx context.Context, dir string) ([]goPackage, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"list", "-deps", "-export", "-json=ImportPath,Dir,Export,GoFiles,Imports,Module"}, components...)...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, stderr.String())
	}
	var all []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		all = append(all, p)
	}
}

func (p goPackage) find(fset *token.FileSet, imports types.Importer) ([]Site, error) {
	var files []*ast.File
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{}}
	if _, err := (&types.Config{Importer: imports}).Check(p.ImportPath, fset, files, info); err != nil {
		return nil, err
	}
	var sites []Site
	for identifier, object := range info.Uses {
		action := actionOf(object)
		if action == "" {
			continue
		}
		at := fset.Position(identifier.Pos())
		file, err := filepath.Rel(p.Module.Dir, at.Filename)
		if err != nil {
			return nil, err
		}
		if file = filepath.ToSlash(file); file != clientTable {
			sites = append(sites, Site{Action: action, File: file, Line: at.Line})
		}
	}
	return sites, nil
}

var (
	servicePackage = regexp.MustCompile(`^github\.com/aws/aws-sdk-go-v2/service/([a-z0-9]+)$`)
	pagesOf        = regexp.MustCompile(`^New(\w+)Paginator$`)
)

// actionOf returns the action that an object calls, or "". The object is a method or
// field with the signature of an operation, the constructor of a paginator, or the
// Wait method of a waiter.
func actionOf(object types.Object) string {
	if function, ok := object.(*types.Func); ok && function.Pkg() != nil {
		service := servicePackage.FindStringSubmatch(function.Pkg().Path())
		if pages := pagesOf.FindStringSubmatch(function.Name()); service != nil && pages != nil {
			return service[1] + ":" + pages[1]
		}
	}
	if object.Type() == nil {
		return ""
	}
	signature, ok := object.Type().Underlying().(*types.Signature)
	if !ok || signature.Params().Len() < 2 {
		return ""
	}
	return operationOf(signature.Params().At(1).Type())
}

// operationOf returns the action whose input a type is.
func operationOf(t types.Type) string {
	pointer, ok := t.(*types.Pointer)
	if !ok {
		return ""
	}
	named, ok := pointer.Elem().(*types.Named)
	if !ok || named.Obj().Pkg() == nil {
		return ""
	}
	service := servicePackage.FindStringSubmatch(named.Obj().Pkg().Path())
	operation, isInput := strings.CutSuffix(named.Obj().Name(), "Input")
	if service == nil || !isInput {
		return ""
	}
	return service[1] + ":" + operation
}

// makers are the customers' names for the code in a directory or a file's prefix;
// the longest match counts.
var makers = []struct{ prefix, name string }{
	{"provider/internal/network/vpc_", "xeroops_vpc"},
	{"provider/internal/network/subnet_", "xeroops_subnet"},
	{"provider/internal/network/eip_", "xeroops_eip"},
	{"provider/internal/network/dns_firewall_", "xeroops_vpc"},
	{"provider/internal/network/flow_log_", "xeroops_flow_log"},
	{"provider/internal/network/availability_zones_", "data source xeroops_availability_zones"},
	{"provider/internal/network/", "xeroops_vpc, xeroops_subnet, xeroops_eip"},
	{"provider/internal/storage/bucket_", "xeroops_bucket"},
	{"provider/internal/storage/volume_", "xeroops_volume"},
	{"provider/internal/cluster/cluster_data_source.go", "data source xeroops_cluster"},
	{"provider/internal/cluster/", "xeroops_cluster"},
	{"provider/internal/vpn/", "xeroops_vpn_peer"},
	{"provider/internal/image/", "data source xeroops_image"},
	{"provider/", "provider"},
	{"packer-plugin/builder/", "xeroops-ebs"},
	{"packer-plugin/datasource/", "Packer data source xeroops-image"},
	{"packer-plugin/post-processor/", "xeroops-manifest"},
	{"packer-plugin/", "Packer plugin"},
	{"node/", "node"},
	{"cli/", "xeroops"},
	{"internal/awsclient/", "provider, Packer plugin"},
}

// Maker returns who makes the call at a site, in the customers' terms.
func (s Site) Maker() string {
	name, length := path.Dir(s.File), 0
	for _, m := range makers {
		if strings.HasPrefix(s.File, m.prefix) && len(m.prefix) > length {
			name, length = m.name, len(m.prefix)
		}
	}
	return name
}
