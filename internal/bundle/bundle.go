// Package bundle defines the format of a bundle: one version of an application with
// all wheels that it depends on and that the image does not have
// (docs/design.md#s3-layout). The CLI creates bundles, and app nodes install them.
package bundle

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/pep"
)

// ManifestName is the file name of the manifest.
const ManifestName = "bundle.json"

// Schema is the version of [Manifest] that this code writes.
const Schema = 1

// The range of ports that an application may listen on, which service-ports.json
// opens.
const (
	FirstPort = 8000
	LastPort  = 8099
)

// Manifest is the content of bundle.json.
type Manifest struct {
	Schema      int       `json:"schema"`
	Application string    `json:"application"`
	Version     string    `json:"version"`
	CreatedAt   time.Time `json:"created_at"`
	CreatedBy   string    `json:"created_by,omitempty"`

	Python   pep.Python   `json:"python"`
	Platform pep.Platform `json:"platform"`

	App         string `json:"app"` // ASGI application, module:attribute
	Port        int    `json:"port"`
	RoutePrefix string `json:"route_prefix"` // begins with /api/
	HealthPath  string `json:"health_path"`  // responds with 2xx if the application can serve requests
	Workers     int    `json:"workers"`      // processes
	HealthRequest
	Limits

	Wheels []Wheel `json:"wheels"` // the application's own is the first
}

// HealthRequest are headers of a health check, for applications that answer only certain
// ones.
type HealthRequest struct {
	HealthHost  string `json:"health_host,omitempty"`  // default: the application's name
	HealthProto string `json:"health_proto,omitempty"` // X-Forwarded-Proto; default https, as from the edge
}

// WithDefaults returns the headers with defaults in place of "".
func (h HealthRequest) WithDefaults(application string) HealthRequest {
	return HealthRequest{cmp.Or(h.HealthHost, application), cmp.Or(h.HealthProto, "https")}
}

// Check returns an error for an invalid header. Values that pass are safe in HAProxy's
// configuration.
func (h HealthRequest) Check() error {
	switch {
	case h.HealthHost != "" && !hostName.MatchString(h.HealthHost):
		return fmt.Errorf("health_host %q: use a host name such as shop.example.com", h.HealthHost)
	case h.HealthProto != "" && h.HealthProto != "http" && h.HealthProto != "https":
		return fmt.Errorf("health_proto %q: use http or https", h.HealthProto)
	}
	return nil
}

// Limits are an application's time limits in seconds; 0 is the default.
type Limits struct {
	// Timeout is how long HAProxy waits for a response, and for each further part of it.
	Timeout int `json:"timeout,omitempty"`
	// Drain is how long requests of a version that is replaced may continue.
	Drain int `json:"drain,omitempty"`
	// StartTimeout is how long a version may take to answer its first request.
	StartTimeout int `json:"start_timeout,omitempty"`
}

// The default limits, and the maximum of each. A version drains for as long as its
// requests may take.
const (
	DefaultTimeoutSeconds      = 60
	DefaultStartTimeoutSeconds = 30
	maxLimitSeconds            = 3600
)

// WithDefaults returns the limits with defaults in place of 0.
func (l Limits) WithDefaults() Limits {
	l.Timeout = cmp.Or(l.Timeout, DefaultTimeoutSeconds)
	l.Drain = cmp.Or(l.Drain, l.Timeout)
	l.StartTimeout = cmp.Or(l.StartTimeout, DefaultStartTimeoutSeconds)
	return l
}

// Check returns an error for a limit that is out of range.
func (l Limits) Check() error {
	for _, limit := range []struct {
		name    string
		seconds int
	}{{"timeout", l.Timeout}, {"drain", l.Drain}, {"start_timeout", l.StartTimeout}} {
		if limit.seconds < 0 || limit.seconds > maxLimitSeconds {
			return fmt.Errorf("%s %d: use 1 to %d seconds", limit.name, limit.seconds, maxLimitSeconds)
		}
	}
	return nil
}

// Wheel is one file of a bundle.
type Wheel struct {
	File   string `json:"file"` // base name
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"` // bytes
}

var (
	applicationName = regexp.MustCompile(`^[a-z](-?[a-z0-9])*$`)
	versionText     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.+_]{0,63}$`)
	asgiApp         = regexp.MustCompile(`^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$`)
	urlPath         = regexp.MustCompile(`^/[A-Za-z0-9._~/-]{0,200}$`)
	hostName        = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,252}(:[0-9]{1,5})?$`)
	hexSHA256       = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// CheckName returns an error if name is not a valid application name. The name is
