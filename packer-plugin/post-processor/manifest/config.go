//go:generate go tool packer-sdc mapstructure-to-hcl2 -type Config

package manifest

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/hashicorp/packer-plugin-sdk/common"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"github.com/hashicorp/packer-plugin-sdk/template/config"
	"github.com/hashicorp/packer-plugin-sdk/template/interpolate"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/packer-plugin/internal/access"
)

// Config is the post-processor's configuration;
// docs/packer/post-processors/manifest.md describes it.
type Config struct {
	common.PackerConfig `mapstructure:",squash"`
	access.Config       `mapstructure:",squash"`

	Output       string `mapstructure:"output"`
	Variable     string `mapstructure:"variable"`
	Role         string `mapstructure:"role"`
	Architecture string `mapstructure:"architecture"`
	SSMParameter string `mapstructure:"ssm_parameter_prefix"`

	ctx interpolate.Context
}

func (c *Config) prepare(raws []any) error {
	err := config.Decode(c, &config.DecodeOpts{PluginType: "xeroops-manifest", Interpolate: true, InterpolateContext: &c.ctx}, raws...)
	if err != nil {
		return err
	}
	if c.Output == "" {
		c.Output = "images.auto.tfvars.json"
	}
	if c.Variable == "" {
		c.Variable = "image_ids"
	}
	errs := &packersdk.MultiError{}
	if !strings.HasSuffix(c.Output, ".tfvars.json") && c.Output != access.Unknown {
		errs = packersdk.MultiErrorAppend(errs, fmt.Errorf("output %q must end in .tfvars.json for Terraform to read it", c.Output))
	}
	if c.Role != "" && c.Role != access.Unknown {
		if _, err := cluster.ParseRole(c.Role); err != nil {
			errs = packersdk.MultiErrorAppend(errs, fmt.Errorf("role: %w", err))
		}
	}
	if a := c.Architecture; a != "" && a != "x86_64" && a != "arm64" && a != access.Unknown {
		errs = packersdk.MultiErrorAppend(errs, fmt.Errorf("architecture %q is not supported; use x86_64 or arm64", a))
	}
	if _, _, err := read(c.Output, c.Variable); err != nil { // an error after the build would make Packer delete the image
		errs = packersdk.MultiErrorAppend(errs, fmt.Errorf("output: %w", err))
	}
	errs = packersdk.MultiErrorAppend(errs, append(c.validateParameter(), c.Validate()...)...)
	if len(errs.Errors) > 0 {
		return errs
	}
	return nil
}

// parameterPrefix matches what PutParameter's reference permits in a hierarchy.
var parameterPrefix = regexp.MustCompile(`^(/[A-Za-z0-9_.-]+)+/?$`)

func (c *Config) validateParameter() []error {
	switch prefix := c.SSMParameter; {
	case prefix == "", prefix == access.Unknown:
	case !strings.HasPrefix(prefix, "/"):
		return []error{fmt.Errorf("ssm_parameter_prefix %q must begin with /", prefix)}
	case !parameterPrefix.MatchString(prefix):
		return []error{fmt.Errorf("ssm_parameter_prefix %q is not a path of letters, digits and _.-, such as /xeroops/images", prefix)}
	case reservedPrefix.MatchString(prefix):
		return []error{fmt.Errorf("ssm_parameter_prefix %q begins with aws or ssm, which AWS reserves; use another", prefix)}
	}
	return nil
}

// reservedPrefix matches names that PutParameter refuses.
var reservedPrefix = regexp.MustCompile(`(?i)^/(aws|ssm)`)
