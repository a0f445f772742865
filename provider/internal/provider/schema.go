package provider

import (
	"context"
	"regexp"
	"strings"
	"time"

	awsbase "github.com/hashicorp/aws-sdk-go-base/v2"
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/listvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/setvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/provider/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/xeroops/xeroops/internal/awsclient"
	"github.com/xeroops/xeroops/provider/internal/base"
)

type providerModel struct {
	Region            types.String     `tfsdk:"region"`
	Profile           types.String     `tfsdk:"profile"`
	AssumeRole        *assumeRoleModel `tfsdk:"assume_role"`
	Endpoints         *endpointsModel  `tfsdk:"endpoints"`
	S3UsePathStyle    types.Bool       `tfsdk:"s3_use_path_style"`
	DefaultTags       types.Map        `tfsdk:"default_tags"`
	IgnoreTags        *ignoreTagsModel `tfsdk:"ignore_tags"`
	AllowedAccountIDs []types.String   `tfsdk:"allowed_account_ids"`
	MaxRetries        types.Int64      `tfsdk:"max_retries"`
	Owner             types.String     `tfsdk:"owner"`
}

type assumeRoleModel struct {
	RoleARN     types.String `tfsdk:"role_arn"`
	SessionName types.String `tfsdk:"session_name"`
	ExternalID  types.String `tfsdk:"external_id"`
	Duration    types.String `tfsdk:"duration"`
}

type ignoreTagsModel struct {
	Keys        types.Set `tfsdk:"keys"`
	KeyPrefixes types.Set `tfsdk:"key_prefixes"`
}

type endpointsModel struct {
	EC2 types.String `tfsdk:"ec2"`
	IAM types.String `tfsdk:"iam"`
	S3  types.String `tfsdk:"s3"`
	STS types.String `tfsdk:"sts"`
}

func (p *xeroops) Schema(_ context.Context, _ provider.SchemaRequest, resp *provider.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "The provider creates a complete application platform in your AWS account. " +
			"It finds credentials and region like the AWS CLI, unless the provider block sets them.",
		Attributes: map[string]schema.Attribute{
			"region":      optionalString("Region, such as `eu-west-1`. Default: `AWS_REGION`, then the profile's."),
			"profile":     optionalString("Profile of the shared configuration files. Default: `AWS_PROFILE`."),
			"assume_role": assumeRoleAttribute(),
			"endpoints":   endpointsAttribute(),
			"s3_use_path_style": schema.BoolAttribute{Optional: true,
				MarkdownDescription: "Whether to use the bucket in the path of S3 URLs instead of the host name, for a custom S3 endpoint. Default: `false`."},
			"default_tags": schema.MapAttribute{Optional: true, ElementType: types.StringType, Validators: base.TagValidators(),
				MarkdownDescription: "Tags for all resources. A tag whose value is null is not set."},
			"ignore_tags": ignoreTagsAttribute(),
			"allowed_account_ids": schema.ListAttribute{Optional: true, ElementType: types.StringType,
				Validators: []validator.List{listvalidator.SizeAtLeast(1), listvalidator.ValueStringsAre(
					stringvalidator.RegexMatches(regexp.MustCompile(`^\d{12}$`), "an account id has twelve digits"))},
				MarkdownDescription: "Account ids that the provider may use. It returns an error if the credentials belong to another account."},
			"max_retries": schema.Int64Attribute{Optional: true, Validators: []validator.Int64{int64validator.Between(1, 100)},
				MarkdownDescription: "Maximum number of attempts of a call that AWS throttles or that fails temporarily. Default: 10."},
			"owner": schema.StringAttribute{Optional: true, Validators: base.NameValidators(),
				MarkdownDescription: "Name of this configuration, such as `shop-prod`. An apply adopts resources that an interrupted run left only if that run had the same owner. " +
					"Without an owner, it adopts only those whose creation was not complete. Set it to a different name for each state, also for each workspace. Default: no owner."},
		},
	}
}

func optionalString(description string) schema.StringAttribute {
	return schema.StringAttribute{Optional: true, MarkdownDescription: description, Validators: []validator.String{stringvalidator.LengthAtLeast(1)}}
}

func assumeRoleAttribute() schema.Attribute {
	return schema.SingleNestedAttribute{
		Optional:            true,
		MarkdownDescription: "A role to assume.",
		Attributes: map[string]schema.Attribute{
			"role_arn":     schema.StringAttribute{Required: true, MarkdownDescription: "ARN of the role.", Validators: []validator.String{stringvalidator.RegexMatches(regexp.MustCompile(`^arn:[\w-]+:iam::\d{12}:role/.+`), "not the ARN of a role")}},
			"session_name": optionalString("Name of the session, which CloudTrail shows."),
			"external_id":  optionalString("External id that the role requires."),
			"duration": schema.StringAttribute{Optional: true, MarkdownDescription: "Lifetime of the credentials, such as `1h`: 15 minutes to 12 hours.",
				Validators: []validator.String{base.DurationBetween(15*time.Minute, 12*time.Hour)}},
		},
	}
}

