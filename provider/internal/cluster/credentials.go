package cluster

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/xeroops/xeroops/internal/awswait"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/envfile"
	"github.com/xeroops/xeroops/provider/internal/base"
)

type secrets = map[string]string

// wantedCredentials returns the credentials objects to write, by key. There are
// none if every role has its own and no new version is asked for: then nobody
// reads a secret either.
func (w *work) wantedCredentials(ctx context.Context) (map[string]string, error) {
	if !w.credentialsMissing() && !w.rewriteCredentials && !w.rotateInternal {
		return nil, nil
	}
	existing, err := w.readCredentials(ctx)
	if err != nil {
		return nil, err
	}
	kept := existing
	if w.rewriteCredentials {
		kept = internalOnly(existing)
	}
	merged, err := mergeCredentials(w.spec.roles(), kept, w.given, w.rotateInternal, rand.Reader)
	if err != nil {
		return nil, err
	}
	if private := merged[model.RoleWireGuard][model.WireGuardPrivateKey]; private != "" {
		if w.vpnPublicKey, err = wireGuardPublicKey(private); err != nil {
			return nil, err
		}
	}
	objects := map[string]string{}
	for role, vars := range merged {
		text, err := envfile.Format(vars)
		if err != nil {
			return nil, fmt.Errorf("credentials of role %s: %w", role, err)
		}
		if !maps.Equal(vars, existing[role]) {
			objects[w.layout().Credentials(role)] = text
		}
	}
	return objects, nil
}

// internalOnly leaves out what the customer gave, so that a secret that is not
// given any more goes.
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

func (w *work) credentialsMissing() bool {
	for _, role := range w.spec.roles() {
		if w.seen.objects[w.layout().Credentials(role)] == "" {
			return true
		}
	}
	// The public key is not known after an import, or when a state got lost.
	return w.vpnPublicKey == "" && len(w.spec.nodesOf(model.RoleWireGuard)) > 0
}

// readCredentials reads what is in S3: of all roles, since roles share secrets.
func (w *work) readCredentials(ctx context.Context) (map[model.Role]secrets, error) {
	roles := model.Roles()
	found := make([]secrets, len(roles))
	err := base.Parallel(ctx, stepsFor(roles, func(ctx context.Context, n int, role model.Role) (err error) {
		key := w.layout().Credentials(role)
		if w.seen.objects[key] != "" {
			found[n], err = w.readEnv(ctx, key)
		}
		return err
	})...)
	byRole := map[model.Role]secrets{}
	for n, role := range roles {
		byRole[role] = found[n]
	}
	return byRole, err
}

func (w *work) readEnv(ctx context.Context, key string) (vars map[string]string, err error) {
	out, err := w.Client.S3.GetObject(ctx, &s3.GetObjectInput{Bucket: &w.spec.Buckets.Uploads, Key: &key})
	if err != nil {
		return nil, awswait.Ignore(err, awswait.IsNotFound)
	}
	defer func() { err = errors.Join(err, out.Body.Close()) }()
	text, err := io.ReadAll(out.Body)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	vars, err = envfile.Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return vars, nil
}

// mergeCredentials returns each role's credentials: what the customer gives,
// else what is there, else a new internal one. A secret that several roles
// share is the same in all of them, also when an earlier run wrote only some.
func mergeCredentials(roles []model.Role, existing, given map[model.Role]secrets, rotate bool, random io.Reader) (map[model.Role]secrets, error) {
	merged := map[model.Role]secrets{}
	for _, role := range roles {
		merged[role] = maps.Clone(existing[role])
		if merged[role] == nil {
			merged[role] = secrets{}
		}
		maps.Copy(merged[role], given[role])
	}
	for _, c := range model.InternalCredentials() {
		value := pick(c, given)
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

// pick returns the credential from the first of its roles that has it.
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
		return "", fmt.Errorf("%s is no X25519 key of 32 bytes", model.WireGuardPrivateKey)
	}
	return base64.StdEncoding.EncodeToString(key.PublicKey().Bytes()), nil
}
