// Package imagerecord defines the record of an image's content. The provisioner
// writes it into the image; the builder reads it and tags the AMI with it.
package imagerecord

import (
	"encoding/json"
	"fmt"

	"github.com/xeroops/xeroops/internal/cluster"
)

// Path is the record's path in the image.
const Path = "/usr/share/xeroops/image.json"

// Tags of an AMI that describe its content. The provider and the data source find
// images by the first two.
const (
	TagRole     = cluster.TagRole
	TagVersion  = cluster.TagVersion
	TagPackages = "xeroops:packages"
	TagRecord   = "xeroops:image-json-sha256"
	TagContent  = cluster.TagContent
)

// Record is the content of [Path].
type Record struct {
	Schema  int    `json:"schema"` // 1
	Role    string `json:"role"`
	Version string `json:"version"` // of XeroOps
	// Content is the SHA-256 sum of the provisioner's inputs. Images with the same
	// sum differ at most in the versions of Debian packages.
	Content  string          `json:"content_sha256"`
	Packages []Package       `json:"packages"`
	SBOM     json.RawMessage `json:"sbom"` // CycloneDX 1.6
}

// Package is an installed Debian package.
type Package struct {
	Name         string `json:"name"`
	Version      string `json:"version"`
	Architecture string `json:"architecture"`
}

// Parse parses the content of a record.
func Parse(content []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(content, &r); err != nil {
		return Record{}, fmt.Errorf("parse %s: %w", Path, err)
	}
	if r.Schema != 1 {
		return Record{}, fmt.Errorf("parse %s: schema %d is not supported, only 1; use the provisioner of the same plugin version", Path, r.Schema)
	}
	return r, nil
}
