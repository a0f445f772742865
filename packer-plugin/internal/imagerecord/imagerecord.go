// Package imagerecord is what an image says of itself: the provisioner writes
// it into the image, the builder reads it back and tags the AMI with it.
package imagerecord

import (
	"encoding/json"
	"fmt"

	"github.com/xeroops/xeroops/internal/cluster"
)

// Path is where the record lies in the image.
const Path = "/usr/share/xeroops/image.json"

// Tags of an AMI that say what is in it; the first two are how the provider
// and the data source find an image.
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
	// Content is a SHA-256 sum of all that the provisioner was given. Two images
	// that have the same were made alike, but for what the Debian mirror had.
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

// Parse reads a record.
func Parse(content []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(content, &r); err != nil {
		return Record{}, fmt.Errorf("read %s: %w", Path, err)
	}
	if r.Schema != 1 {
		return Record{}, fmt.Errorf("read %s: schema %d, this plugin knows 1; use the plugin's own version of the provisioner", Path, r.Schema)
	}
	return r, nil
}
