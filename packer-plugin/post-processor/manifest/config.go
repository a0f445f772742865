//go:generate go tool packer-sdc mapstructure-to-hcl2 -type Config

package manifest

import (
	"errors"
	"fmt"
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
	if !strings.HasSuffix(c.Output, ".tfvars.json") {
		errs = packersdk.MultiErrorAppend(errs, fmt.Errorf("output %q must end in .tfvars.json for Terraform to read it", c.Output))
	}
	if c.Role != "" {
		if _, err := cluster.ParseRole(c.Role); err != nil {
			errs = packersdk.MultiErrorAppend(errs, fmt.Errorf("role: %w", err))
		}
	}
	if c.SSMParameter != "" && !strings.HasPrefix(c.SSMParameter, "/") {
		errs = packersdk.MultiErrorAppend(errs, errors.New("ssm_parameter_prefix must begin with /"))
	}
	errs = packersdk.MultiErrorAppend(errs, c.Validate()...)
	if len(errs.Errors) > 0 {
		return errs
	}
	return nil
}
