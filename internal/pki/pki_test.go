package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
)

var (
	now = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	db1 = Identity{Cluster: "production", Node: "db1", Role: cluster.RoleDB, Services: []string{"database", "management"}, Address: netip.MustParseAddr("10.0.2.30")}
	lb1 = Identity{Cluster: "production", Node: "edge1", Role: cluster.RoleLoadBalancer, Address: netip.MustParseAddr("10.0.1.10")}
)

func newAuthority(t *testing.T, use Use) *Authority {
	t.Helper()
	a, err := NewAuthority("production", use, now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// issue returns a certificate as it is after having been stored in S3.
func issue(t *testing.T, a *Authority, id Identity) *Certificate {
	t.Helper()
	c, err := a.Issue(id, now)
	if err != nil {
		t.Fatal(err)
	}
	content, err := c.PEM()
	if err != nil {
		t.Fatal(err)
	}
	if c, err = ParseCertificate("node.pem", content); err != nil {
		t.Fatal(err)
	}
	return c
}

func bundle(t *testing.T, g Generations) Bundle {
	t.Helper()
	b, err := ParseBundle("ca.pem", g.Bundle())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// handshake connects client to server over TCP, verifying each other at a moment,
// and returns what the client and the server got. name is that by which the
// client knows the server.
func handshake(t *testing.T, at time.Time, server, client *Certificate, serverTrusts, clientTrusts Bundle, name string) (clientErr, serverErr error, peer *x509.Certificate) {
	t.Helper()
	clock := func() time.Time { return at }
	listener, err := tls.Listen("tcp4", "127.0.0.1:0", &tls.Config{Time: clock, Certificates: []tls.Certificate{server.TLS()},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: serverTrusts.Pool(), MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			done <- err
			return
		}
		defer conn.Close()
		_, err = conn.Write([]byte("hello"))
		if err == nil {
			peer = conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
		}
		done <- err
	}()
	conn, clientErr := tls.Dial("tcp4", listener.Addr().String(), &tls.Config{Time: clock,
		// An attacker sends a certificate whatever the server says that it takes.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { c := client.TLS(); return &c, nil },
		RootCAs:              clientTrusts.Pool(), ServerName: name, MinVersion: tls.VersionTLS12})
	if clientErr == nil {
		// With TLS 1.3 the server's word on the client's certificate comes after the handshake.
		_, clientErr = io.ReadFull(conn, make([]byte, 5))
		_ = conn.Close()
	}
	return clientErr, <-done, peer
}

func TestNodesVerifyEachOther(t *testing.T) {
	authority := newAuthority(t, Nodes)
	trust := bundle(t, Generations{authority})
	server, client := issue(t, authority, db1), issue(t, authority, lb1)
	for _, name := range []string{"db1", "db", "database", "management", "10.0.2.30"} {
		clientErr, serverErr, peer := handshake(t, now, server, client, trust, trust, name)
		if clientErr != nil || serverErr != nil {
			t.Fatalf("as %s: client: %v, server: %v", name, clientErr, serverErr)
		}
		// What HAProxy compares to tell an edge from other nodes.
		if peer.Subject.CommonName != "edge1" || !slices.Equal(peer.Subject.OrganizationalUnit, []string{"openresty-lb"}) {
			t.Errorf("the client is %s", peer.Subject)
		}
	}
	for _, name := range []string{"db2", "app1", "10.0.2.31"} {
		var wrongName x509.HostnameError
		if err, _, _ := handshake(t, now, server, client, trust, trust, name); !errors.As(err, &wrongName) {
			t.Errorf("as %s: %v", name, err)
		}
	}
}

func TestEtcdTrustsNoCertificateOfTheNodes(t *testing.T) {
	nodes, etcd := newAuthority(t, Nodes), newAuthority(t, Etcd)
	member, node := issue(t, etcd, db1), issue(t, nodes, db1)
	trust := bundle(t, Generations{etcd})
	if clientErr, serverErr, _ := handshake(t, now, member, member, trust, trust, "db1"); clientErr != nil || serverErr != nil {
		t.Fatalf("a member: %v, %v", clientErr, serverErr)
	}
	if _, err, _ := handshake(t, now, member, node, trust, trust, "db1"); !errors.As(err, new(x509.UnknownAuthorityError)) {
		t.Errorf("a node's certificate: %v", err)
	}
}

func TestCertificatesExpire(t *testing.T) {
	authority := newAuthority(t, Nodes)
	trust := bundle(t, Generations{authority})
	c := issue(t, authority, db1)
	for _, moment := range []struct {
		at    time.Time
		valid bool
	}{
		{now.Add(-clockSkew - time.Second), false},
		{now.Add(-clockSkew), true},
		{now.Add(CertificateLifetime), true},
		{now.Add(CertificateLifetime + time.Second), false},
	} {
		clientErr, serverErr, _ := handshake(t, moment.at, c, c, trust, trust, "db1")
		var invalid x509.CertificateInvalidError
		if moment.valid != (clientErr == nil && serverErr == nil) {
			t.Errorf("at %s: client: %v, server: %v", moment.at, clientErr, serverErr)
		}
		if !moment.valid && (!errors.As(clientErr, &invalid) || invalid.Reason != x509.Expired) {
			t.Errorf("at %s: %v", moment.at, clientErr)
		}
	}
}

func TestRenewalIsDueForAReason(t *testing.T) {
	authority, other := newAuthority(t, Nodes), newAuthority(t, Nodes)
	c := issue(t, authority, db1)
	half := now.Add((CertificateLifetime - clockSkew) / 2)
	for name, want := range map[string]struct {
		change func(id *Identity)
		issuer *Authority
		at     time.Time
		reason Reason
	}{
		"fresh":                   {issuer: authority, at: now},
		"services in other order": {change: func(id *Identity) { id.Services = []string{"management", "database"} }, issuer: authority, at: now},
		"half of its life":        {issuer: authority, at: half},
		"more than that":          {issuer: authority, at: half.Add(time.Second), reason: ReasonHalfLife},
		"another service":         {change: func(id *Identity) { id.Services = []string{"database"} }, issuer: authority, at: now, reason: ReasonIdentity},
		"another address":         {change: func(id *Identity) { id.Address = netip.MustParseAddr("10.0.2.31") }, issuer: authority, at: now, reason: ReasonIdentity},
		"another role":            {change: func(id *Identity) { id.Role = cluster.RoleApp }, issuer: authority, at: now, reason: ReasonIdentity},
		"another node":            {change: func(id *Identity) { id.Node = "db2" }, issuer: authority, at: now, reason: ReasonIdentity},
		"another cluster":         {change: func(id *Identity) { id.Cluster = "staging" }, issuer: authority, at: now, reason: ReasonIdentity},
		"another authority":       {issuer: other, at: now, reason: ReasonAuthority},
	} {
		id := db1
		if want.change != nil {
			want.change(&id)
		}
		if got := c.RenewalDue(id, want.issuer, want.at); got != want.reason {
			t.Errorf("%s: %q, want %q", name, got, want.reason)
		}
	}
}

func TestNoCertificateOutlivesItsAuthority(t *testing.T) {
	authority := newAuthority(t, Nodes)
	last := authority.Certificate.NotAfter.Add(-CertificateLifetime)
	if _, err := authority.Issue(db1, last); err != nil {
		t.Error(err)
	}
	if _, err := authority.Issue(db1, last.Add(time.Second)); err == nil || !strings.Contains(err.Error(), "replace the authority first") {
		t.Errorf("got %v", err)
	}
	// It is due long before.
	if authority.RenewalDue(now.Add(AuthorityLifetime/2)) || !authority.RenewalDue(last.Add(-2*CertificateLifetime)) {
		t.Error("an authority has to be replaced while it can still issue certificates, and not sooner than needed")
	}
}

func TestIncompleteIdentitiesGetNoCertificate(t *testing.T) {
	authority := newAuthority(t, Nodes)
	for _, id := range []Identity{{}, {Node: "db1", Role: cluster.RoleDB}, {Role: cluster.RoleDB, Address: db1.Address}, {Node: "db1", Address: db1.Address}} {
		if _, err := authority.Issue(id, now); err == nil {
			t.Errorf("%+v got one", id)
		}
	}
}

// TestRotationNeverBreaksAHandshake takes a cluster of two nodes through a
// rotation, one node and one object at a time.
func TestRotationNeverBreaksAHandshake(t *testing.T) {
	g := Generations{newAuthority(t, Nodes)}
	identities := map[string]Identity{"db1": db1, "edge1": lb1}
	names := []string{"db1", "edge1"}
	certificates, trusts := map[string]*Certificate{}, map[string]Bundle{}
	trusted := func() map[string][]string {
		all := map[string][]string{}
		for _, name := range names {
			all[name] = trusts[name].IDs()
		}
		return all
	}
	verify := func(step string) {
		t.Helper()
		for _, pair := range [][2]string{{"db1", "edge1"}, {"edge1", "db1"}} {
			clientErr, serverErr, _ := handshake(t, now, certificates[pair[0]], certificates[pair[1]], trusts[pair[0]], trusts[pair[1]], pair[0])
			if clientErr != nil || serverErr != nil {
				t.Fatalf("%s: %s to %s: client: %v, server: %v", step, pair[1], pair[0], clientErr, serverErr)
			}
		}
	}
	// apply is what the provider does at each apply; the nodes then follow.
	apply := func(step string) {
		t.Helper()
		stored, err := g.PEM()
		if err != nil {
			t.Fatal(err)
		}
		if g, err = ParseGenerations("nodes.pem", stored); err != nil { // another process goes on
			t.Fatal(err)
		}
		issuer := g.Issuer(trusted())
		for _, name := range names {
			if certificates[name] == nil || certificates[name].RenewalDue(identities[name], issuer, now) != "" {
				certificates[name] = issue(t, issuer, identities[name])
				if trusts[name] != nil {
					verify(step + ", " + name + " has its certificate")
				}
			}
		}
		for _, name := range names {
			trusts[name] = bundle(t, g)
			if trusts[names[len(names)-1]] != nil {
				verify(step + ", " + name + " has its bundle")
			}
		}
	}
	apply("before")
	apply("before")
	before := g.Newest().ID()

	next := newAuthority(t, Nodes)
	var err error
	if g, err = g.Add(next); err != nil {
		t.Fatal(err)
	}
	apply("both are trusted")
	if certificates["db1"].AuthorityID() != before {
		t.Error("the new generation issued before anybody trusted it")
	}
	if _, err := g.Add(newAuthority(t, Nodes)); !errors.Is(err, ErrRotating) {
		t.Errorf("a second rotation began: %v", err)
	}
	apply("the new one issues")
	for name, c := range certificates {
		if c.AuthorityID() != next.ID() {
			t.Errorf("the certificate of %s is of generation %s", name, c.AuthorityID())
		}
	}
	g = g.Retire()
	apply("the old one is retired")
	if ids := trusts["db1"].IDs(); !slices.Equal(ids, []string{next.ID()}) {
		t.Errorf("trusted are %v", ids)
	}
}

func TestOneNodeThatDoesNotTrustTheNewGenerationKeepsItFromIssuing(t *testing.T) {
	g := Generations{newAuthority(t, Nodes), newAuthority(t, Nodes)}
	both := bundle(t, g).IDs()
	for _, c := range []struct {
		trusted map[string][]string
		want    *Authority
	}{
		{nil, g[1]},
		{map[string][]string{"app1": both, "app2": both}, g[1]},
		{map[string][]string{"app1": both, "app2": both[:1]}, g[0]},
		{map[string][]string{"app1": both, "app2": nil}, g[0]},
	} {
		if got := g.Issuer(c.trusted); got != c.want {
			t.Errorf("with %v generation %s issues", c.trusted, got.ID())
		}
	}
}

func TestWhatIsNotOursIsRefusedByNameOfTheObject(t *testing.T) {
	authority, other := newAuthority(t, Nodes), newAuthority(t, Nodes)
	authorityPEM, err := Generations{authority}.PEM()
	if err != nil {
		t.Fatal(err)
	}
	node, err := issue(t, authority, db1).PEM()
	if err != nil {
		t.Fatal(err)
	}
	otherPEM, err := Generations{other}.PEM()
	if err != nil {
		t.Fatal(err)
	}
	split := func(content []byte) (certificate, key []byte) {
		block, rest := pem.Decode(content)
		return pem.EncodeToMemory(block), rest
	}
	certificate, key := split(authorityPEM)
	_, otherKey := split(otherPEM)
	nodeCertificate, _ := split(node)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	parse := map[string]func([]byte) error{
		"authority":   func(content []byte) error { _, err := ParseGenerations("the object", content); return err },
		"certificate": func(content []byte) error { _, err := ParseCertificate("the object", content); return err },
		"bundle":      func(content []byte) error { _, err := ParseBundle("the object", content); return err },
	}
	for name, content := range map[string][]byte{
		"authority":   authorityPEM,
		"certificate": node,
		"bundle":      certificate,
	} {
		if err := parse[name](content); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for what, bad := range map[string][]byte{
			"empty":         nil,
			"cut off":       content[:len(content)-10],
			"text before":   join([]byte("subject=db1\n"), content),
			"text after":    join(content, []byte("\n")),
			"no PEM":        []byte("{}"),
			"three of them": join(content, content, content),
		} {
			var objectErr *ObjectError
			if err := parse[name](bad); !errors.As(err, &objectErr) || objectErr.Object != "the object" {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
	for what, bad := range map[string][]byte{
		"authority: key first":            join(key, certificate),
		"authority: key of another":       join(certificate, otherKey),
		"authority: a node's certificate": node,
		"authority: without its key":      certificate,
		"certificate: an authority's":     authorityPEM,
		"certificate: two of them":        join(node, node),
		"certificate: with its issuer":    join(node, certificate),
		"bundle: with a key":              authorityPEM,
		"bundle: a node's certificate":    nodeCertificate,
	} {
		name, _, _ := strings.Cut(what, ":")
		if err := parse[name](bad); !errors.As(err, new(*ObjectError)) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestOpenSSLVerifiesCertificatesOfBothGenerations(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	write := func(name string, content []byte, err error) string {
		path := filepath.Join(dir, name)
		if err == nil {
			err = os.WriteFile(path, content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	// openssl's own clock is today's.
	now := time.Now()
	var g Generations
	for range maxGenerations {
		a, err := NewAuthority("production", Nodes, now)
		if err != nil {
			t.Fatal(err)
		}
		g = append(g, a)
	}
	trust := write("ca.pem", g.Bundle(), nil)
	newest := write("newest.pem", g.Retire().Bundle(), nil)
	verify := func(args ...string) error {
		out, err := exec.Command("openssl", append([]string{"verify", "-x509_strict", "-CAfile"}, args...)...).CombinedOutput()
		t.Logf("openssl verify %v: %s", args, out)
		return err
	}
	for n, a := range g {
		issued, err := a.Issue(db1, now)
		if err != nil {
			t.Fatal(err)
		}
		content, err := issued.PEM()
		leaf := write("db1.pem", content, err)
		for _, purpose := range []string{"sslserver", "sslclient"} {
			if err := verify(trust, "-purpose", purpose, "-verify_hostname", "management", "-verify_ip", "10.0.2.30", leaf); err != nil {
				t.Errorf("generation %d as %s: %v", n, purpose, err)
			}
		}
		if err := verify(trust, "-verify_hostname", "db2", leaf); err == nil {
			t.Errorf("generation %d verifies for another node", n)
		}
		if err := verify(newest, leaf); (err == nil) != (n == 1) {
			t.Errorf("generation %d after the old one was retired: %v", n, err)
		}
		if out, err := exec.Command("openssl", "pkey", "-in", leaf, "-noout", "-check").CombinedOutput(); err != nil {
			t.Errorf("openssl does not read the key: %s", out)
		}
	}
}

func TestErrorsHoldNoKey(t *testing.T) {
	content, err := issue(t, newAuthority(t, Nodes), db1).PEM()
	if err != nil {
		t.Fatal(err)
	}
	_, rest := pem.Decode(content)
	for line := range strings.Lines(string(rest)) {
		_, err := ParseCertificate("the object", bytes.Replace(content, []byte(line), nil, 1))
		if err == nil || strings.Contains(err.Error(), strings.TrimSpace(line)) && !strings.HasPrefix(line, "-----") {
			t.Errorf("without %q: %v", line, err)
		}
	}
}
