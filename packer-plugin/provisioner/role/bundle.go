package role

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/xeroops/xeroops/elements"
	"github.com/xeroops/xeroops/internal/cluster"
)

//go:embed scripts
var scripts embed.FS

// newBundle packs what a role needs on the machine, compressed; content is the
// SHA-256 sum of what pack writes.
func newBundle(templates fs.FS, c Config) (bundle []byte, content string, err error) {
	var out bytes.Buffer
	sum := sha256.New()
	zipped := gzip.NewWriter(&out)
	if err := cmp.Or(pack(io.MultiWriter(zipped, sum), templates, c), zipped.Close()); err != nil {
		return nil, "", err
	}
	return out.Bytes(), hex.EncodeToString(sum.Sum(nil)), nil
}

// pack writes a tar with these files:
//
//	scripts/          of this provisioner
//	packages          names of Debian packages, one per line
//	files.tar         unpacked to /
//	units             units that must exist, one per line
//	ports             ports they listen on: protocol and range, one per line
//	env               variables, in sh's syntax
//	parts             the directories below, one per line, in order
//	base/             install.sh and verify.sh
//	services/NAME/    the same, and ports, those of the service
//	sources.list      if apt_sources is set
//	scan-exclude      paths, one per line
//	xeroops-node      if node_binary is set
//
// The same role and configuration give the same bytes.
func pack(to io.Writer, templates fs.FS, c Config) error {
	b := &archive{tar.NewWriter(to)}
	role := cluster.Role(c.Role)
	parts, services := cluster.TemplateDirs(role), cluster.ServicesOf(role)
	packages, err := packageNames(templates, parts)
	if err != nil {
		return err
	}
	files, err := filesTar(templates, parts)
	if err != nil {
		return err
	}
	err = errors.Join(
		b.addTree(scripts, "scripts", "scripts"),
		b.add("packages", 0o644, lines(packages)),
		b.add("files.tar", 0o644, files),
		b.add("units", 0o644, lines(units(services))),
		b.add("ports", 0o644, lines(ports(services))),
		b.add("internet-ports", 0o644, lines(internetPorts(services))),
		b.add("env", 0o600, environment(c)),
		b.add("parts", 0o644, lines(parts)),
		b.addParts(templates, parts, services),
		b.add("scan-exclude", 0o644, lines(c.SecretScanExclude)),
		b.addNode(c.NodeBinary),
	)
	if len(c.AptSources) > 0 {
		err = errors.Join(err, b.add("sources.list", 0o644, lines(c.AptSources)))
	}
	if err = cmp.Or(err, b.Close()); err != nil {
		return fmt.Errorf("pack role %s: %w", c.Role, err)
	}
	return nil
}

// archive is a tar file being written.
type archive struct{ *tar.Writer }

func (a *archive) add(name string, mode int64, content []byte) error {
	if err := a.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(content)), Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	_, err := a.Write(content)
	return err
}

// addTree adds the files below a directory. An embedded file has no mode, so
// files that begin with #! are made executable.
func (a *archive) addTree(from fs.FS, dir, to string) error {
	return fs.WalkDir(from, dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		return a.add(path.Join(to, strings.TrimPrefix(name, dir)), modeOf(content), content)
	})
}

func modeOf(content []byte) int64 {
	if bytes.HasPrefix(content, []byte("#!")) {
		return 0o755
	}
	return 0o644
}

// addParts adds the directory of each part, with what its scripts use: the ports
// of the service, and for applications the elements library.
func (a *archive) addParts(templates fs.FS, parts []string, services []cluster.Service) error {
	for _, part := range parts {
		for _, name := range []string{"install.sh", "verify.sh"} {
			content, err := fs.ReadFile(templates, path.Join(part, name))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			if err := a.add(path.Join(part, name), 0o755, content); err != nil {
				return err
			}
		}
	}
	for _, s := range services {
		if err := a.add(path.Join(s.TemplateDir(), "ports"), 0o644, lines(ports([]cluster.Service{s}))); err != nil {
			return err
		}
		if s.Name == "applications" {
			if err := a.addTree(elements.Source, ".", path.Join(s.TemplateDir(), "elements")); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *archive) addNode(file string) error {
	if file == "" {
		return nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("node_binary: %w", err)
	}
	return a.add("xeroops-node", 0o755, content)
}

// packageNames reads the lists of all parts; # starts a comment.
func packageNames(templates fs.FS, parts []string) ([]string, error) {
	var names []string
	for _, part := range parts {
		content, err := fs.ReadFile(templates, path.Join(part, "packages"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(content)) {
			line, _, _ = strings.Cut(line, "#")
			names = append(names, strings.Fields(line)...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// filesTar packs the files of all parts.
func filesTar(templates fs.FS, parts []string) ([]byte, error) {
	var out bytes.Buffer
	a := &archive{tar.NewWriter(&out)}
	for _, part := range parts {
		err := a.addTree(templates, path.Join(part, "files"), ".")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if err := a.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// units returns the names of the services' units, sorted.
func units(services []cluster.Service) []string {
	var names []string
	for _, s := range services {
		names = append(names, s.Unit)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// ports returns the ports that the services open, as "tcp 443-443".
func ports(services []cluster.Service) []string {
	var all []string
	for _, s := range services {
		for _, p := range s.Ports {
			all = append(all, fmt.Sprintf("%s %d-%d", p.Protocol, p.Port, p.Last()))
		}
	}
	return all
}

// internetPorts returns those of the ports that are open to the internet.
func internetPorts(services []cluster.Service) []string {
	var open []cluster.Service
	for _, s := range services {
		s.Ports = slices.DeleteFunc(slices.Clone(s.Ports), func(p cluster.Port) bool { return !slices.Contains(p.From, cluster.FromInternet) })
		open = append(open, s)
	}
	return ports(open)
}

// environment returns the variables of the scripts, which source it.
func environment(c Config) []byte {
	var out bytes.Buffer
	variables := map[string]string{cluster.EnvImageRole: c.Role}
	maps.Copy(variables, c.Environment)
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		_, _ = fmt.Fprintf(&out, "export %s=%s\n", name, quote(variables[name]))
	}
	return out.Bytes()
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func lines(all []string) []byte {
	var out bytes.Buffer
	for _, line := range all {
		_, _ = io.WriteString(&out, line+"\n")
	}
	return out.Bytes()
}
