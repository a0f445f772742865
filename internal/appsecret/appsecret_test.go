package appsecret

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// testKey is 31 zero bytes and a one.
var testKey = strings.Repeat("0", 63) + "1"

func key(t *testing.T, service Service, text string, generation int) Key {
	t.Helper()
	k, err := ParseKey(service, text, generation)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func password(t *testing.T, k Key, application string) string {
	t.Helper()
	p, err := k.Password(application)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPasswordsAreThoseOfOpenSSL has the output of
//
//	printf 'xeroops application password 1\0SERVICE\0APPLICATION\0GENERATION' |
//		openssl dgst -sha256 -mac HMAC -macopt hexkey:KEY -binary | basenc --base64url | tr -d =
//
// A change of any of these locks every application of every cluster out.
func TestPasswordsAreThoseOfOpenSSL(t *testing.T) {
	for _, c := range []struct {
		service     Service
		application string
		generation  int
		want        string
	}{
		{Postgres, "notes", 1, "olHcfeYm9enN56D3doo3a5_RRj55ohEYk2Q69FHFtxQ"},
		{Postgres, "notes", 2, "FpOkf1t9b8OCN4stNlHC8VrtBSiPDdDaOP93iCp6nxw"},
		{Postgres, "order-book", 1, "rE4rhcLfdQ6J6XFQRojD01N1Q04jmL97vy16qW2wCvc"},
		{Redis, "notes", 1, "7uK3IK-g8oC_JZ8r1M_1qhcw-xBhdiHNrBC3oJv8C4g"},
		{Redis, "order-book", 2, "_-XcUPIgAdITMXr1PlnhXQKg7TaWpSd0mFElfln5Y7w"},
	} {
		if got := password(t, key(t, c.service, testKey, c.generation), c.application); got != c.want {
			t.Errorf("%s %s %d: %s, want %s", c.service, c.application, c.generation, got, c.want)
		}
	}
}

func TestNoTwoPasswordsAreTheSame(t *testing.T) {
	other := strings.Repeat("f", 64)
	seen := map[string]string{}
	for _, service := range []Service{Postgres, Redis} {
		for _, text := range []string{testKey, other} {
			for generation := 1; generation < 30; generation++ {
				for _, application := range []string{"a", "a1", "a-1", "a-1-1", "notes", "note", "s"} {
					what := fmt.Sprint(service, text[:1], generation, application)
					p := password(t, key(t, service, text, generation), application)
					if before, exists := seen[p]; exists {
						t.Fatalf("%s has the password of %s", what, before)
					}
					seen[p] = what
				}
			}
		}
	}
}

func TestWhatIsNoKeyOrNameIsRefused(t *testing.T) {
	for _, text := range []string{"", testKey[1:], testKey + "0", testKey + "00", strings.Repeat("g", 64), " " + testKey[1:]} {
		if k, err := ParseKey(Postgres, text, 1); err == nil || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v, %v", text, k, err)
		}
	}
	for _, generation := range []int{0, -1} {
		if _, err := ParseKey(Postgres, testKey, generation); err == nil {
			t.Errorf("generation %d was taken", generation)
		}
	}
	if _, err := ParseKey("mysql", testKey, 1); err == nil {
		t.Error("a key of an unknown service was taken")
	}
	k := key(t, Postgres, testKey, 1)
	for _, application := range []string{"", "Notes", "a\x00", "a b", "a--b", "-a", "a_b", strings.Repeat("a", 41)} {
		if p, err := k.Password(application); err == nil {
			t.Errorf("%q has the password %s", application, p)
		}
	}
	if p, err := (Key{}).Password("notes"); err == nil {
		t.Errorf("without a key, the password is %s", p)
	}
}

func TestKeysAreNotLogged(t *testing.T) {
	k := key(t, Redis, strings.Repeat("ab", 32), 3)
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(format, k); strings.Contains(text, "abab") || strings.Contains(text, "171") || !strings.Contains(text, "generation 3") {
			t.Errorf("%s: %s", format, text)
		}
	}
}

func TestNamesOfApplicationsDiffer(t *testing.T) {
	// PostgreSQL folds and quotes nothing of these, and truncates nothing.
	plain := regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
	seen := map[string]string{}
	for _, application := range []string{"notes", "notes-1", "notes-1-1", "notes1", "a-b", "ab", "login-a", "app-a", strings.Repeat("a", 40)} {
		names := []string{Database(application)}
		for _, generation := range []int{1, 2, 11, 1234567890} {
			names = append(names, LoginRole(application, generation))
		}
		for _, name := range names {
			if before, exists := seen[name]; exists || !plain.MatchString(name) {
				t.Errorf("%s is a name of %s, and of %q", name, application, before)
			}
			seen[name] = application
		}
		if strings.HasPrefix(RedisPrefix(application), RedisPrefix("notes")) != (application == "notes") {
			t.Errorf("%s could use the keys of notes", application)
		}
	}
}
