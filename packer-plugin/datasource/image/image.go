//go:generate go tool packer-sdc mapstructure-to-hcl2 -type Config,DatasourceOutput

// Package image implements the data source xeroops-image, which finds the newest
// image of a role.
package image

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/hashicorp/packer-plugin-sdk/hcl2helper"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"github.com/hashicorp/packer-plugin-sdk/template/config"
	"github.com/zclconf/go-cty/cty"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/packer-plugin/internal/access"
	"github.com/xeroops/xeroops/packer-plugin/internal/imagerecord"
)

// Config is the data source's configuration;
// docs/packer/datasources/image.md describes it.
type Config struct {
	access.Config `mapstructure:",squash"`

	Role         string   `mapstructure:"role"`
	Architecture string   `mapstructure:"architecture"`
	Version      string   `mapstructure:"version"`
	Owners       []string `mapstructure:"owners"`
	Optional     bool     `mapstructure:"optional"`
}

// DatasourceOutput holds the outputs. All are empty if there is no image and
// optional is set.
type DatasourceOutput struct {
	ID           string            `mapstructure:"id"`
	Name         string            `mapstructure:"name"`
	Region       string            `mapstructure:"region"`
	Role         string            `mapstructure:"role"`
	Version      string            `mapstructure:"version"`
	Owner        string            `mapstructure:"owner"`
	CreationDate string            `mapstructure:"creation_date"`
	Tags         map[string]string `mapstructure:"tags"`
}

// Datasource is the data source xeroops-image.
type Datasource struct {
	config Config
}

var _ packersdk.Datasource = (*Datasource)(nil)

// ConfigSpec returns the schema of the data source's block in HCL.
func (d *Datasource) ConfigSpec() hcldec.ObjectSpec { return d.config.FlatMapstructure().HCL2Spec() }

// OutputSpec returns the schema of the outputs.
func (d *Datasource) OutputSpec() hcldec.ObjectSpec {
	return (&DatasourceOutput{}).FlatMapstructure().HCL2Spec()
}

// Configure reads the configuration.
func (d *Datasource) Configure(raws ...any) error {
	if err := config.Decode(&d.config, nil, raws...); err != nil {
		return err
	}
	errs := &packersdk.MultiError{}
	if _, err := cluster.ParseRole(d.config.Role); err != nil {
		errs = packersdk.MultiErrorAppend(errs, fmt.Errorf("role: %w", err))
	}
	errs = packersdk.MultiErrorAppend(errs, d.config.Validate()...)
	if len(errs.Errors) > 0 {
		return errs
	}
	if len(d.config.Owners) == 0 {
		d.config.Owners = []string{"self"}
	}
	d.config.Architecture = cmp.Or(d.config.Architecture, "x86_64")
	return nil
}

// Execute finds the image.
func (d *Datasource) Execute() (cty.Value, error) {
	out, err := d.find(context.Background())
	if err != nil {
		return cty.NullVal(cty.EmptyObject), err
	}
	return hcl2helper.HCL2ValueFromConfig(out, d.OutputSpec()), nil
}

func (d *Datasource) find(ctx context.Context) (DatasourceOutput, error) {
	c := d.config
	client, err := c.Client(ctx, "")
	if err != nil {
		return DatasourceOutput{}, err
	}
	filters := []types.Filter{filter("tag:"+imagerecord.TagRole, c.Role), filter("architecture", c.Architecture), filter("state", "available")}
	if c.Version != "" {
		filters = append(filters, filter("tag:"+imagerecord.TagVersion, c.Version))
	}
	var found []types.Image
	pages := ec2.NewDescribeImagesPaginator(client.EC2, &ec2.DescribeImagesInput{Owners: c.Owners, Filters: filters})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return DatasourceOutput{}, fmt.Errorf("find the image of role %s: %w", c.Role, err)
		}
		found = append(found, page.Images...)
	}
	if len(found) == 0 {
		if c.Optional {
			return DatasourceOutput{}, nil
		}
		return DatasourceOutput{}, fmt.Errorf("find the image of role %s: none in %s with owners %v, architecture %s and version %q; "+
			"build one with packer build or set optional = true", c.Role, client.Region, c.Owners, c.Architecture, c.Version)
	}
	return output(slices.MaxFunc(found, older), client.Region), nil
}

func older(a, b types.Image) int {
	return cmp.Or(cmp.Compare(aws.ToString(a.CreationDate), aws.ToString(b.CreationDate)), cmp.Compare(aws.ToString(a.Name), aws.ToString(b.Name)))
}

func output(i types.Image, region string) DatasourceOutput {
	tags := map[string]string{}
	for _, t := range i.Tags {
		tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return DatasourceOutput{
		ID: aws.ToString(i.ImageId), Name: aws.ToString(i.Name), Region: region, Owner: aws.ToString(i.OwnerId),
		Role: tags[imagerecord.TagRole], Version: tags[imagerecord.TagVersion], CreationDate: aws.ToString(i.CreationDate), Tags: tags,
	}
}

func filter(name string, values ...string) types.Filter {
	return types.Filter{Name: aws.String(name), Values: values}
}
