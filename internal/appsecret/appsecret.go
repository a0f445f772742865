// Package appsecret derives the credentials of applications. Each application has
// a database and a Redis user of its own, whose passwords app nodes and the
// servers compute from a key that both hold, so that a deployment distributes no
// secret. There is a key per server: management can compute no password of
// PostgreSQL, and a db node none of Redis.
package appsecret

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/xeroops/xeroops/internal/bundle"
)

// Service is a server that applications log in to.
type Service string

// The services, each with a key of its own.
const (
	Postgres Service = "postgres"
	Redis    Service = "redis"
)

const keyBytes = sha256.Size

// Key is the key of a service, from which the passwords of all applications are
// derived. The zero value has no key: Password returns an error.
type Key struct {
	service    Service
	secret     [keyBytes]byte
	generation int
}

// ParseKey parses a key as credentials hold it: 32 bytes, hexadecimal. generation
// counts the rotations of the key, from 1.
func ParseKey(service Service, text string, generation int) (Key, error) {
	k := Key{service: service, generation: generation}
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != keyBytes {
		return Key{}, fmt.Errorf("read the key of the applications' %s passwords: want %d bytes, hexadecimal", service, keyBytes)
	}
	if generation < 1 || (service != Postgres && service != Redis) {
		return Key{}, fmt.Errorf("read the key of the applications' %s passwords: generation %d is invalid; use 1 or more", service, generation)
	}
	copy(k.secret[:], raw)
	return k, nil
}

// Generation returns the key's generation: 1, and one more with each rotation.
func (k Key) Generation() int { return k.generation }

// label separates these passwords from whatever else a key could be used for.
const label = "xeroops application password 1"

// Password returns an application's password: 43 characters of base64url, which
// need no quoting in URLs, env files and Redis's ACL file. It is the HMAC-SHA256 of
// label, service, application and generation, separated by NUL.
func (k Key) Password(application string) (string, error) {
	if err := bundle.CheckName(application); err != nil {
		return "", err
	}
	if k.generation == 0 {
		return "", fmt.Errorf("derive the password of application %s: there is no key", application)
	}
	mac := hmac.New(sha256.New, k.secret[:])
	mac.Write([]byte(strings.Join([]string{label, string(k.service), application, strconv.Itoa(k.generation)}, "\x00")))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), nil
}

// String hides the key from logs.
func (k Key) String() string { return fmt.Sprintf("key of %s, generation %d", k.service, k.generation) }

// GoString hides the key from %#v.
func (k Key) GoString() string { return k.String() }

// Names of an application in PostgreSQL. Names of applications have single hyphens
// and no underscores, so those of two applications differ; none needs quoting.
// PostgreSQL takes 63 bytes, and these have at most 60.

// Database returns the name of the application's database, and of the role that
// owns all that is in it. Nobody logs in as the owner.
func Database(application string) string { return "app_" + identifier(application) }

// LoginRole returns the role that the application logs in as with the password of one
// generation of the key. It is a member of the owner. PostgreSQL has one password per
// role, so a role per generation lets both passwords work during a rotation.
func LoginRole(application string, generation int) string {
	return "login_" + identifier(application) + "_" + strconv.Itoa(generation)
}

func identifier(application string) string { return strings.ReplaceAll(application, "-", "_") }

// RedisUser returns the application's user in Redis. A Redis user can have several
// passwords, so it has those of both generations.
func RedisUser(application string) string { return "app-" + application }

// RedisPrefix returns the prefix of the application's keys and channels.
func RedisPrefix(application string) string { return "app:" + application + ":" }
