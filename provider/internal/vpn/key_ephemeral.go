package vpn

import (
	"context"
	"crypto/rand"

	"github.com/hashicorp/terraform-plugin-framework/ephemeral"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/provider/internal/base"
)

type keyEphemeral struct{}

type keyModel struct {
	PrivateKey types.String `tfsdk:"private_key"`
	PublicKey  types.String `tfsdk:"public_key"`
}

// NewKeyEphemeral returns the ephemeral resource xeroops_wireguard_key.
func NewKeyEphemeral() ephemeral.EphemeralResource { return keyEphemeral{} }

func (keyEphemeral) Metadata(_ context.Context, _ ephemeral.MetadataRequest, resp *ephemeral.MetadataResponse) {
	resp.TypeName = "xeroops_wireguard_key"
}

func (keyEphemeral) Schema(_ context.Context, _ ephemeral.SchemaRequest, resp *ephemeral.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "A new WireGuard key pair, generated in every run and never stored. Use it where Terraform accepts ephemeral values, " +
			"such as a write-only attribute.",
		Attributes: map[string]schema.Attribute{
			"private_key": schema.StringAttribute{
				Computed: true, Sensitive: true,
				MarkdownDescription: "Private key in base64, as printed by `wg genkey`.",
			},
			"public_key": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "Public key in base64, as printed by `wg pubkey`.",
			},
		},
	}
}

func (keyEphemeral) Open(ctx context.Context, _ ephemeral.OpenRequest, resp *ephemeral.OpenResponse) {
	pair, err := newKeyPair(rand.Reader)
	if err != nil {
		base.AddError(&resp.Diagnostics, "open", "xeroops_wireguard_key", "", err)
		return
	}
	resp.Diagnostics.Append(resp.Result.Set(ctx, keyModel{
		PrivateKey: types.StringValue(pair.private),
		PublicKey:  types.StringValue(pair.public),
	})...)
}
