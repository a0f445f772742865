package imds

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

type service struct {
	t     *testing.T
	url   string
	clock time.Time
	*Issuer
}

// serve starts a metadata service for one instance, which has address 127.0.0.1.
func serve(t *testing.T, instance Instance) *service {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := &service{t: t, url: "http://" + l.Addr().String(), clock: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	now := func() time.Time { return s.clock }
	s.Issuer = NewIssuer(now)
	lookup := func(a netip.Addr) (Instance, bool) { return instance, a == netip.MustParseAddr("127.0.0.1") }
	go func() { _ = New(lookup, s.Issuer, now).Serve(l) }() // ends with the listener
	return s
}

func (s *service) do(method, path string, headers ...string) (int, string) {
	s.t.Helper()
	r, err := http.NewRequest(method, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func (s *service) get(path string) string {
	s.t.Helper()
	_, token := s.do("PUT", "/latest/api/token", tokenTTLHeader, "60")
	status, body := s.do("GET", path, tokenHeader, token)
	if status != 200 {
		s.t.Errorf("GET %s: status %d: %s", path, status, body)
	}
	return body
}

func example() Instance {
	return Instance{
		ID: "i-0123456789abcdef0", ImageID: "ami-1", Type: "t3.small", Architecture: "x86_64", AccountID: "123456789012",
		Region: "eu-west-1", AvailabilityZone: "eu-west-1a", PrivateAddress: netip.MustParseAddr("10.0.2.30"),
		MAC: "02:00:0a:00:02:1e", KeyName: "ops", PublicKey: "ssh-ed25519 AAAA ops", UserData: []byte("#cloud-config\n"),
		ProfileARN: "arn:aws:iam::123456789012:instance-profile/db", RoleARN: "arn:aws:iam::123456789012:role/path/production-db",
		SecurityGroups: map[string]string{"sg-2": "b", "sg-1": "a"}, Devices: map[string]string{"vol-1": "/dev/xvdf"},
		Options: Options{TokenRequired: true, TokenHopLimit: 1, CredentialLife: 6 * time.Hour},
	}
}

func TestTokenIsRequiredAndExpires(t *testing.T) {
	s := serve(t, example())
	if status, _ := s.do("GET", "/latest/meta-data/instance-id"); status != 401 {
		t.Errorf("without a token: status %d, want 401", status)
	}
	_, token := s.do("PUT", "/latest/api/token", tokenTTLHeader, "60")
	if status, body := s.do("GET", "/latest/meta-data/instance-id", tokenHeader, token); status != 200 || body != "i-0123456789abcdef0" {
		t.Errorf("with a token: %d %q", status, body)
	}
	s.clock = s.clock.Add(61 * time.Second)
	if status, _ := s.do("GET", "/latest/meta-data/instance-id", tokenHeader, token); status != 401 {
		t.Errorf("with an expired token: status %d, want 401", status)
	}
}

func TestInvalidTokenRequestsAreRejected(t *testing.T) {
	s := serve(t, example())
	for _, c := range []struct {
		headers []string
		status  int
	}{
		{nil, 400},
		{[]string{tokenTTLHeader, "0"}, 400},
		{[]string{tokenTTLHeader, "21601"}, 400},
		{[]string{tokenTTLHeader, "60", "X-Forwarded-For", "10.0.2.31"}, 403},
	} {
		if status, _ := s.do("PUT", "/latest/api/token", c.headers...); status != c.status {
			t.Errorf("PUT token with %v: status %d, want %d", c.headers, status, c.status)
		}
	}
}

func TestMetadataOptionsAreHonored(t *testing.T) {
	optional := example()
	optional.Options.TokenRequired = false
	if status, _ := serve(t, optional).do("GET", "/latest/meta-data/instance-id"); status != 200 {
		t.Errorf("IMDSv1 where tokens are optional: status %d, want 200", status)
	}
	disabled := example()
	disabled.Options.Disabled = true
	if status, _ := serve(t, disabled).do("PUT", "/latest/api/token", tokenTTLHeader, "60"); status != 403 {
		t.Errorf("disabled endpoint: status %d, want 403", status)
	}
}

func TestPaths(t *testing.T) {
	s := serve(t, example())
	for path, want := range map[string]string{
		"/latest/user-data":                           "#cloud-config\n",
		"/2021-03-23/meta-data/local-ipv4":            "10.0.2.30",
		"/latest/meta-data/hostname":                  "ip-10-0-2-30.eu-west-1.compute.internal",
		"/latest/meta-data/public-keys/":              "0=ops",
		"/latest/meta-data/public-keys/0/openssh-key": "ssh-ed25519 AAAA ops",
		"/latest/meta-data/security-groups":           "a\nb",
		"/latest/meta-data/iam/security-credentials/": "production-db",
		"/latest/meta-data/block-device-mapping/":     "ami\nebs1\nroot",
		"/latest/meta-data/network/interfaces/macs/":  "02:00:0a:00:02:1e/",
		"/latest/":                     "dynamic\nmeta-data\nuser-data",
		"/latest/meta-data/placement/": "availability-zone\nregion",
		"/latest/meta-data/network/interfaces/macs/02:00:0a:00:02:1e/device-number": "0",
	} {
		got := s.get(path)
		if path == "/latest/" {
			got = strings.ReplaceAll(got, "/", "")
		}
		if got != want {
			t.Errorf("GET %s: %q, want %q", path, got, want)
		}
	}
	_, token := s.do("PUT", "/latest/api/token", tokenTTLHeader, "60")
	if status, _ := s.do("GET", "/latest/meta-data/public-ipv4", tokenHeader, token); status != 404 {
		t.Errorf("public-ipv4 of an instance without one: status %d, want 404", status)
	}
	var document map[string]any
	if err := json.Unmarshal([]byte(s.get("/latest/dynamic/instance-identity/document")), &document); err != nil {
		t.Fatal(err)
	}
	if document["instanceId"] != "i-0123456789abcdef0" || document["region"] != "eu-west-1" || document["privateIp"] != "10.0.2.30" {
		t.Errorf("identity document: %v", document)
	}
}

func TestCredentialsAreRenewedShortlyBeforeExpiry(t *testing.T) {
	s := serve(t, example())
	read := func() map[string]string {
		var c map[string]string
		if err := json.Unmarshal([]byte(s.get("/latest/meta-data/iam/security-credentials/production-db")), &c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := read()
	s.clock = s.clock.Add(5 * time.Hour)
	if again := read(); again["AccessKeyId"] != first["AccessKeyId"] {
		t.Error("credentials changed an hour before their expiry")
	}
	s.clock = s.clock.Add(56 * time.Minute)
	second := read()
	if second["AccessKeyId"] == first["AccessKeyId"] {
		t.Error("credentials were not renewed four minutes before their expiry")
	}
	if c, ok := s.Lookup(first["AccessKeyId"]); !ok || c.RoleARN != example().RoleARN || c.SessionToken != first["Token"] {
		t.Errorf("lookup of the first credentials: %v", c)
	}
}

func TestInstancesOfOneRoleHaveTheirOwnCredentials(t *testing.T) {
	issuer := NewIssuer(time.Now)
	if issuer.Issue("i-1", "role", time.Hour) == issuer.Issue("i-2", "role", time.Hour) {
		t.Error("two instances share credentials")
	}
}
