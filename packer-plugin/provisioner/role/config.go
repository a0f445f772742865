//go:generate go tool packer-sdc mapstructure-to-hcl2 -type Config

package role

import (
	"fmt"
	"os"
	"regexp"
	"slices"

	"github.com/hashicorp/packer-plugin-sdk/common"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"github.com/hashicorp/packer-plugin-sdk/template/config"
	"github.com/hashicorp/packer-plugin-sdk/template/interpolate"

	"github.com/xeroops/xeroops/internal/cluster"
)

// Config is the provisioner's configuration;
// docs/packer/provisioners/role.md describes it.
type Config struct {
	common.PackerConfig `mapstructure:",squash"`

	// Role to install.
	Role string `mapstructure:"role"`
	// NodeBinary is the local path of xeroops-node, built for Linux and the
	// image's architecture.
	NodeBinary string `mapstructure:"node_binary"`
	// AptSources are lines of sources.list(5) used in place of the image's own,
	// during the build only.
	AptSources []string `mapstructure:"apt_sources"`
	// Environment is given to apt and to the role's scripts: download URLs, a proxy.
	Environment map[string]string `mapstructure:"environment"`
	// SecretScanExclude are paths in the image that the secret scan skips.
	SecretScanExclude []string `mapstructure:"secret_scan_exclude"`
	// RemoteFolder is the directory on the machine for uploads; default /tmp.
	RemoteFolder string `mapstructure:"remote_folder"`

	ctx interpolate.Context
}

var (
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	plainPath    = regexp.MustCompile(`^/[A-Za-z0-9._/+-]*$`)
)

func (c *Config) prepare(raws []any) error {
	err := config.Decode(c, &config.DecodeOpts{PluginType: "xeroops-role", Interpolate: true, InterpolateContext: &c.ctx}, raws...)
	if err != nil {
		return err
	}
	if c.RemoteFolder == "" {
		c.RemoteFolder = "/tmp"
	}
	errs := &packersdk.MultiError{}
	if _, err := cluster.ParseRole(c.Role); err != nil {
		errs = packersdk.MultiErrorAppend(errs, fmt.Errorf("role: %w", err))
	}
	if c.NodeBinary != "" {
		if _, err := os.Stat(c.NodeBinary); err != nil {
			errs = packersdk.MultiErrorAppend(errs, fmt.Errorf("node_binary: %w; build it with make build", err))
		}
	}
	for name := range c.Environment {
		if !variableName.MatchString(name) {
			errs = packersdk.MultiErrorAppend(errs, fmt.Errorf("environment: %q is not a valid variable name", name))
		}
	}
	for _, path := range slices.Concat([]string{c.RemoteFolder}, c.SecretScanExclude) {
		if !plainPath.MatchString(path) {
			errs = packersdk.MultiErrorAppend(errs, fmt.Errorf("%q is not an absolute path of letters, digits and ._+-", path))
		}
	}
	if len(errs.Errors) > 0 {
		return errs
	}
	return nil
}
