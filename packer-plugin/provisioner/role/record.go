package role

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/xeroops/xeroops/packer-plugin/internal/imagerecord"
)

// listPackages prints the installed packages, one per line, with tab-separated
// fields; dpkg sorts them.
const listPackages = `dpkg-query -W -f='${db:Status-Abbrev}\t${Package}\t${Version}\t${Architecture}\n'`

// writeRecord writes the image's record (imagerecord.Record) into the image.
func (p *Provisioner) writeRecord(ctx context.Context, m *machine, content string) error {
	listed, err := m.output(ctx, listPackages)
	if err != nil {
		return fmt.Errorf("list packages: %w", err)
	}
	record := imagerecord.Record{Schema: 1, Role: p.config.Role, Version: p.Version, Content: content, Packages: parsePackages(listed)}
	if record.SBOM, err = json.Marshal(sbom(record)); err != nil {
		return fmt.Errorf("encode the SBOM: %w", err)
	}
	encoded, err := json.MarshalIndent(record, "", " ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", imagerecord.Path, err)
	}
	if err := m.comm.Upload(m.dir+"/image.json", bytes.NewReader(append(encoded, '\n')), nil); err != nil {
		return fmt.Errorf("upload %s: %w", imagerecord.Path, err)
	}
	_, err = m.run(ctx, asRoot("install -D -m 0644 "+m.dir+"/image.json "+imagerecord.Path))
	return err
}

func parsePackages(listed string) []imagerecord.Package {
	var packages []imagerecord.Package
	for line := range strings.Lines(listed) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(f) == 4 && strings.HasPrefix(f[0], "ii") {
			packages = append(packages, imagerecord.Package{Name: f[1], Version: f[2], Architecture: f[3]})
		}
	}
	return packages
}

// bom is a bill of materials (https://cyclonedx.org/docs/1.6/json/). It has no
// time and no serial number, so that equal images have equal ones.
type bom struct {
	Format     string      `json:"bomFormat"`
	Spec       string      `json:"specVersion"`
	Version    int         `json:"version"`
	Metadata   bomMetadata `json:"metadata"`
	Components []component `json:"components"`
}

type bomMetadata struct {
	Component component `json:"component"`
}

type component struct {
	Type    string `json:"type"`
	Ref     string `json:"bom-ref,omitempty"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl,omitempty"`
}

func sbom(r imagerecord.Record) bom {
	b := bom{Format: "CycloneDX", Spec: "1.6", Version: 1, Components: []component{},
		Metadata: bomMetadata{component{Type: "operating-system", Name: "xeroops-" + r.Role, Version: r.Version}}}
	for _, p := range r.Packages {
		purl := fmt.Sprintf("pkg:deb/debian/%s@%s?arch=%s&distro=debian-13", url.PathEscape(p.Name), url.QueryEscape(p.Version), p.Architecture)
		b.Components = append(b.Components, component{Type: "library", Ref: purl, Name: p.Name, Version: p.Version, PURL: purl})
	}
	return b
}
