package cluster

import (
	"maps"
	"slices"
)

// CredentialKind is the form of an internal credential.
type CredentialKind int

// The kinds of internal credentials.
const (
	Password         CredentialKind = iota // 32 random bytes, base64url without padding
	SymmetricKey                           // 32 random bytes, hexadecimal
	WireGuardPrivate                       // X25519 private key, base64 (wg(8))
)

// Credential is a secret that the cluster's own components use among themselves.
// The provider generates it in S3 unless the customer sets it.
type Credential struct {
	Name  string // variable in prod-credentials.env
	Kind  CredentialKind
	Roles []Role // whose credentials hold it
	// Permanent reports whether the credential survives a rotation, because the
	// data that it protects does.
	Permanent bool
	// Applications reports whether the applications on app nodes get the
	// credential; otherwise it is for the node's own daemons.
	Applications bool
}

// InternalCredentials returns all internal credentials. Redis has a user for each
// kind of client (docs/design.md#registry): nodes write heartbeats, applications
// use their own keys, operators deploy, and only management has all rights.
func InternalCredentials() []Credential {
	return []Credential{
		{Name: RedisNodePassword, Kind: Password, Roles: Roles()},
		{Name: "REDIS_APP_PASSWORD", Kind: Password, Roles: []Role{RoleApp, RoleManagement}, Applications: true},
		{Name: RedisDeployPassword, Kind: Password, Roles: []Role{RoleManagement}},
		{Name: RedisStatusPassword, Kind: Password, Roles: []Role{RoleManagement}},
		{Name: "REDIS_ADMIN_PASSWORD", Kind: Password, Roles: []Role{RoleManagement}},
		{Name: "POSTGRES_SUPERUSER_PASSWORD", Kind: Password, Roles: []Role{RoleDB}},
		{Name: "POSTGRES_REPLICATION_PASSWORD", Kind: Password, Roles: []Role{RoleDB}},
		{Name: PostgresAppPassword, Kind: Password, Roles: []Role{RoleDB, RoleApp}, Applications: true},
		{Name: ApplicationsPostgresKey, Kind: SymmetricKey, Roles: []Role{RoleDB, RoleApp}},
		{Name: ApplicationsRedisKey, Kind: SymmetricKey, Roles: []Role{RoleManagement, RoleApp}},
		{Name: "PATRONI_REST_PASSWORD", Kind: Password, Roles: []Role{RoleDB}},
		{Name: "BACKUP_ENCRYPTION_KEY", Kind: SymmetricKey, Roles: []Role{RoleDB}, Permanent: true},
		{Name: "SESSION_KEY", Kind: SymmetricKey, Roles: []Role{RoleLoadBalancer}},
		{Name: WireGuardPrivateKey, Kind: WireGuardPrivate, Roles: []Role{RoleWireGuard}},
	}
}

// Names of the credentials that Go code reads.
const (
	RedisNodePassword   = "REDIS_NODE_PASSWORD"   // of the registry's user node
	RedisDeployPassword = "REDIS_DEPLOY_PASSWORD" // of the registry's user deploy
	RedisStatusPassword = "REDIS_STATUS_PASSWORD" // of the registry's user status
	PostgresAppPassword = "POSTGRES_APP_PASSWORD"
	WireGuardPrivateKey = "WIREGUARD_PRIVATE_KEY"
	// The keys from which the passwords of applications are derived (appsecret).
	ApplicationsPostgresKey = "APPLICATIONS_POSTGRES_KEY"
	ApplicationsRedisKey    = "APPLICATIONS_REDIS_KEY"
)

// OperatorPasswords are the credentials that operators have of a cluster, by the user of
// the registry. An operator reads an object with one of them, and none of a role's.
var OperatorPasswords = map[string]string{"deploy": RedisDeployPassword, "status": RedisStatusPassword}

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

// ApplicationCredentials returns the credentials of an app node that its
// applications get: the customer's own, and the internal ones with Applications
// set.
func ApplicationCredentials(vars map[string]string) map[string]string {
	visible := maps.Clone(vars)
	for _, c := range InternalCredentials() {
		if !c.Applications {
			delete(visible, c.Name)
		}
	}
	return visible
}
