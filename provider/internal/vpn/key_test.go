package vpn

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"os/exec"
	"strings"
	"testing"

	"github.com/xeroops/xeroops/internal/cluster"
)

// The key pair of Alice in RFC 7748 §6.1, which has the private key before
// clamping.
func TestKeyPairFollowsTheRFC(t *testing.T) {
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	pair, err := newKeyPair(bytes.NewReader(unhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")))
	if err != nil {
		t.Fatal(err)
	}
	want := base64.StdEncoding.EncodeToString(unhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"))
	if pair.public != want {
		t.Errorf("public key %s, want %s", pair.public, want)
	}
}

func TestWgPubkeyDerivesTheSamePublicKey(t *testing.T) {
	wg, err := exec.LookPath("wg")
	if err != nil {
		t.Skip("wg is not installed (Debian: wireguard-tools)")
	}
	pair, err := newKeyPair(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(wg, "pubkey")
	cmd.Stdin = strings.NewReader(pair.private)
	out, err := cmd.Output()
	if err != nil || strings.TrimSpace(string(out)) != pair.public {
		t.Errorf("wg pubkey: %q (%v), want %q", out, err, pair.public)
	}
}

func TestCheckKey(t *testing.T) {
	pair, err := newKeyPair(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkKey(pair.public); err != nil {
		t.Errorf("a public key is refused: %v", err)
	}
	for name, key := range map[string]string{
		"empty":           "",
		"not base64":      strings.Repeat("*", 44),
		"31 bytes":        base64.StdEncoding.EncodeToString(make([]byte, 31)),
		"all zeros":       base64.StdEncoding.EncodeToString(make([]byte, 32)),
		"a trailing line": pair.public + "\n",
		"loose last bits": pair.public[:42] + "B=",
	} {
		err := checkKey(key)
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if key != "" && strings.Contains(err.Error(), key) {
			t.Errorf("%s: the error shows the key", name)
		}
	}
}

func TestClientConfigHasNoPrivateKey(t *testing.T) {
	got := clientConfig(cluster.VPN{
		CIDR: "10.100.0.0/16", Endpoint: "203.0.113.7:51820", PublicKey: "GATEWAY", Routes: []string{"10.0.0.0/16"},
	}, "10.100.0.2")
	want := `[Interface]
PrivateKey = <private key>
Address = 10.100.0.2/32

[Peer]
PublicKey = GATEWAY
Endpoint = 203.0.113.7:51820
AllowedIPs = 10.100.0.0/16, 10.0.0.0/16
PersistentKeepalive = 25
`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestParseImportID(t *testing.T) {
	id, err := parseImportID(importID("production", "uploads-1", "laptop"))
	if err != nil || id.Cluster.ValueString() != "production" || id.UploadsBucket.ValueString() != "uploads-1" || id.Name.ValueString() != "laptop" {
		t.Errorf("got %v, %v", id, err)
	}
	for _, bad := range []string{"", "laptop", "a/b", "a/b/c/d", "a//c"} {
		if _, err := parseImportID(bad); err == nil {
			t.Errorf("%q: accepted", bad)
		}
	}
}
