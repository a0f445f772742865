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
	"sync"
	"testing"
	"time"
)

// refused is how long a test waits for a connection that should be dropped. What is
// allowed answers in under a millisecond.
const refused = 300 * time.Millisecond

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

// open opens a network for a test, which is skipped where that can't be.
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

// serve answers on a port of a namespace with the address that it saw.
func serve(t *testing.T, path, address string) {
	t.Helper()
	var l net.Listener
	err := inNamespace(path, func() (err error) { l, err = net.Listen("tcp4", address); return err })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
				fmt.Fprintln(c, host)
				io.Copy(c, c) // until the other end closes, so that connections can be kept
				c.Close()
			}()
		}
	}()
}

// dial connects from a namespace and returns the address that the server saw.
func dial(path, address string) (c net.Conn, seen string, err error) {
	d := net.Dialer{Timeout: refused, FallbackDelay: -1}
	err = inNamespace(path, func() (err error) { c, err = d.Dial("tcp4", address); return err })
	if err != nil {
		return nil, "", err
	}
	b := make([]byte, 64)
	c.SetDeadline(time.Now().Add(5 * time.Second))
	k, err := c.Read(b)
	return c, strings.TrimSpace(string(b[:k])), err
}

func mustDial(t *testing.T, path, address, wantSeen string) net.Conn {
	t.Helper()
	c, seen, err := dial(path, address)
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
	if c, _, err := dial(path, address); err == nil {
		c.Close()
		t.Errorf("%s to %s: connected, want nothing to pass", path[strings.LastIndex(path, "/")+1:], address)
	}
}

func TestSecurityGroupsAllowExactlyTheirPorts(t *testing.T) {
	m := reference()
	n := open(t, m)
	ports := []string{"22", "80", "5432", "8000", "8001", "8002"}
	allowed := map[string]bool{
		"gateway edge 80": true, "app edge 80": true,
		"edge app 8000": true, "edge app 8001": true,
		"app db1 5432": true, "app db2 5432": true, "db1 db2 5432": true, "db2 db1 5432": true,
	}
	for _, to := range m.Machines {
		for _, p := range ports {
			serve(t, n.NamespacePath(to.ID), to.Address.String()+":"+p)
		}
	}
	var wg sync.WaitGroup
	for _, from := range m.Machines {
		for _, to := range m.Machines {
			for _, p := range ports {
				if from.ID == to.ID {
					continue
				}
				wg.Go(func() {
					c, _, err := dial(n.NamespacePath(from.ID), to.Address.String()+":"+p)
					if err == nil {
						c.Close()
					}
					if want := allowed[from.ID+" "+to.ID+" "+p]; want != (err == nil) {
						t.Errorf("%s to %s port %s: connected %v, want %v (%v)", from.ID, to.ID, p, err == nil, want, err)
					}
				})
			}
		}
	}
	wg.Wait()
}

func TestGroupChangeTakesEffectAndKeepsConnections(t *testing.T) {
	m := reference()
	n := open(t, m)
	serve(t, n.NamespacePath("app"), "10.0.2.10:8000")
	kept := mustDial(t, n.NamespacePath("edge"), "10.0.2.10:8000", "10.0.1.10")
	m.Groups[2].Ingress = nil
	apply(t, n, m)
	mustNotDial(t, n.NamespacePath("edge"), "10.0.2.10:8000")
	echo(t, kept, true)
	m.Machines[0].Groups = nil
	apply(t, n, m)
	m = reference()
	apply(t, n, m)
	mustDial(t, n.NamespacePath("edge"), "10.0.2.10:8000", "10.0.1.10")
}

// echo sends something through an open connection and says whether it came back.
func echo(t *testing.T, c net.Conn, want bool) {
	t.Helper()
	wait := 5 * time.Second
	if !want {
		wait = refused
	}
	c.SetDeadline(time.Now().Add(wait))
	c.Write([]byte("x"))
	if _, err := c.Read(make([]byte, 8)); (err == nil) != want {
		t.Errorf("answer on an open connection: %v, want one: %v", err, want)
	}
}

func TestPrivateSubnetReachesS3AndNothingElseOutside(t *testing.T) {
	n := open(t, reference())
	serve(t, n.path(Router), "198.18.0.3:443")
	serve(t, n.path(Router), "198.18.0.3:8080")
	serve(t, n.path(Router), "198.18.0.4:80")
	serve(t, n.path(Internet), "198.18.255.2:80")
	app := n.NamespacePath("app")
	mustDial(t, app, "198.18.0.3:443", "10.0.2.10")
	for _, a := range []string{"198.18.0.3:8080", "198.18.0.4:80", "198.18.255.2:80", "198.18.255.1:80", "54.1.2.3:80", "10.0.2.99:80", "10.0.3.1:80"} {
		mustNotDial(t, app, a)
	}
	// The database's group lets nothing out but to databases: not to S3 either.
	mustNotDial(t, n.NamespacePath("db1"), "198.18.0.3:443")
	edge := n.NamespacePath("edge")
	mustDial(t, edge, "198.18.0.3:443", "10.0.1.10")
	mustDial(t, edge, "198.18.0.4:80", "10.0.1.10")
	mustDial(t, edge, "198.18.255.2:80", "54.1.2.3")
}