// part of S3 keys, Redis keys, paths and unit names.
func CheckName(name string) error {
	if len(name) > 40 || !applicationName.MatchString(name) {
		return fmt.Errorf("application name %q: use up to 40 of a-z, 0-9 and single hyphens, beginning with a letter", name)
	}
	return nil
}

// CheckVersion returns an error if version is not a valid application version.
func CheckVersion(version string) error {
	if !versionText.MatchString(version) || strings.Contains(version, "..") {
		return fmt.Errorf("version %q: use up to 64 letters, digits and . + _", version)
	}
	if version == "current" {
		return fmt.Errorf("version %q: reserved for a link on nodes; use another", version)
	}
	return nil
}

// Check returns the first error in the manifest. Nodes check it because everyone
// who can write to the bucket could have written it.
func (m Manifest) Check() error {
	if m.Schema != Schema {
		return fmt.Errorf("schema %d: this version reads schema %d", m.Schema, Schema)
	}
	if err := CheckVersion(m.Version); err != nil {
		return err
	}
	if err := m.CheckSettings(); err != nil {
		return err
	}
	if _, err := pep.ParsePython(string(m.Python)); err != nil {
		return fmt.Errorf("python: %w", err)
	}
	if _, err := pep.ParsePlatform(string(m.Platform)); err != nil {
		return fmt.Errorf("platform: %w", err)
	}
	if len(m.Wheels) == 0 {
		return fmt.Errorf("the bundle has no wheels")
	}
	seen := map[string]bool{}
	for _, w := range m.Wheels {
		if _, err := pep.ParseWheelFile(w.File); err != nil {
			return fmt.Errorf("wheel: %w", err)
		}
		if seen[w.File] || !hexSHA256.MatchString(w.SHA256) || w.Size <= 0 {
			return fmt.Errorf("wheel %q: its name, sum or size is not one, or it stands there twice", w.File)
		}
		seen[w.File] = true
	}
	return nil
}

// CheckSettings returns the first error in the settings of an application: its
// name, and the fields from App to Workers.
func (m Manifest) CheckSettings() error {
	if err := CheckName(m.Application); err != nil {
		return err
	}
	switch {
	case !asgiApp.MatchString(m.App):
		return fmt.Errorf("app %q: name the ASGI application as module:attribute", m.App)
	case m.Workers < 1 || m.Workers > 64:
		return fmt.Errorf("workers %d: use 1 to 64", m.Workers)
	}
	if err := errors.Join(m.HealthRequest.Check(), m.Limits.Check()); err != nil {
		return err
	}
	return CheckRoute(m.Port, m.RoutePrefix, m.HealthPath)
}

// CheckRoute returns the first error in how an application is reached. Values that
// pass are safe in HAProxy's configuration.
func CheckRoute(port int, prefix, healthPath string) error {
	switch {
	case port < FirstPort || port > LastPort:
		return fmt.Errorf("port %d: use one of %d to %d", port, FirstPort, LastPort)
	case !urlPath.MatchString(prefix) || !strings.HasPrefix(prefix, "/api/") || prefix != path.Clean(prefix):
		return fmt.Errorf("route_prefix %q: use a path of up to 200 plain characters below /api/, without a slash at its end", prefix)
	case !urlPath.MatchString(healthPath):
		return fmt.Errorf("health_path %q: use a plain path such as /healthz", healthPath)
	}
	return nil
}

// Encode returns the content of bundle.json and its SHA-256, which is published
// with the version.
func (m Manifest) Encode() (content []byte, sum string, err error) {
	if err := m.Check(); err != nil {
		return nil, "", err
	}
	content, err = json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, "", err
	}
	return content, Sum(content), nil
}

// Decode parses the content of bundle.json, whose SHA-256 must be sum.
func Decode(content []byte, sum string) (Manifest, error) {
	if got := Sum(content); got != sum {
		return Manifest{}, fmt.Errorf("%s has SHA-256 %s; want %s as published", ManifestName, got, sum)
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	var m Manifest
	if err := decoder.Decode(&m); err != nil {
		return Manifest{}, fmt.Errorf("parse %s: %w", ManifestName, err)
	}
	if err := m.Check(); err != nil {
		return Manifest{}, fmt.Errorf("%s: %w", ManifestName, err)
	}
	return m, nil
}

// Sum returns the SHA-256 of content in hexadecimal.
func Sum(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// Prefix returns the prefix of the keys of a bundle's files in the uploads bucket,
// with a trailing slash.
func Prefix(application, version string) string {
	return cluster.Wheels + application + "/" + version + "/"
}

// Key returns the key of one of a bundle's files.
func Key(application, version, file string) string { return Prefix(application, version) + file }
