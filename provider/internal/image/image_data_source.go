// Package image has the data source for the images of nodes.
package image

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework-validators/listvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	tftypes "github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
)

const imageTypeName = "xeroops_image"

// Defaults of owners and architecture.
const (
	defaultOwner        = "self"
	defaultArchitecture = types.ArchitectureValuesX8664
)

type imageDataSource struct{ *base.ProviderData }

type imageModel struct {
	Role         tftypes.String `tfsdk:"role"`
	Architecture tftypes.String `tfsdk:"architecture"`
	Owners       tftypes.List   `tfsdk:"owners"`
	NamePattern  tftypes.String `tfsdk:"name_pattern"`
	ID           tftypes.String `tfsdk:"id"`
	Name         tftypes.String `tfsdk:"name"`
	Version      tftypes.String `tfsdk:"version"`
	CreationDate tftypes.String `tfsdk:"creation_date"`
}

// NewDataSource returns the data source xeroops_image.
func NewDataSource() datasource.DataSource { return &imageDataSource{} }

func (d *imageDataSource) Metadata(_ context.Context, _ datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = imageTypeName
}

func (d *imageDataSource) Configure(_ context.Context, req datasource.ConfigureRequest, resp *datasource.ConfigureResponse) {
	d.ProviderData = base.FromProvider(req.ProviderData, &resp.Diagnostics)
}

func (d *imageDataSource) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	var roles []string
	for _, role := range cluster.Roles() {
		roles = append(roles, string(role))
	}
	computed := func(description string) schema.Attribute {
		return schema.StringAttribute{Computed: true, MarkdownDescription: description}
	}
	resp.Schema = schema.Schema{
		MarkdownDescription: "The newest available image of a role, found by its tag `" + base.TagRole + "`, which XeroOps' Packer plugin sets. " +
			"AWS does not show the tags of an image to accounts that it is shared with; there, `name_pattern` finds it by its name. " +
			"To choose one version of an image in several accounts, store its id in an SSM parameter or a variable, and set `image_id` from that.",
		Attributes: map[string]schema.Attribute{
			"role": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "Role of the image: `" + strings.Join(roles, "`, `") + "`.",
				Validators:          []validator.String{stringvalidator.OneOf(roles...)},
			},
			"architecture": schema.StringAttribute{
				Optional: true, Computed: true,
				MarkdownDescription: "Architecture of the image: `x86_64` (the default) or `arm64`.",
				Validators:          []validator.String{stringvalidator.OneOf(string(types.ArchitectureValuesX8664), string(types.ArchitectureValuesArm64))},
			},
			"owners": schema.ListAttribute{
				Optional: true, ElementType: tftypes.StringType,
				MarkdownDescription: "Accounts to search for images: account ids, or `self` (the default). Anyone can publish an image with these tags, so use only accounts that you trust.",
				Validators:          []validator.List{listvalidator.SizeAtLeast(1), listvalidator.ValueStringsAre(ownerValidator())},
			},
			"name_pattern": schema.StringAttribute{
				Optional: true,
				MarkdownDescription: "Find the image by its name in place of its tag, with `*` and `?` as wildcards, such as `xeroops-app-*`: for images that an account in `owners` shares. " +
					"It has to match images of this role only: images without tags are not checked for their role.",
				Validators: []validator.String{stringvalidator.LengthBetween(3, 128)},
			},
			"id":            computed("Id of the image."),
			"name":          computed("Name of the image."),
			"version":       computed("Version of the image, from its tag `" + base.TagVersion + "`; empty if it has none."),
			"creation_date": computed("Creation time of the image in UTC (RFC 3339)."),
		},
	}
}

func (d *imageDataSource) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	var image imageModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &image)...)
	query := base.ImageQuery{Role: cluster.Role(image.Role.ValueString()), Architecture: image.Architecture.ValueString(),
		Owners: []string{defaultOwner}, NamePattern: image.NamePattern.ValueString()}
	if query.Architecture == "" {
		query.Architecture = string(defaultArchitecture)
	}
	if !image.Owners.IsNull() {
		resp.Diagnostics.Append(image.Owners.ElementsAs(ctx, &query.Owners, false)...)
	}
	if resp.Diagnostics.HasError() {
		return
	}
	found, ok, err := d.Describe.NewestImage(ctx, query)
	if err == nil && !ok {
		err = base.AtAttribute(path.Root("role"), noImage(query, d.Client.Region))
	}
	if err != nil {
		base.AddError(&resp.Diagnostics, "read", imageTypeName, string(query.Role), err)
		return
	}
	image.fromAWS(found)
	resp.Diagnostics.Append(resp.State.Set(ctx, &image)...)
}

func noImage(q base.ImageQuery, region string) error {
	owners := strings.Join(q.Owners, ", ")
	if q.NamePattern != "" {
		return fmt.Errorf("no available image owned by %s in %s has a name that matches %s, architecture %s, and no tag of another role; "+
			"set name_pattern, owners or architecture, or have the owner share the image with this account in that region", owners, region, q.NamePattern, q.Architecture)
	}
	text := fmt.Sprintf("no available image owned by %[4]s in %[5]s has the tag %[1]s = %[2]s and architecture %[3]s; "+
		"build one in that region with packer build, or set owners or architecture",
		base.TagRole, q.Role, q.Architecture, owners, region)
	if slices.ContainsFunc(q.Owners, func(owner string) bool { return owner != defaultOwner }) {
		text += "; AWS does not show the tags of another account's image: set name_pattern"
	}
	return errors.New(text)
}

func (m *imageModel) fromAWS(found types.Image) {
	m.ID = tftypes.StringPointerValue(found.ImageId)
	m.Name = tftypes.StringPointerValue(found.Name)
	m.Version = tftypes.StringValue(base.FlattenEC2Tags(found.Tags)[base.TagVersion])
	m.Architecture = tftypes.StringValue(string(found.Architecture))
	m.CreationDate = tftypes.StringPointerValue(found.CreationDate)
}

func ownerValidator() validator.String {
	return stringvalidator.RegexMatches(regexp.MustCompile(`^(self|\d{12})$`), "an owner is self or an account id of twelve digits")
}
