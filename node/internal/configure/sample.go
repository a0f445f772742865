package configure

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/pki"
)

// Sample returns sample data of a node of the role in the reference cluster
// (docs/design.md#reference-cluster), for rendering templates without a
// cluster. Services' own checkers accept the result, and nothing in it is secret.
func Sample(role cluster.Role) (Data, error) {
	t := cluster.ReferenceTopology("sample")
	d := Data{Role: string(role), Cluster: t.Cluster, Region: "eu-west-1", Topology: t, Credentials: map[string]string{}, CPUs: 2, MemoryMiB: 2048}
	var management string
	for _, n := range t.Nodes {
		if n.Role == role && d.Node == "" {
			d.Node, d.Address = n.Name, n.Address
		}
		if n.Role == cluster.RoleManagement {
			management = n.Address
		}
	}
	if d.Node == "" {
		return d, fmt.Errorf("the reference cluster has no node of role %q", role)
	}
	for _, c := range cluster.CredentialsOf(role) {
		d.Credentials[c.Name] = sampleCredentials[c.Kind]
	}
	d.Config = map[string]string{
		cluster.EnvHostname: d.Node, cluster.EnvRole: d.Role, cluster.EnvAddress: d.Address, cluster.EnvCluster: d.Cluster, cluster.EnvRegion: d.Region,
		cluster.EnvNode: d.Node, cluster.EnvVPNCIDR: t.VPN.CIDR, cluster.EnvManagementAddress: management,
		cluster.EnvUploadsBucket: "uploads-123456789012", cluster.EnvPGDumpBucket: "pgdump-123456789012",
		cluster.EnvWALGBucket: "walg-123456789012", cluster.EnvLogsBucket: "logs-123456789012",
	}
	return d, d.sampleTLS()
}

// sampleTLS issues certificates of authorities whose keys nobody keeps.
func (d *Data) sampleTLS() error {
	address, err := netip.ParseAddr(d.Address)
	if err != nil {
		return err
	}
	id := pki.Identity{Cluster: d.Cluster, Node: d.Node, Role: cluster.Role(d.Role), Address: address}
	d.TLS = TLS{map[pki.Use]string{}, map[pki.Use]string{}}
	for _, use := range []pki.Use{pki.Nodes, pki.Etcd} {
		authority, err := pki.NewAuthority(d.Cluster, use, time.Now())
		if err != nil {
			return err
		}
		certificate, err := authority.Issue(id, time.Now())
		if err != nil {
			return err
		}
		content, err := certificate.PEM()
		if err != nil {
			return err
		}
		d.TLS.Certificates[use], d.TLS.Bundles[use] = string(content), string(pki.Generations{authority}.Bundle())
	}
	return nil
}

// sampleCredentials have the format of real ones; see cluster.CredentialKind.
var sampleCredentials = map[cluster.CredentialKind]string{
	cluster.Password:         "sample-password-not-secret-0123456789-abcde",
	cluster.SymmetricKey:     "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
	cluster.WireGuardPrivate: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHl8=",
}
