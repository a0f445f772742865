package network

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/provider/internal/base"
)

const (
	zonesTypeName = "xeroops_availability_zones"

	// zoneType is the value of zone-type of availability zones; the others are
	// local-zone and wavelength-zone (EC2 API reference, DescribeAvailabilityZones).
	zoneType = "availability-zone"
)

type zonesDataSource struct{ *base.ProviderData }

type zonesModel struct {
	Region  types.String `tfsdk:"region"`
	Names   []string     `tfsdk:"names"`
	ZoneIDs []string     `tfsdk:"zone_ids"`
}

// NewAvailabilityZonesDataSource returns the data source xeroops_availability_zones.
func NewAvailabilityZonesDataSource() datasource.DataSource { return &zonesDataSource{} }

func (d *zonesDataSource) Metadata(_ context.Context, _ datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = zonesTypeName
}

func (d *zonesDataSource) Configure(_ context.Context, req datasource.ConfigureRequest, resp *datasource.ConfigureResponse) {
	d.ProviderData = base.FromProvider(req.ProviderData, &resp.Diagnostics)
}

func (d *zonesDataSource) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "The availability zones of the provider's region that the account may use, without Local Zones and Wavelength Zones. " +
			"A zone that AWS reports as impaired is still listed, so that an outage does not change a plan.",
		Attributes: map[string]schema.Attribute{
			"region": schema.StringAttribute{Computed: true, MarkdownDescription: "The provider's region."},
			"names": schema.ListAttribute{Computed: true, ElementType: types.StringType,
				MarkdownDescription: "Names of the zones, such as `eu-west-1a`, sorted. The same name may be another zone in another account."},
			"zone_ids": schema.ListAttribute{Computed: true, ElementType: types.StringType,
				MarkdownDescription: "Ids of the zones, such as `euw1-az1`, in the order of `names`. An id is the same zone in every account."},
		},
	}
}

func (d *zonesDataSource) Read(ctx context.Context, _ datasource.ReadRequest, resp *datasource.ReadResponse) {
	out, err := d.Client.EC2.DescribeAvailabilityZones(ctx, &ec2.DescribeAvailabilityZonesInput{Filters: []ec2types.Filter{base.Filter("zone-type", zoneType)}})
	if err != nil {
		base.AddError(&resp.Diagnostics, "read", zonesTypeName, d.Client.Region, err)
		return
	}
	zones := usableZones(out.AvailabilityZones)
	if len(zones) == 0 {
		base.AddError(&resp.Diagnostics, "read", zonesTypeName, d.Client.Region, errors.New("the account may use no availability zone of the region; enable the region, or choose another"))
		return
	}
	state := zonesModel{Region: types.StringValue(d.Client.Region)}
	for _, z := range zones {
		state.Names = append(state.Names, aws.ToString(z.ZoneName))
		state.ZoneIDs = append(state.ZoneIDs, aws.ToString(z.ZoneId))
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &state)...)
}

// usableZones returns the availability zones that need no opt-in or are opted in to,
// by name.
func usableZones(all []ec2types.AvailabilityZone) []ec2types.AvailabilityZone {
	zones := slices.DeleteFunc(slices.Clone(all), func(z ec2types.AvailabilityZone) bool {
		return z.ZoneType != nil && *z.ZoneType != zoneType || z.OptInStatus == ec2types.AvailabilityZoneOptInStatusNotOptedIn
	})
	slices.SortFunc(zones, func(a, b ec2types.AvailabilityZone) int {
		return cmp.Compare(aws.ToString(a.ZoneName), aws.ToString(b.ZoneName))
	})
	return zones
}
