//go:generate go tool packer-sdc mapstructure-to-hcl2 -type Config,SourceFilter,SubnetFilter,BlockDevice

package ebs

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/hashicorp/packer-plugin-sdk/common"
	"github.com/hashicorp/packer-plugin-sdk/communicator"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"github.com/hashicorp/packer-plugin-sdk/template/config"
	"github.com/hashicorp/packer-plugin-sdk/template/interpolate"

	"github.com/xeroops/xeroops/packer-plugin/internal/access"
)

// Config is the builder's configuration. Settings have the names of those in
// HashiCorp's amazon plugin with the same meaning. docs/packer/builders/ebs.md
// describes them.
type Config struct {
	common.PackerConfig `mapstructure:",squash"`
	access.Config       `mapstructure:",squash"`

	SourceAMI       string       `mapstructure:"source_ami"`
	SourceAMIFilter SourceFilter `mapstructure:"source_ami_filter"`
	Architecture    string       `mapstructure:"architecture"`

	InstanceType       string              `mapstructure:"instance_type"`
	SpotPrice          string              `mapstructure:"spot_price"`
	IAMInstanceProfile string              `mapstructure:"iam_instance_profile"`
	SubnetID           string              `mapstructure:"subnet_id"`
	SubnetFilter       SubnetFilter        `mapstructure:"subnet_filter"`
	AssociatePublicIP  config.Trilean      `mapstructure:"associate_public_ip_address"`
	SecurityGroupIDs   []string            `mapstructure:"security_group_ids"`
	SourceCIDRs        []string            `mapstructure:"temporary_security_group_source_cidrs"`
	RunTags            map[string]string   `mapstructure:"run_tags"`
	RunVolumeTags      map[string]string   `mapstructure:"run_volume_tags"`
	SSHInterface       string              `mapstructure:"ssh_interface"`
	Comm               communicator.Config `mapstructure:",squash"`

	BlockDevices []BlockDevice  `mapstructure:"launch_block_device_mappings"`
	EncryptBoot  config.Trilean `mapstructure:"encrypt_boot"`
	KMSKeyID     string         `mapstructure:"kms_key_id"`

	AMIName             string            `mapstructure:"ami_name"`
	AMIDescription      string            `mapstructure:"ami_description"`
	Tags                map[string]string `mapstructure:"tags"`
	SnapshotTags        map[string]string `mapstructure:"snapshot_tags"`
	AMIUsers            []string          `mapstructure:"ami_users"`
	AMIOrgARNs          []string          `mapstructure:"ami_org_arns"`
	AMIRegions          []string          `mapstructure:"ami_regions"`
	RegionKMSKeyIDs     map[string]string `mapstructure:"region_kms_key_ids"`
	DeprecateAt         string            `mapstructure:"deprecate_at"`
	ForceDeregister     bool              `mapstructure:"force_deregister"`
	ForceDeleteSnapshot bool              `mapstructure:"force_delete_snapshot"`
	SkipCreateAMI       bool              `mapstructure:"skip_create_ami"`

	PollInterval time.Duration `mapstructure:"poll_interval"`
	PollTimeout  time.Duration `mapstructure:"poll_timeout"`

	deprecateAt time.Time
	ctx         interpolate.Context
}

// SourceFilter finds the image to start from.
type SourceFilter struct {
	Owners     []string          `mapstructure:"owners"`
	Filters    map[string]string `mapstructure:"filters"`
	MostRecent bool              `mapstructure:"most_recent"`
}

// SubnetFilter finds the subnets to try.
type SubnetFilter struct {
	Filters map[string]string `mapstructure:"filters"`
}

// BlockDevice is a volume of the instance and of the image.
type BlockDevice struct {
	DeviceName string         `mapstructure:"device_name"`
	VolumeSize int32          `mapstructure:"volume_size"` // GiB
	VolumeType string         `mapstructure:"volume_type"`
	IOPS       int32          `mapstructure:"iops"`
	Throughput int32          `mapstructure:"throughput"` // MiB/s
	SnapshotID string         `mapstructure:"snapshot_id"`
	Encrypted  config.Trilean `mapstructure:"encrypted"`
	KMSKeyID   string         `mapstructure:"kms_key_id"`
	NoDevice   bool           `mapstructure:"no_device"`
}

