//go:generate go tool packer-sdc mapstructure-to-hcl2 -type Config,AssumeRole,Endpoints

// Package access configures the AWS account and region of the plugin's components.
// Its attributes mean the same in all of them and in the Terraform provider.
package access

import (
	"context"
	"errors"
	"time"

	awsbase "github.com/hashicorp/aws-sdk-go-base/v2"

	"github.com/xeroops/xeroops/internal/awsclient"
)

// Unknown is Packer's placeholder for a string that depends on a data source or on the
// build, in packer validate (WriteUnknownPlaceholderValues in Packer's
// hcl2template/shim). The value is checked when the build starts.
const Unknown = "<unknown>"

// Config is embedded by the configuration of every component that calls AWS.
type Config struct {
	// Region such as eu-west-1; default AWS_REGION or the profile's region.
	Region string `mapstructure:"region"`
	// Profile of the shared configuration files.
	Profile string `mapstructure:"profile"`
	// AssumeRole is the IAM role to assume.
	AssumeRole AssumeRole `mapstructure:"assume_role"`
	// Endpoints replace the AWS endpoints.
	Endpoints Endpoints `mapstructure:"endpoints"`
	// MaxRetries is the maximum number of attempts of a call; default 10.
	MaxRetries int `mapstructure:"max_retries"`
}

// AssumeRole configures the IAM role to assume.
type AssumeRole struct {
	RoleARN     string        `mapstructure:"role_arn"`
	SessionName string        `mapstructure:"session_name"`
	ExternalID  string        `mapstructure:"external_id"`
	Duration    time.Duration `mapstructure:"duration"`
}

// Endpoints are URLs that replace the AWS endpoints.
type Endpoints struct {
	EC2 string `mapstructure:"ec2"`
	IAM string `mapstructure:"iam"`
	SSM string `mapstructure:"ssm"`
	STS string `mapstructure:"sts"`
}

// Validate returns the errors in the configuration.
func (c *Config) Validate() []error {
	var errs []error
	if c.MaxRetries < 0 {
		errs = append(errs, errors.New("max_retries must not be negative"))
	}
	if a := c.AssumeRole; a.RoleARN == "" && a != (AssumeRole{}) {
		errs = append(errs, errors.New("assume_role needs role_arn"))
	}
	return errs
}

// Client returns the clients for a region; "" stands for the configured region.
func (c *Config) Client(ctx context.Context, region string) (*awsclient.Client, error) {
	settings := awsclient.Settings{
		Region:     c.Region,
		Profile:    c.Profile,
		Endpoints:  awsclient.Endpoints{EC2: c.Endpoints.EC2, IAM: c.Endpoints.IAM, STS: c.Endpoints.STS},
		MaxRetries: c.MaxRetries,
		Product:    "packer-plugin-xeroops",
	}
	if region != "" {
		settings.Region = region
	}
	if c.AssumeRole.RoleARN != "" {
		settings.AssumeRole = []awsbase.AssumeRole{{
			RoleARN:     c.AssumeRole.RoleARN,
			SessionName: c.AssumeRole.SessionName,
			ExternalID:  c.AssumeRole.ExternalID,
			Duration:    c.AssumeRole.Duration,
		}}
	}
	return awsclient.New(ctx, settings)
}