func TestMetadataAndNamesAreForEveryMachineWhateverItsGroups(t *testing.T) {
	m := reference()
	m.Machines[4].Groups = nil
	n := open(t, m)
	serve(t, n.path(Router), "169.254.169.254:80")
	serve(t, n.path(Router), "169.254.169.253:53")
	for _, x := range m.Machines {
		mustDial(t, n.NamespacePath(x.ID), "169.254.169.254:80", x.Address.String())
		mustDial(t, n.NamespacePath(x.ID), "169.254.169.253:53", x.Address.String())
	}
	mustDial(t, n.path(Internet), "169.254.169.253:53", "198.18.255.2")
	mustNotDial(t, n.path(Internet), "169.254.169.254:80")
}

func TestInternetSideReachesElasticAddressesAndNothingPrivate(t *testing.T) {
	m := reference()
	n := open(t, m)
	for _, x := range m.Machines {
		serve(t, n.NamespacePath(x.ID), x.Address.String()+":80")
	}
	inet := n.path(Internet)
	held := mustDial(t, inet, "54.1.2.3:80", "198.18.255.2")
	mustNotDial(t, inet, "54.1.2.4:80") // the gateway's group allows nothing in
	mustNotDial(t, inet, "10.0.1.10:80")
	mustNotDial(t, inet, "10.0.2.10:80")
	mustNotDial(t, inet, "10.0.1.1:80")
	// The address moves to the gateway, which is also in the group now.
	m.Machines[0].PublicAddress, m.Machines[1].PublicAddress = netip.Addr{}, addr("54.1.2.3")
	m.Machines[1].Groups = []string{"web"}
	apply(t, n, m)
	echo(t, held, false)
	mustDial(t, inet, "54.1.2.3:80", "198.18.255.2")
	mustNotDial(t, n.NamespacePath("edge"), "198.18.255.2:80")
}

func TestSourceAndDestinationAreChecked(t *testing.T) {
	m := reference()
	n := open(t, m)
	// The application pretends to be a VPN client, then the gateway forwards one.
	run(t, n.NamespacePath("db1"), "ip", "addr", "add", "10.0.2.10/32", "dev", "lo")
	run(t, n.NamespacePath("gateway"), "ip", "addr", "add", "10.100.0.2/32", "dev", "lo")
	serve(t, n.NamespacePath("db2"), "10.0.2.31:5432")
	serve(t, n.NamespacePath("app"), "10.0.2.10:22")
	serve(t, n.NamespacePath("gateway"), "10.100.0.2:80")
	mustNotDialFrom(t, n.NamespacePath("db1"), "10.0.2.10", "10.0.2.31:5432")
	mustDialFrom(t, n.NamespacePath("gateway"), "10.100.0.2", "10.0.2.10:22")
	m.Groups[1].Ingress = []Rule{{Protocol: "tcp", FromPort: 80, ToPort: 80, Groups: []string{"app"}}}
	apply(t, n, m)
	mustDial(t, n.NamespacePath("app"), "10.100.0.2:80", "10.0.2.10")
	m.Machines[1].SourceDestCheck = true
	apply(t, n, m)
	mustNotDialFrom(t, n.NamespacePath("gateway"), "10.100.0.2", "10.0.2.10:22")
	mustNotDial(t, n.NamespacePath("app"), "10.100.0.2:80")
	m.Machines[1].SourceDestCheck = false
	m.Subnets[1].Routes = nil
	apply(t, n, m)
	mustNotDial(t, n.NamespacePath("app"), "10.100.0.2:80")
}