// prepare decodes the configuration, sets defaults and validates it.
func (c *Config) prepare(raws []any) (warnings []string, err error) {
	err = config.Decode(c, &config.DecodeOpts{
		PluginType: BuilderID, Interpolate: true, InterpolateContext: &c.ctx,
	}, raws...)
	if err != nil {
		return nil, err
	}
	c.setDefaults()
	errs := &packersdk.MultiError{}
	for _, found := range [][]error{c.Comm.Prepare(&c.ctx), c.Validate(), c.validateRun(), c.validateTags(), c.validateImage()} {
		errs = packersdk.MultiErrorAppend(errs, found...)
	}
	if len(errs.Errors) > 0 {
		return nil, errs
	}
	for _, cidr := range c.SourceCIDRs {
		if p, err := netip.ParsePrefix(cidr); err == nil && p.Bits() == 0 {
			warnings = append(warnings, fmt.Sprintf("temporary_security_group_source_cidrs has %s, which opens SSH of the build instance to the internet", cidr))
		}
	}
	return warnings, nil
}

func (c *Config) setDefaults() {
	c.ForceDeregister = c.ForceDeregister || c.PackerForce
	setDefault(&c.Architecture, "x86_64")
	if c.Architecture == "arm64" {
		setDefault(&c.InstanceType, "t4g.small")
	}
	setDefault(&c.InstanceType, "t3.small")
	setDefault(&c.Comm.SSHUsername, "admin") // of Debian's images
	setDefault(&c.PollInterval, 5*time.Second)
	setDefault(&c.PollTimeout, time.Hour) // a large snapshot's first copy
	for i := range c.BlockDevices {
		setDefault(&c.BlockDevices[i].VolumeType, "gp3")
	}
}

func setDefault[T comparable](value *T, fallback T) {
	var zero T
	if *value == zero {
		*value = fallback
	}
}

func (c *Config) validateRun() (errs []error) {
	if c.SourceAMI != "" && (len(c.SourceAMIFilter.Filters) > 0 || len(c.SourceAMIFilter.Owners) > 0) {
		errs = append(errs, errors.New("source_ami and source_ami_filter conflict; set only one"))
	}
	if len(c.SourceAMIFilter.Filters) > 0 && len(c.SourceAMIFilter.Owners) == 0 {
		errs = append(errs, errors.New("source_ami_filter needs owners, because anyone can publish an image under any name"))
	}
	if c.Architecture != "x86_64" && c.Architecture != "arm64" {
		errs = append(errs, fmt.Errorf("architecture %q is not supported; use x86_64 or arm64", c.Architecture))
	}
	if c.SubnetID != "" && len(c.SubnetFilter.Filters) > 0 {
		errs = append(errs, errors.New("subnet_id and subnet_filter conflict; set only one"))
	}
	if c.Comm.Type != "ssh" {
		errs = append(errs, fmt.Errorf("communicator %q is not supported; use ssh", c.Comm.Type))
	}
	if c.Comm.SSHKeyPairName != "" && c.Comm.SSHPrivateKeyFile == "" && !c.Comm.SSHAgentAuth {
		errs = append(errs, errors.New("ssh_keypair_name needs ssh_private_key_file or ssh_agent_auth"))
	}
	if i := c.SSHInterface; i != "" && i != "public_ip" && i != "private_ip" {
		errs = append(errs, fmt.Errorf("ssh_interface %q is not supported; use public_ip or private_ip", i))
	}
	return append(errs, c.validateGroup()...)
}

func (c *Config) validateGroup() (errs []error) {
	if len(c.SecurityGroupIDs) == 0 && len(c.SourceCIDRs) == 0 {
		errs = append(errs, errors.New("no network may connect to the build instance over SSH: set temporary_security_group_source_cidrs, "+
			`for example to ["203.0.113.7/32"] with your own address (see https://checkip.amazonaws.com), or security_group_ids`))
	}
	for _, cidr := range c.SourceCIDRs {
		if p, err := netip.ParsePrefix(cidr); (err != nil || p != p.Masked()) && cidr != access.Unknown {
			errs = append(errs, fmt.Errorf("temporary_security_group_source_cidrs: %q is not a network such as 203.0.113.0/24", cidr))
		}
	}
	return errs
}

// makesKeyPair reports whether the build logs in with a temporary key pair.
func (c *Config) makesKeyPair() bool {
	return c.Comm.SSHKeyPairName == "" && c.Comm.SSHPrivateKeyFile == "" && !c.Comm.SSHAgentAuth
}

// cleansUp reports whether a failed build cleans up without a question, which is
// the default of -on-error.
func (c *Config) cleansUp() bool { return c.PackerOnError == "" || c.PackerOnError == "cleanup" }

func (c *Config) encrypted() bool { return c.EncryptBoot != config.TriFalse }
