package dbroles

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/text/secure/precis"
)

// iterations is PostgreSQL's default of scram_iterations.
const iterations = 4096

// newSecret returns the SCRAM secret that PostgreSQL stores of a password, in the format
// of pg_authid.rolpassword (RFC 5803, manual 53.8). The password
// itself is never sent to the server, and so does not appear in its log.
func newSecret(password string) (string, error) {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	return scram(password, salt, iterations)
}

// matches reports whether a secret is that of a password.
func matches(secret, password string) bool {
	parameters, found := strings.CutPrefix(secret, "SCRAM-SHA-256$")
	count, rest, hasCount := strings.Cut(parameters, ":")
	salt64, _, hasSalt := strings.Cut(rest, "$")
	n, err := strconv.Atoi(count)
	if !found || !hasCount || !hasSalt || err != nil || n < 1 {
		return false
	}
	salt, err := base64.StdEncoding.DecodeString(salt64)
	if err != nil {
		return false
	}
	expected, err := scram(password, salt, n)
	return err == nil && hmac.Equal([]byte(expected), []byte(secret))
}

func scram(password string, salt []byte, iterations int) (string, error) {
	// PostgreSQL, too, uses a password unchanged if it cannot be normalized.
	if normal, err := precis.OpaqueString.String(password); err == nil {
		password = normal
	}
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return "", err
	}
	stored := sha256.Sum256(sign(salted, "Client Key"))
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, b64(salt), b64(stored[:]), b64(sign(salted, "Server Key"))), nil
}

func sign(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