func ignoreTagsAttribute() schema.Attribute {
	keys := func(description string) schema.SetAttribute {
		return schema.SetAttribute{Optional: true, ElementType: types.StringType, MarkdownDescription: description,
			Validators: []validator.Set{setvalidator.ValueStringsAre(stringvalidator.LengthAtLeast(1))}}
	}
	return schema.SingleNestedAttribute{
		Optional: true,
		MarkdownDescription: "Tags that the provider neither shows nor sets nor removes, on all resources, even if `tags` or `default_tags` has them. " +
			"Tags that others add stay without it; it is for tags that both configure, such as one that the configuration sets and automation changes.",
		Attributes: map[string]schema.Attribute{
			"keys":         keys("Keys of the tags."),
			"key_prefixes": keys("Prefixes of the keys of the tags, such as `aws-backup:`."),
		},
	}
}

func endpointsAttribute() schema.Attribute {
	url := func(service string) schema.StringAttribute {
		return schema.StringAttribute{Optional: true, MarkdownDescription: "URL of the " + service + " API.",
			Validators: []validator.String{stringvalidator.RegexMatches(regexp.MustCompile(`^https?://[^/]+`), "not a URL such as https://ec2.example.com")}}
	}
	return schema.SingleNestedAttribute{
		Optional:            true,
		MarkdownDescription: "Custom endpoints. `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_<SERVICE>` are supported too.",
		Attributes:          map[string]schema.Attribute{"ec2": url("EC2"), "iam": url("IAM"), "s3": url("S3"), "sts": url("STS")},
	}
}

// unknownSetting returns the name of a setting of the provider block that is not
// known yet, such as "endpoints.ec2", or "".
func unknownSetting(block tftypes.Value) string {
	var unknown string
	// The walk ends with an error only if the function returns one.
	_ = tftypes.Walk(block, func(path *tftypes.AttributePath, value tftypes.Value) (bool, error) {
		if !value.IsKnown() && unknown == "" {
			unknown = settingName(path)
		}
		return unknown == "", nil
	})
	return unknown
}

// settingName returns the names in path without the keys of lists and maps.
func settingName(path *tftypes.AttributePath) string {
	var names []string
	for _, step := range path.Steps() {
		if name, ok := step.(tftypes.AttributeName); ok {
			names = append(names, string(name))
		}
	}
	return strings.Join(names, ".")
}

func (m providerModel) tagSettings() base.TagSettings {
	var s base.TagSettings
	s.Default, _ = base.TagMap(m.DefaultTags)
	if i := m.IgnoreTags; i != nil {
		s.IgnoreKeys, s.IgnorePrefixes = stringsOf(i.Keys), stringsOf(i.KeyPrefixes)
	}
	return s
}

// stringsOf returns the elements of a set that are not null.
func stringsOf(set types.Set) []string {
	var all []string
	for _, element := range set.Elements() {
		if s, ok := element.(types.String); ok && !s.IsNull() {
			all = append(all, s.ValueString())
		}
	}
	return all
}

func (m providerModel) settings(version string) awsclient.Settings {
	s := awsclient.Settings{
		Region:         m.Region.ValueString(),
		Profile:        m.Profile.ValueString(),
		S3UsePathStyle: m.S3UsePathStyle.ValueBool(),
		MaxRetries:     int(m.MaxRetries.ValueInt64()),
		Product:        "terraform-provider-xeroops",
		Version:        version,
	}
	if e := m.Endpoints; e != nil {
		s.Endpoints = awsclient.Endpoints{EC2: e.EC2.ValueString(), IAM: e.IAM.ValueString(), S3: e.S3.ValueString(), STS: e.STS.ValueString()}
	}
	if a := m.AssumeRole; a != nil {
		duration, _ := time.ParseDuration(a.Duration.ValueString()) // validated; 0 is AWS's default
		s.AssumeRole = []awsbase.AssumeRole{{RoleARN: a.RoleARN.ValueString(), SessionName: a.SessionName.ValueString(),
			ExternalID: a.ExternalID.ValueString(), Duration: duration}}
	}
	for _, id := range m.AllowedAccountIDs {
		s.AllowedAccountIDs = append(s.AllowedAccountIDs, id.ValueString())
	}
	return s
}
