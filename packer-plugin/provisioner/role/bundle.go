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

	"github.com/xeroops/xeroops/internal/cluster"
)

//go:embed scripts
var scripts embed.FS

// shared is the folder that every role has a share in.
const shared = "common"

// newBundle packs what a role needs on the machine, compressed; content is the
// sum of pack.
func newBundle(roles fs.FS, c Config) (bundle []byte, content string, err error) {
	var out bytes.Buffer
	sum := sha256.New()
	zipped := gzip.NewWriter(&out)
	if err := cmp.Or(pack(io.MultiWriter(zipped, sum), roles, c), zipped.Close()); err != nil {
		return nil, "", err
	}
	return out.Bytes(), hex.EncodeToString(sum.Sum(nil)), nil
}

// pack writes a tar with these files:
//
//	scripts/         of this provisioner
//	packages         names of Debian packages, one a line
//	files.tar        what is unpacked to /
//	units            the units that must be there
//	ports            what they listen on: protocol and port or range, one a line
//	env              variables, in sh's syntax
//	common/ role/    install.sh and verify.sh
//	sources.list     where apt_sources is set
//	scan-exclude     paths, one a line
//	xeroops-node     where node_binary is set
//
// The same role and configuration give the same bytes.
func pack(to io.Writer, roles fs.FS, c Config) error {
	b := &archive{tar.NewWriter(to)}
	packages, err := packageNames(roles, c.Role)
	if err != nil {
		return err
	}
	files, err := filesTar(roles, c.Role)
	if err != nil {
		return err
	}
	err = errors.Join(
		b.addTree(scripts, "scripts", "scripts"),
		b.add("packages", 0o644, lines(packages)),
		b.add("files.tar", 0o644, files),
		b.add("units", 0o644, lines(units(cluster.Role(c.Role)))),
		b.add("ports", 0o644, lines(ports(cluster.Role(c.Role)))),
		b.add("env", 0o600, environment(c)),
		b.addScripts(roles, shared, shared),
		b.addScripts(roles, c.Role, "role"),
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

// archive is a tar that is written to.
type archive struct{ *tar.Writer }

func (a *archive) add(name string, mode int64, content []byte) error {
	if err := a.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(content)), Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	_, err := a.Write(content)
	return err
}

// addTree adds the files below a folder. An embedded file has no mode: what
// begins with #! is executable.
func (a *archive) addTree(from fs.FS, folder, to string) error {
	return fs.WalkDir(from, folder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		return a.add(path.Join(to, strings.TrimPrefix(name, folder)), modeOf(content), content)
	})
}

func modeOf(content []byte) int64 {
	if bytes.HasPrefix(content, []byte("#!")) {
		return 0o755
	}
	return 0o644
}

// addScripts adds what a role's folder has besides packages and files.
func (a *archive) addScripts(roles fs.FS, folder, to string) error {
	for _, name := range []string{"install.sh", "verify.sh"} {
		content, err := fs.ReadFile(roles, path.Join(folder, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := a.add(path.Join(to, name), 0o755, content); err != nil {
			return err
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

// packageNames reads the lists of common and of the role; # begins a comment.
func packageNames(roles fs.FS, role string) ([]string, error) {
	var names []string
	for _, folder := range []string{shared, role} {
		content, err := fs.ReadFile(roles, path.Join(folder, "packages"))
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

// filesTar packs the files of common, then those of the role: where both have
// one, the role's is unpacked last.
func filesTar(roles fs.FS, role string) ([]byte, error) {
	var out bytes.Buffer
	a := &archive{tar.NewWriter(&out)}
	for _, folder := range []string{shared, role} {
		err := a.addTree(roles, path.Join(folder, "files"), ".")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if err := a.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// units are what service-ports.json wants of a role.
func units(role cluster.Role) []string {
	var names []string
	for _, s := range cluster.ServicesOf(role) {
		names = append(names, s.Unit)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// ports are what service-ports.json says that others may connect to.
func ports(role cluster.Role) []string {
	var all []string
	for _, s := range cluster.ServicesOf(role) {
		for _, p := range s.Ports {
			all = append(all, fmt.Sprintf("%s %d-%d", p.Protocol, p.Port, p.Last()))
		}
	}
	return all
}

// environment is read by the scripts with sh's dot command.
func environment(c Config) []byte {
	var out bytes.Buffer
	variables := map[string]string{"XEROOPS_ROLE": c.Role}
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
