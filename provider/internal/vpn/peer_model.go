package vpn

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
)

type peerModel struct {
	Cluster       types.String   `tfsdk:"cluster"`
	UploadsBucket types.String   `tfsdk:"uploads_bucket"`
	Name          types.String   `tfsdk:"name"`
	PublicKey     types.String   `tfsdk:"public_key"`
	Address       types.String   `tfsdk:"address"`
	ClientConfig  types.String   `tfsdk:"client_config"`
	Timeouts      timeouts.Value `tfsdk:"timeouts"`
}

type peerIdentity struct {
	Cluster       types.String `tfsdk:"cluster"`
	UploadsBucket types.String `tfsdk:"uploads_bucket"`
	Name          types.String `tfsdk:"name"`
}

func (m *peerModel) identity() peerIdentity {
	return peerIdentity{Cluster: m.Cluster, UploadsBucket: m.UploadsBucket, Name: m.Name}
}

// importID is the import id of a peer. Its parts contain no slash.
func importID(cluster, bucket, name string) string {
	return strings.Join([]string{cluster, bucket, name}, "/")
}

func (m *peerModel) importID() string {
	return importID(m.Cluster.ValueString(), m.UploadsBucket.ValueString(), m.Name.ValueString())
}

func parseImportID(id string) (peerIdentity, error) {
	parts := strings.Split(id, "/")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
		return peerIdentity{}, errors.New("an import id is CLUSTER/UPLOADS_BUCKET/NAME, such as production/uploads-123456789012/laptop")
	}
	return peerIdentity{types.StringValue(parts[0]), types.StringValue(parts[1]), types.StringValue(parts[2])}, nil
}

// setState sets the attributes with which Read finds an imported peer.
func (i peerIdentity) setState(ctx context.Context, resp *resource.ImportStateResponse) {
	resp.Diagnostics.Append(resp.State.SetAttribute(ctx, path.Root("cluster"), i.Cluster)...)
	resp.Diagnostics.Append(resp.State.SetAttribute(ctx, path.Root("uploads_bucket"), i.UploadsBucket)...)
	resp.Diagnostics.Append(resp.State.SetAttribute(ctx, path.Root("name"), i.Name)...)
	resp.Diagnostics.Append(resp.Identity.Set(ctx, i)...)
}

func (r *peerResource) store(m peerModel) store {
	return store{
		s3:     r.Client.S3,
		bucket: m.UploadsBucket.ValueString(),
		layout: cluster.Layout{Cluster: m.Cluster.ValueString()},
	}
}

// claimed returns a peer as the holder of its claim.
func (r *peerResource) claimed(m peerModel, claim string) base.Claimed {
	s, name := r.store(m), m.Name.ValueString()
	return base.Claimed{Kind: peerTypeName, ID: m.importID(), Tag: claim,
		Write: func(ctx context.Context, claim string) error { return s.writeClaim(ctx, name, claim) },
		Reread: func(ctx context.Context) (string, bool, error) {
			peer, err := s.peer(ctx, name)
			if errors.Is(err, errNoObject) {
				return "", false, nil
			}
			return peer.Claim, err == nil, err
		}}
}

// creation returns how a peer is adopted or created. A created one is then complete in m.
func (r *peerResource) creation(m *peerModel) base.Creation {
	s, name := r.store(*m), m.Name.ValueString()
	return base.Creation{Kind: peerTypeName, Name: name, Key: m.importID(),
		Find:  func(ctx context.Context) (*base.Found, error) { return s.find(ctx, name, m.PublicKey.ValueString()) },
		Write: func(ctx context.Context, _, claim string) error { return s.writeClaim(ctx, name, claim) },
		Create: func(ctx context.Context, claim base.Claim) (string, error) {
			return m.importID(), r.save(ctx, m, func(s store, ctx context.Context, p cluster.VPNPeer) error {
				p.Claim = claim.String()
				return s.create(ctx, p)
			})
		}}
}

// save reserves the peer's address, writes its object with write, and sets the
// computed attributes.
func (r *peerResource) save(ctx context.Context, m *peerModel, write func(store, context.Context, cluster.VPNPeer) error) error {
	s := r.store(*m)
	topology, err := s.topology(ctx)
	if err != nil {
		return base.AtAttribute(path.Root("cluster"), err)
	}
	if err := checkGateway(topology); err != nil {
		return base.AtAttribute(path.Root("cluster"), err)
	}
	vpn, err := netip.ParsePrefix(topology.VPN.CIDR)
	if err != nil {
		return fmt.Errorf("the VPN range of cluster %q: %w", topology.Cluster, err)
	}
	wanted, _ := netip.ParseAddr(m.Address.ValueString()) // not valid: any address will do
	address, err := s.reserve(ctx, vpn, m.Name.ValueString(), wanted)
	if err != nil {
		return base.AtAttribute(path.Root("address"), err)
	}
	m.Address = types.StringValue(address.String())
	m.ClientConfig = types.StringValue(clientConfig(topology.VPN, address.String()))
	return write(s, ctx, cluster.VPNPeer{
		Schema:    cluster.VPNPeerSchema,
		Name:      m.Name.ValueString(),
		PublicKey: m.PublicKey.ValueString(),
		Address:   address.String(),
	})
}

// note saves the result of an operation to the state, or adds its error.
func (m peerModel) note(ctx context.Context, operation string, err error, state *tfsdk.State, identity *tfsdk.ResourceIdentity, diags *diag.Diagnostics) {
	if err != nil {
		base.AddError(diags, operation, peerTypeName, m.Name.ValueString(), err)
		return
	}
	diags.Append(state.Set(ctx, &m)...)
	diags.Append(identity.Set(ctx, m.identity())...)
}

// refresh reads the peer and returns its claim; the error is errNoObject if it is gone. If the cluster or
// its gateway is gone, the peer keeps its last known configuration: the resource is
// the peer's object.
func (r *peerResource) refresh(ctx context.Context, m *peerModel) (claim string, err error) {
	s := r.store(*m)
	var peer *cluster.VPNPeer
	var topology *cluster.Topology
	err = base.Parallel(ctx,
		func(ctx context.Context) (err error) {
			peer, err = s.peer(ctx, m.Name.ValueString())
			return err
		},
		func(ctx context.Context) (err error) {
			topology, err = s.topology(ctx)
			if errors.Is(err, errNoObject) {
				return nil
			}
			return err
		})
	if err != nil {
		return "", err
	}
	m.PublicKey = types.StringValue(peer.PublicKey)
	m.Address = types.StringValue(peer.Address)
	if topology != nil && checkGateway(topology) == nil {
		m.ClientConfig = types.StringValue(clientConfig(topology.VPN, peer.Address))
	}
	return peer.Claim, nil
}