func run(t *testing.T, path string, args ...string) {
	t.Helper()
	if out, err := exec.Command("nsenter", append([]string{"--net=" + path}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
}

func dialFrom(path, source, address string) error {
	d := net.Dialer{Timeout: refused, FallbackDelay: -1, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
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
	if err := dialFrom(path, source, address); err != nil {
		t.Errorf("from %s to %s: %v", source, address, err)
	}
}

func mustNotDialFrom(t *testing.T, path, source, address string) {
	t.Helper()
	if dialFrom(path, source, address) == nil {
		t.Errorf("from %s to %s: connected, want it dropped", source, address)
	}
}

func TestPartitionCutsEstablishedConnectionsAndHeals(t *testing.T) {
	m := reference()
	n := open(t, m)
	serve(t, n.path(Router), "169.254.169.254:80")
	serve(t, n.NamespacePath("db2"), "10.0.2.31:5432")
	held := mustDial(t, n.NamespacePath("db1"), "10.0.2.31:5432", "10.0.2.30")
	m.Partitions = []Partition{{A: "db1", B: "db2"}}
	apply(t, n, m)
	echo(t, held, false)
	mustDial(t, n.NamespacePath("app"), "10.0.2.31:5432", "10.0.2.10")
	m.Partitions = []Partition{{A: "db2"}}
	apply(t, n, m)
	mustNotDial(t, n.NamespacePath("app"), "10.0.2.31:5432")
	mustNotDial(t, n.NamespacePath("db2"), "169.254.169.254:80")
	m.Partitions = nil
	apply(t, n, m)
	mustDial(t, n.NamespacePath("db1"), "10.0.2.31:5432", "10.0.2.30")
}

func TestSlowLinkLimitsBothDirections(t *testing.T) {
	m := reference()
	n := open(t, m)
	serve(t, n.NamespacePath("app"), "10.0.2.10:8000")
	send := func() time.Duration {
		c := mustDial(t, n.NamespacePath("edge"), "10.0.2.10:8000", "10.0.1.10")
		c.SetDeadline(time.Now().Add(20 * time.Second))
		start := time.Now()
		const size = 512 << 10
		go c.Write(make([]byte, size))
		if _, err := io.ReadFull(c, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		return time.Since(start)
	}
	fast := send()
	m.Machines[2].LinkBitsPerSecond = 4e6 // 512 KiB take 1 s, less the bucket's 64 KiB
	apply(t, n, m)
	if slow := send(); slow < 700*time.Millisecond {
		t.Errorf("512 KiB at 4 Mbit/s took %s", slow)
	}
	m.Machines[2].LinkBitsPerSecond = 0
	apply(t, n, m)
	if again := send(); again > 500*time.Millisecond {
		t.Errorf("512 KiB took %s after the fault was lifted, %s before", again, fast)
	}
}

func TestMachineOfTheSameAddressIsReplaced(t *testing.T) {
	m := reference()
	n := open(t, m)
	m.Machines[2].ID = "app-new"
	apply(t, n, m)
	if _, err := os.Stat(n.NamespacePath("app")); !os.IsNotExist(err) {
		t.Errorf("namespace of the replaced machine: %v, want it gone", err)
	}
	serve(t, n.NamespacePath("app-new"), "10.0.2.10:8000")
	mustDial(t, n.NamespacePath("edge"), "10.0.2.10:8000", "10.0.1.10")
}

func TestModelThatCannotBeIsRefused(t *testing.T) {
	for want, change := range map[string]func(*Model){
		"is taken by":     func(m *Model) { m.Machines[1].Address = m.Machines[0].Address },
		"named twice":     func(m *Model) { m.Machines[1].ID = "edge" },
		"not one for":     func(m *Model) { m.Machines[1].Address = addr("10.0.1.1") },
		"overlaps":        func(m *Model) { m.Subnets[0].CIDR = prefix("10.0.0.0/16") },
		"no group":        func(m *Model) { m.Machines[1].Groups = []string{"absent"} },
		"no subnet":       func(m *Model) { m.Machines[1].Subnet = "absent" },
		"bad protocol":    func(m *Model) { m.Groups[0].Ingress[0].Protocol = "tcp; drop" },
		"are no range":    func(m *Model) { m.Groups[0].Ingress[0].FromPort = 81 },
		"no such machine": func(m *Model) { m.Partitions = []Partition{{A: "absent"}} },
		"bad id":          func(m *Model) { m.Groups[0].ID = "x { }" },
	} {
		m := reference()
		change(&m)
		if err := m.validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

func TestHostNamespaceIsUntouchedAndNothingStays(t *testing.T) {
	before := hostNetwork(t)
	n := open(t, reference())
	if during := hostNetwork(t); during != before {
		t.Errorf("network of the host is\n%s\nwas\n%s", during, before)
	}
	out, err := n.Command(context.Background(), Internet, "cat", "/etc/resolv.conf").CombinedOutput()
	if err != nil || !strings.Contains(string(out), DNSAddress.String()) {
		t.Errorf("resolv.conf on the internet side: %v %s", err, out)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), n.dir) {
		t.Errorf("mounts were left behind:\n%s", mounts)
	}
	if after := hostNetwork(t); after != before {
		t.Errorf("network of the host is\n%s\nwas\n%s", after, before)
	}
}

// hostNetwork is the host's network as a thread of this process (netlink) and its
// main one (/proc) see it: the lab's must be neither's.
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
