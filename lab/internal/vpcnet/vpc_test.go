//go:build linux

package vpcnet

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// refused is how long a test waits to see that packets are dropped. Allowed ones are
// answered in under a millisecond on an idle host; allowed is their deadline.
const (
	refused = 300 * time.Millisecond
	allowed = 30 * time.Second
)

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func anywhere() []netip.Prefix { return []netip.Prefix{prefix("0.0.0.0/0")} }

func allowAll() []Rule { return []Rule{{CIDRs: anywhere()}} }

// reference is a small VPC: an edge and a gateway in public, an application and
// two databases in private.
func reference() Model {
	vpn := []Route{{CIDR: prefix("10.100.0.0/16"), Machine: "gateway"}}
	return Model{
		Subnets: []Subnet{
			{ID: "public", CIDR: prefix("10.0.1.0/24"), Internet: true, Routes: vpn},
			{ID: "private", CIDR: prefix("10.0.2.0/24"), S3Endpoint: true, Routes: vpn},
		},
		Machines: []Machine{
			{ID: "edge", Subnet: "public", Address: addr("10.0.1.10"), PublicAddress: addr("54.1.2.3"), Groups: []string{"web"}, SourceDestCheck: true},
			{ID: "gateway", Subnet: "public", Address: addr("10.0.1.11"), PublicAddress: addr("54.1.2.4"), Groups: []string{"gateway"}},
			{ID: "app", Subnet: "private", Address: addr("10.0.2.10"), Groups: []string{"app"}, SourceDestCheck: true},
			{ID: "db1", Subnet: "private", Address: addr("10.0.2.30"), Groups: []string{"db"}, SourceDestCheck: true},
			{ID: "db2", Subnet: "private", Address: addr("10.0.2.31"), Groups: []string{"db"}, SourceDestCheck: true},
		},
		Groups: []Group{
			{ID: "web", Egress: allowAll(), Ingress: []Rule{{Protocol: "tcp", FromPort: 80, ToPort: 80, CIDRs: anywhere()}}},
			{ID: "gateway", Egress: allowAll()},
			{ID: "app", Egress: allowAll(), Ingress: []Rule{
				{Protocol: "tcp", FromPort: 8000, ToPort: 8001, Groups: []string{"web"}},
				{Protocol: "tcp", FromPort: 22, ToPort: 22, CIDRs: []netip.Prefix{prefix("10.100.0.0/16")}}}},
			{ID: "db", Egress: []Rule{{Groups: []string{"db"}}}, Ingress: []Rule{
				{Protocol: "tcp", FromPort: 5432, ToPort: 5432, Groups: []string{"app", "db"}}}},
		},
	}
}

// open opens a network with model m, or skips the test if the host can't.
func open(t *testing.T, m Model) *Network {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("nft is not on PATH; install Debian's package nftables")
	}
	n, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	apply(t, n, m)
	return n
}

func apply(t *testing.T, n *Network, m Model) {
	t.Helper()
	if err := n.Apply(context.Background(), m); err != nil {
		t.Fatal(err)
	}
}

// listen listens in the namespace at path.
func listen(t *testing.T, path, address string) (l net.Listener) {
	t.Helper()
	err := inNamespace(path, func() (err error) { l, err = net.Listen("tcp4", address); return err })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// serve listens in the namespace at path, sends each client the address that it is
// seen as, and echoes what it sends.
func serve(t *testing.T, path, address string) {
	t.Helper()
	l := listen(t, path, address)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
				fmt.Fprintln(c, host)
				_, _ = io.Copy(c, c) // keeps the connection open until the client closes it
				c.Close()
			}()
		}
	}()
}

// dial connects from a namespace to a server of serve and returns the address that
// the server saw.
func dial(path, address string, wait time.Duration) (c net.Conn, seen string, err error) {
	d := net.Dialer{Timeout: wait, FallbackDelay: -1}
	err = inNamespace(path, func() (err error) { c, err = d.Dial("tcp4", address); return err })
	if err != nil {
		return nil, "", err
	}
	b := make([]byte, 64)
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	k, err := c.Read(b)
	return c, strings.TrimSpace(string(b[:k])), err
}

func mustDial(t *testing.T, path, address, wantSeen string) net.Conn {
	t.Helper()
	c, seen, err := dial(path, address, allowed)
	if err != nil {
		t.Errorf("%s to %s: %v", path[strings.LastIndex(path, "/")+1:], address, err)
		return nil
	}
	if seen != wantSeen {
		t.Errorf("%s to %s: seen as %s, want %s", path, address, seen, wantSeen)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func mustNotDial(t *testing.T, path, address string) {
	t.Helper()
	if c, _, err := dial(path, address, refused); err == nil {
		c.Close()
		t.Errorf("%s to %s: connected, want nothing to pass", path[strings.LastIndex(path, "/")+1:], address)
	}
}

func run(t *testing.T, path string, args ...string) {
	t.Helper()
	if out, err := exec.Command("nsenter", append([]string{"--net=" + path}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
}

func dialFrom(path, source, address string, wait time.Duration) error {
	d := net.Dialer{Timeout: wait, FallbackDelay: -1, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	return inNamespace(path, func() error {
		c, err := d.Dial("tcp4", address)
		if err == nil {
			c.Close()
		}
		return err
	})
}

func mustDialFrom(t *testing.T, path, source, address string) {
	t.Helper()
	if err := dialFrom(path, source, address, allowed); err != nil {
		t.Errorf("from %s to %s: %v", source, address, err)
	}
}

func mustNotDialFrom(t *testing.T, path, source, address string) {
	t.Helper()
	if dialFrom(path, source, address, refused) == nil {
		t.Errorf("from %s to %s: connected, want it dropped", source, address)
	}
}

// echo sends a byte on an open connection and checks whether it comes back.
func echo(t *testing.T, c net.Conn, want bool) {
	t.Helper()
	wait := allowed
	if !want {
		wait = refused
	}
	_ = c.SetDeadline(time.Now().Add(wait))
	_, _ = c.Write([]byte("x"))
	if _, err := c.Read(make([]byte, 8)); (err == nil) != want {
		t.Errorf("answer on an open connection: %v, want one: %v", err, want)
	}
}

// hostNetwork describes the host's network as seen by a thread of this process
// (netlink) and by its main thread (/proc): the lab must change neither.
func hostNetwork(t *testing.T) string {
	t.Helper()
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, l := range links {
		a, _ := l.Addrs()
		fmt.Fprintln(&out, l.Name, a)
	}
	routes, err := os.ReadFile("/proc/net/route")
	if err != nil {
		t.Fatal(err)
	}
	out.Write(routes)
	return out.String()
}
