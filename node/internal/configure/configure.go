// Package configure renders the configuration of a node's services with
// text/template, from config/PATH.tmpl of each of the role's directories in
// templates to /PATH. The first line of a template has the file's attributes,
// and the units to reload when it changes:
//
//	{{/* mode=0640 owner=redis:redis unit=redis-server.service */ -}}
//
// Defaults: mode 0644, owner root:root, and all units of the role; unit=none
// stands for no unit.
package configure

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/pki"
	"github.com/xeroops/xeroops/node/internal/topology"
)

// Data is the data of a template, its dot.
type Data struct {
	Node, Role, Cluster, Region, Address string

	Topology    cluster.Topology
	Config      map[string]string // the variables of /etc/environment
	Credentials map[string]string // the role's
	TLS         TLS
	CPUs        int
	MemoryMiB   int
}

// TLS has the certificates of a node, and what it trusts, as PEM, by authority.
type TLS struct {
	Certificates map[pki.Use]string // with their keys
	Bundles      map[pki.Use]string
}

// File is a rendered file.
type File struct {
	Path    string // absolute
	Mode    fs.FileMode
	Owner   string
	Group   string
	Units   []string // to reload when it changes; nil: all units of the role
	Content []byte
}

const suffix = ".tmpl"

// Render renders all templates of d's role, sorted by path. The file system is
// templates.Files, or one of the same layout.
func Render(templates fs.FS, d Data) ([]File, error) {
	var files []File
	for _, dir := range cluster.TemplateDirs(cluster.Role(d.Role)) {
		root := path.Join(dir, "config")
		err := fs.WalkDir(templates, root, func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(name, suffix) {
				return err
			}
			file, err := render(templates, name, d)
			file.Path = strings.TrimSuffix(strings.TrimPrefix(name, root), suffix)
			files = append(files, file)
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("render configuration of role %s: %w", d.Role, err)
		}
	}
	slices.SortFunc(files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	return files, nil
}

func render(templates fs.FS, name string, d Data) (File, error) {
	text, err := fs.ReadFile(templates, name)
	if err != nil {
		return File{}, err
	}
	f, err := header(string(text))
	if err != nil {
		return File{}, fmt.Errorf("%s: %w", name, err)
	}
	t, err := template.New(name).Option("missingkey=zero").Funcs(d.functions()).Parse(string(text))
	if err != nil {
		return File{}, err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, d); err != nil {
		return File{}, err
	}
	f.Content = out.Bytes()
	return f, nil
}

var headerLine = regexp.MustCompile(`^\{\{-?/\*(.*?)\*/`)

// header parses the first line. An unknown key is an error: a misspelt mode
// would leave a secret readable.
func header(text string) (File, error) {
	f := File{Mode: 0o644, Owner: "root", Group: "root"}
	line, _, _ := strings.Cut(text, "\n")
	found := headerLine.FindStringSubmatch(line)
	if found == nil {
		return f, nil
	}
	for _, field := range strings.Fields(found[1]) {
		name, value, _ := strings.Cut(field, "=")
		switch name {
		case "mode":
			mode, err := strconv.ParseUint(value, 8, 12)
			if err != nil {
				return f, fmt.Errorf("invalid mode %q: want an octal number", value)
			}
			f.Mode = fs.FileMode(mode)
		case "owner":
			owner, group, both := strings.Cut(value, ":")
			if !both {
				group = owner
			}
			f.Owner, f.Group = owner, group
		case "unit":
			f.Units = unitNames(value)
		default:
			return f, fmt.Errorf("unknown key %q in the first line; valid keys: mode, owner, unit", name)
		}
	}
	return f, nil
}

func unitNames(value string) []string {
	if value == "none" {
		return []string{}
	}
	return strings.Split(value, ",")
}

func (d Data) functions() template.FuncMap {
	return template.FuncMap{
		"nodes":      func(role string) []cluster.TopologyNode { return topology.NodesOf(d.Topology, cluster.Role(role)) },
		"management": d.management,
		"credential": d.credential,
		// Certificate and bundle of an authority, "nodes" or "etcd".
		"certificate": func(use pki.Use) (string, error) { return d.pem(d.TLS.Certificates, use) },
		"authority":   func(use pki.Use) (string, error) { return d.pem(d.TLS.Bundles, use) },
		"join":        func(separator string, parts []string) string { return strings.Join(parts, separator) },
		"default":     fallback,
		"percent":     func(percent, of int) int { return of * percent / 100 },
		"firstHost":   firstHost,
		"sha256":      func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) },
	}
}

// firstHost returns the first host address of a range, with the range's prefix
// length: the VPN gateway's.
func firstHost(cidr string) (string, error) {
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil {
		return "", err
	}
	return netip.PrefixFrom(prefix.Masked().Addr().Next(), prefix.Bits()).String(), nil
}

func (d Data) management() (string, error) {
	address := topology.Management(d.Topology)
	if address == "" {
		return "", errors.New("the cluster has no node of role management")
	}
	return address, nil
}

func (d Data) credential(name string) (string, error) {
	value := d.Credentials[name]
	if value == "" {
		return "", fmt.Errorf("role %s has no credential %s; set it in credentials_wo, or run terraform apply, which generates internal credentials", d.Role, name)
	}
	return value, nil
}

func (d Data) pem(from map[pki.Use]string, use pki.Use) (string, error) {
	if from[use] == "" {
		return "", fmt.Errorf("node %s has no certificate of authority %q; run terraform apply, which issues them", d.Node, use)
	}
	return from[use], nil
}

// fallback implements `{{ .Config.NAME | default "x" }}`.
func fallback(otherwise, value any) any {
	if value == nil || value == "" || value == 0 {
		return otherwise
	}
	return value
}
