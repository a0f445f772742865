// Package manifest implements the post-processor xeroops-manifest, which writes the
// image ids to a file that Terraform reads automatically.
//
// The contract: concurrent builds, in one Packer process or several, can add to the
// same file without losing entries, and readers always see a complete file. The
// artifact is passed on unchanged.
package manifest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/hashicorp/hcl/v2/hcldec"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

// PostProcessor is the post-processor xeroops-manifest.
type PostProcessor struct {
	config Config
}

var _ packersdk.PostProcessor = (*PostProcessor)(nil)

// ConfigSpec returns the schema of the post-processor's block in HCL.
func (p *PostProcessor) ConfigSpec() hcldec.ObjectSpec { return p.config.FlatMapstructure().HCL2Spec() }

// Configure reads the configuration.
func (p *PostProcessor) Configure(raws ...any) error { return p.config.prepare(raws) }

// PostProcess writes the SSM parameters, if configured, and then the file. After an
// error Packer deletes the image, so the file never has the id of an image for which
// this failed.
func (p *PostProcessor) PostProcess(ctx context.Context, ui packersdk.Ui, artifact packersdk.Artifact) (packersdk.Artifact, bool, bool, error) {
	role, err := p.role(artifact)
	if err != nil {
		return nil, false, false, err
	}
	images, err := imagesOf(artifact)
	if err != nil {
		return nil, false, false, err
	}
	id, err := p.imageForTerraform(artifact, images)
	if err != nil {
		return nil, false, false, err
	}
	if p.config.SSMParameter != "" {
		architecture := cmp.Or(p.config.Architecture, text(artifact, "xeroops_architecture"))
		if architecture == "" {
			return nil, false, false, fmt.Errorf("artifact %s of builder %s does not have an architecture; set architecture", artifact.Id(), artifact.BuilderId())
		}
		name := strings.TrimSuffix(p.config.SSMParameter, "/") + "/" + role + "/" + architecture
		if err := p.putParameters(ctx, ui, name, "Newest image of role "+role+" for "+architecture, images); err != nil {
			return nil, false, false, err
		}
	}
	if err := merge(ctx, p.config.Output, p.config.Variable, role, id); err != nil {
		return nil, false, false, err
	}
	ui.Say(fmt.Sprintf("%s: %s = %s", p.config.Output, role, id))
	return artifact, true, true, nil
}

// text returns a value of the artifact's state, or "".
func text(artifact packersdk.Artifact, name string) string {
	value, _ := artifact.State(name).(string)
	return value
}

// role returns the configured role, or else the artifact's.
func (p *PostProcessor) role(artifact packersdk.Artifact) (string, error) {
	if p.config.Role != "" {
		return p.config.Role, nil
	}
	if role := text(artifact, "xeroops_role"); role != "" {
		return role, nil
	}
	return "", fmt.Errorf("artifact %s of builder %s does not have a role; set role", artifact.Id(), artifact.BuilderId())
}

var regionAndImage = regexp.MustCompile(`^([a-z0-9-]+):(ami-[0-9a-f]+)$`)

// imagesOf parses an artifact's id, such as eu-west-1:ami-1,us-east-1:ami-2, into
// image ids by region. This plugin's builder and HashiCorp's amazon plugin use that
// form.
func imagesOf(artifact packersdk.Artifact) (map[string]string, error) {
	images := map[string]string{}
	for part := range strings.SplitSeq(artifact.Id(), ",") {
		m := regionAndImage.FindStringSubmatch(part)
		if m == nil {
			return nil, fmt.Errorf("artifact %q of builder %s is not a list of REGION:AMI", artifact.Id(), artifact.BuilderId())
		}
		images[m[1]] = m[2]
	}
	return images, nil
}

// imageForTerraform returns the image in the configured region, or else in that of the
// build, or the only one.
func (p *PostProcessor) imageForTerraform(artifact packersdk.Artifact, images map[string]string) (string, error) {
	if id := images[cmp.Or(p.config.Region, text(artifact, "xeroops_region"))]; id != "" {
		return id, nil
	}
	if len(images) == 1 && p.config.Region == "" {
		for _, id := range images {
			return id, nil
		}
	}
	return "", fmt.Errorf("select the image for Terraform from %v: set region to one of these regions", images)
}

// putParameters writes the id of each region's image to a parameter in that region.
func (p *PostProcessor) putParameters(ctx context.Context, ui packersdk.Ui, name, description string, images map[string]string) error {
	var written []string
	for _, region := range slices.Sorted(maps.Keys(images)) {
		id := images[region]
		client, err := p.config.Client(ctx, region)
		if err != nil {
			return err
		}
		parameters := ssm.NewFromConfig(client.Config, func(o *ssm.Options) {
			if e := p.config.Endpoints.SSM; e != "" {
				o.BaseEndpoint = aws.String(e)
			}
		})
		_, err = parameters.PutParameter(ctx, &ssm.PutParameterInput{
			Name: aws.String(name), Value: aws.String(id), Type: types.ParameterTypeString,
			DataType: aws.String("aws:ec2:image"), Overwrite: aws.Bool(true),
			Description: aws.String(description),
		})
		if err != nil && len(written) > 0 {
			return fmt.Errorf("put SSM parameter %s in %s: %w; the parameter in %s has the id of this build's image already, which Packer deletes: build again",
				name, region, err, strings.Join(written, ", "))
		}
		if err != nil {
			return fmt.Errorf("put SSM parameter %s in %s: %w", name, region, err)
		}
		written = append(written, region)
		ui.Say(fmt.Sprintf("SSM parameter %s in %s: %s", name, region, id))
	}
	return nil
}
