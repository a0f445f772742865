package clusterobject

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/xeroops/xeroops/internal/awswait"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/envfile"
	"github.com/xeroops/xeroops/provider/internal/base"
)

type secrets = map[string]string

// credentialsObject is the content of a role's credentials object.
type credentialsObject struct {
	text     string
	internal string // as in Record
}

// wantedCredentials returns the credentials objects to write, by key. If every
// role has its credentials and no new version is requested there are at most
// the operators' ones, and otherwise no secret is read.
func (o *Objects) wantedCredentials(ctx context.Context) (map[string]credentialsObject, error) {
	if !o.credentialsMissing() && !o.RewriteCredentials && !o.RotateInternal {
		return o.staleOperatorCredentials(ctx)
	}
	existing, err := o.readCredentials(ctx)
	if err != nil {
		return nil, err
	}
	kept := existing
	if o.RewriteCredentials {
		kept = internalOnly(existing)
	}
	merged, err := mergeCredentials(o.spec.Roles(), kept, o.Configured, o.RotateInternal, rand.Reader)
	if err != nil {
		return nil, err
	}
	if private := merged[model.RoleWireGuard][model.WireGuardPrivateKey]; private != "" {
		if o.VPNPublicKey, err = wireGuardPublicKey(private); err != nil {
			return nil, err
		}
	}
	objects := map[string]credentialsObject{}
	for role, vars := range merged {
		text, err := envfile.Format(vars)
		if err != nil {
			return nil, fmt.Errorf("credentials of role %s: %w", role, err)
		}
		key, internal := o.layout.Credentials(role), strings.Join(internalNames(role), ",")
		if maps.Equal(vars, existing[role]) {
			o.records.set(key, Record{ETag: o.actual[key], Internal: internal})
			continue
		}
		objects[key] = credentialsObject{text, internal}
	}
	return objects, o.addOperatorCredentials(objects, merged[model.RoleManagement], o.operators()...)
}

// internalOnly returns the internal credentials among existing, so that a secret
// that is not configured any more is removed.
func internalOnly(existing map[model.Role]secrets) map[model.Role]secrets {
	internal := map[model.Role]secrets{}
	for role := range existing {
		internal[role] = secrets{}
		for _, c := range model.CredentialsOf(role) {
			if value, exists := existing[role][c.Name]; exists {
				internal[role][c.Name] = value
			}
		}
	}
	return internal
}

// internalNames returns the names of a role's internal credentials.
func internalNames(role model.Role) []string {
	var names []string
	for _, c := range model.CredentialsOf(role) {
		names = append(names, c.Name)
	}
	return names
}

// lacking returns the role's internal credentials that its object does not have
// according to its record: those that this version of the provider added.
func (o *Objects) lacking(role model.Role) []string {
	recorded := strings.Split(o.records.internal(o.layout.Credentials(role)), ",")
	return slices.DeleteFunc(internalNames(role), func(name string) bool { return slices.Contains(recorded, name) })
}

func (o *Objects) credentialsMissing() bool {
	for _, role := range o.spec.Roles() {
		if o.actual[o.layout.Credentials(role)] == "" || len(o.lacking(role)) > 0 {
			return true
		}
	}
	// The public key is not known after an import or the loss of a state.
	return o.VPNPublicKey == "" && len(o.spec.NodesOf(model.RoleWireGuard)) > 0
}

// readCredentials reads the credentials of all roles, since roles share secrets.
func (o *Objects) readCredentials(ctx context.Context) (map[model.Role]secrets, error) {
	roles := model.Roles()
	found := make([]secrets, len(roles))
	err := base.Parallel(ctx, base.StepsFor(roles, func(ctx context.Context, n int, role model.Role) (err error) {
		key := o.layout.Credentials(role)
		if o.actual[key] != "" {
			found[n], err = o.readEnv(ctx, key)
		}
		return err
	})...)
	byRole := map[model.Role]secrets{}
	for n, role := range roles {
		byRole[role] = found[n]
	}
	return byRole, err
}

func (o *Objects) readEnv(ctx context.Context, key string) (map[string]string, error) {
	text, err := o.readObject(ctx, key)
	if err != nil {
		return nil, awswait.Ignore(err, awswait.IsNotFound)
	}
	vars, err := envfile.Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return vars, nil
}

// mergeCredentials returns each role's credentials: the configured ones, else
// the existing ones, else generated internal ones. A secret that roles share is
// the same in all of them, also if an earlier run wrote only some.
func mergeCredentials(roles []model.Role, existing, configured map[model.Role]secrets, rotate bool, random io.Reader) (map[model.Role]secrets, error) {
	merged := map[model.Role]secrets{}
	for _, role := range roles {
		merged[role] = maps.Clone(existing[role])
		if merged[role] == nil {
			merged[role] = secrets{}
		}
		maps.Copy(merged[role], configured[role])
	}
	for _, c := range model.InternalCredentials() {
		value := pick(c, configured)
		if value == "" && (!rotate || c.Permanent) {
			value = pick(c, existing)
		}
		if value == "" {
			var err error
			if value, err = generate(c.Kind, random); err != nil {
				return nil, fmt.Errorf("generate %s: %w", c.Name, err)
			}
		}
		for _, role := range c.Roles {
			if vars, used := merged[role]; used {
				vars[c.Name] = value
			}
		}
	}
	return merged, nil
}

// pick returns the value of a credential from the first of its roles that has it.
func pick(c model.Credential, from map[model.Role]secrets) string {
	for _, role := range c.Roles {
		if value := from[role][c.Name]; value != "" {
			return value
		}
	}
	return ""
}

func generate(kind model.CredentialKind, random io.Reader) (string, error) {
	key := make([]byte, 32)
	if _, err := io.ReadFull(random, key); err != nil {
		return "", err
	}
	switch kind {
	case model.SymmetricKey:
		return hex.EncodeToString(key), nil
	case model.WireGuardPrivate:
		// Clamped as wg genkey does (RFC 7748, section 5).
		key[0] &= 248
		key[31] = key[31]&127 | 64
		return base64.StdEncoding.EncodeToString(key), nil
	default:
		return base64.RawURLEncoding.EncodeToString(key), nil
	}
}

func wireGuardPublicKey(private string) (string, error) {
	bytes, err := base64.StdEncoding.DecodeString(private)
	if err != nil {
		return "", fmt.Errorf("%s is not base64", model.WireGuardPrivateKey)
	}
	key, err := ecdh.X25519().NewPrivateKey(bytes)
	if err != nil {
		return "", fmt.Errorf("%s is not an X25519 key of 32 bytes", model.WireGuardPrivateKey)
	}
	return base64.StdEncoding.EncodeToString(key.PublicKey().Bytes()), nil
}
