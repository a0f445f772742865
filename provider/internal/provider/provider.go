// Package provider has the provider block, with account and region, and the list of
// the provider's resources, data sources and functions.
package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/resource"

	"github.com/xeroops/xeroops/internal/awsclient"
	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/functions"
	"github.com/xeroops/xeroops/provider/internal/image"
	"github.com/xeroops/xeroops/provider/internal/network"
	"github.com/xeroops/xeroops/provider/internal/storage"
	"github.com/xeroops/xeroops/provider/internal/vpn"
)

type xeroops struct {
	version string
}

var (
	_ provider.ProviderWithFunctions          = (*xeroops)(nil)
	_ provider.ProviderWithEphemeralResources = (*xeroops)(nil)
)

// New returns a constructor of the provider. The version is part of the User-Agent
// of its calls.
func New(version string) func() provider.Provider {
	return func() provider.Provider { return &xeroops{version: version} }
}

func (p *xeroops) Metadata(_ context.Context, _ provider.MetadataRequest, resp *provider.MetadataResponse) {
	resp.TypeName = "xeroops"
	resp.Version = p.version
}

func (p *xeroops) Configure(ctx context.Context, req provider.ConfigureRequest, resp *provider.ConfigureResponse) {
	if unknown := unknownSetting(req.Config.Raw); unknown != "" {
		resp.Diagnostics.AddError("Provider setting not known yet",
			unknown+" depends on a resource that does not exist yet. Set it to a value that is known at plan, or create the resource first with -target.")
		return
	}
	var config providerModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &config)...)
	if resp.Diagnostics.HasError() {
		return
	}
	client, err := awsclient.New(ctx, config.settings(p.version))
	if err != nil {
		resp.Diagnostics.AddError("Configure the xeroops provider", err.Error())
		return
	}
	data := &base.ProviderData{Client: client, Describe: base.NewDescriber(client.EC2, client.S3, client.Region), Tags: config.tagSettings(), PlanCache: &base.PlanCache{},
		Claims:     base.NewClaims(config.Owner.ValueString()),
		Encryption: base.NewBucketEncryption(client.S3)}
	resp.ResourceData, resp.DataSourceData, resp.EphemeralResourceData = data, data, data
}

func (p *xeroops) Resources(context.Context) []func() resource.Resource {
	return []func() resource.Resource{
		network.NewVPCResource,
		network.NewSubnetResource,
		network.NewEIPResource,
		network.NewFlowLogResource,
		storage.NewVolumeResource,
		storage.NewBucketResource,
		cluster.NewResource,
		vpn.NewPeerResource,
	}
}

func (p *xeroops) DataSources(context.Context) []func() datasource.DataSource {
	return []func() datasource.DataSource{
		image.NewDataSource,
		cluster.NewDataSource,
		network.NewAvailabilityZonesDataSource,
	}
}

func (p *xeroops) EphemeralResources(context.Context) []func() ephemeral.EphemeralResource {
	return []func() ephemeral.EphemeralResource{
		vpn.NewKeyEphemeral,
	}
}

func (p *xeroops) Functions(context.Context) []func() function.Function {
	return []func() function.Function{
		functions.NewEnvFile,
		functions.NewParseEnvFile,
		functions.NewAddressPlan,
	}
}
