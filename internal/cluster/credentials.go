package cluster

import "slices"

// CredentialKind says what an internal credential looks like.
type CredentialKind int

// The kinds of internal credentials.
const (
	Password         CredentialKind = iota // 32 random bytes, base64url without padding
	SymmetricKey                           // 32 random bytes, hexadecimal
	WireGuardPrivate                       // X25519 private key, base64 (wg(8))
)

// Credential is a secret that the cluster's own parts use among themselves.
// The provider generates it straight into S3, unless the customer gives one.
type Credential struct {
	Name  string // variable in prod-credentials.env
	Kind  CredentialKind
	Roles []Role // whose credentials hold it
	// Permanent ones survive a rotation: what they protect outlives it.
	Permanent bool
}

// InternalCredentials lists them all. Redis has a user per kind of client
// (docs/design.md#registry): nodes write heartbeats, applications use their own keys,
// operators deploy, and only management administers.
func InternalCredentials() []Credential {
	return []Credential{
		{Name: "REDIS_NODE_PASSWORD", Kind: Password, Roles: Roles()},
		{Name: "REDIS_APP_PASSWORD", Kind: Password, Roles: []Role{RoleApp, RoleManagement}},
		{Name: "REDIS_DEPLOY_PASSWORD", Kind: Password, Roles: []Role{RoleManagement}},
		{Name: "REDIS_ADMIN_PASSWORD", Kind: Password, Roles: []Role{RoleManagement}},
		{Name: "POSTGRES_SUPERUSER_PASSWORD", Kind: Password, Roles: []Role{RoleDB}},
		{Name: "POSTGRES_REPLICATION_PASSWORD", Kind: Password, Roles: []Role{RoleDB}},
		{Name: "POSTGRES_APP_PASSWORD", Kind: Password, Roles: []Role{RoleDB, RoleApp}},
		{Name: "PATRONI_REST_PASSWORD", Kind: Password, Roles: []Role{RoleDB}},
		{Name: "BACKUP_ENCRYPTION_KEY", Kind: SymmetricKey, Roles: []Role{RoleDB}, Permanent: true},
		{Name: "SESSION_KEY", Kind: SymmetricKey, Roles: []Role{RoleLoadBalancer}},
		{Name: WireGuardPrivateKey, Kind: WireGuardPrivate, Roles: []Role{RoleWireGuard}},
	}
}

// WireGuardPrivateKey is the variable of the gateway's private key.
const WireGuardPrivateKey = "WIREGUARD_PRIVATE_KEY"

// CredentialsOf returns the internal credentials that a role holds.
func CredentialsOf(role Role) []Credential {
	var of []Credential
	for _, c := range InternalCredentials() {
		if slices.Contains(c.Roles, role) {
			of = append(of, c)
		}
	}
	return of
}
