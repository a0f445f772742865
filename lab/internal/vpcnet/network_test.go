//go:build linux

package vpcnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestSecurityGroupsAllowExactlyTheirPorts(t *testing.T) {
	m := reference()
	n := open(t, m)
	ports := []string{"22", "80", "5432", "8000", "8001", "8002"}
	passes := map[string]bool{
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
					want, wait := passes[from.ID+" "+to.ID+" "+p], refused
					if want {
						wait = allowed
					}
					c, _, err := dial(n.NamespacePath(from.ID), to.Address.String()+":"+p, wait)
					if err == nil {
						c.Close()
					}
					if want != (err == nil) {
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
	// The database's group allows egress to databases only, which excludes S3.
	mustNotDial(t, n.NamespacePath("db1"), "198.18.0.3:443")
	edge := n.NamespacePath("edge")
	mustDial(t, edge, "198.18.0.3:443", "10.0.1.10")
	mustDial(t, edge, "198.18.0.4:80", "10.0.1.10")
	mustDial(t, edge, "198.18.255.2:80", "54.1.2.3")
}

func TestMetadataAndDNSAreExemptFromSecurityGroups(t *testing.T) {
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
	mustNotDial(t, inet, "54.1.2.4:80") // the gateway's group has no ingress rules
	mustNotDial(t, inet, "10.0.1.10:80")
	mustNotDial(t, inet, "10.0.2.10:80")
	mustNotDial(t, inet, "10.0.1.1:80")
	// Move the address to the gateway, and the gateway into the group.
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
	// db1 spoofs the application's address; the gateway forwards for a VPN client.
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

func TestPartitionDropsEstablishedConnectionsUntilHealed(t *testing.T) {
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
	m.Partitions = []Partition{{A: "db2", CIDR: prefix("10.0.2.0/28")}} // app is in it, db1 isn't
	apply(t, n, m)
	mustNotDial(t, n.NamespacePath("app"), "10.0.2.31:5432")
	mustDial(t, n.NamespacePath("db1"), "10.0.2.31:5432", "10.0.2.30")
	mustDial(t, n.NamespacePath("db2"), "169.254.169.254:80", "10.0.2.31")
	m.Partitions = nil
	apply(t, n, m)
	mustDial(t, n.NamespacePath("app"), "10.0.2.31:5432", "10.0.2.10")
}

// TestPowerCycleLeavesPeersWithHalfOpenConnections checks that a peer of a machine
// that loses power sees neither FIN nor RST until the machine is on again.
func TestPowerCycleLeavesPeersWithHalfOpenConnections(t *testing.T) {
	m := reference()
	n := open(t, m)
	l := listen(t, n.NamespacePath("db2"), "10.0.2.31:5432")
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			fmt.Fprintln(c, "hello")
			accepted <- c
		}
	}()
	client, _, err := dial(n.NamespacePath("db1"), "10.0.2.31:5432", allowed)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	m.Machines[4].LinkDown = true
	apply(t, n, m)
	(<-accepted).Close() // as the kernel does when the machine's processes are killed
	l.Close()
	isSilent := func() {
		t.Helper()
		_ = client.SetDeadline(time.Now().Add(refused))
		if _, err := client.Read(make([]byte, 8)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read from a machine without power: %v, want a timeout", err)
		}
	}
	isSilent()
	if _, _, err := dial(n.NamespacePath("app"), "10.0.2.31:5432", refused); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("connect to a machine without power: %v, want a timeout", err)
	}
	m.Machines[4].Incarnation = 1
	apply(t, n, m)
	m.Machines[4].LinkDown = false
	apply(t, n, m)
	isSilent()
	_ = client.SetDeadline(time.Now().Add(allowed))
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(make([]byte, 8)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read after the machine is on again: %v, want a reset", err)
	}
}

func TestSlowLinkLimitsBothDirections(t *testing.T) {
	m := reference()
	n := open(t, m)
	serve(t, n.NamespacePath("app"), "10.0.2.10:8000")
	send := func() time.Duration {
		c := mustDial(t, n.NamespacePath("edge"), "10.0.2.10:8000", "10.0.1.10")
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		start := time.Now()
		const size = 512 << 10
		go func() { _, _ = c.Write(make([]byte, size)) }()
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
	deadline := time.Now().Add(allowed)
	for again := send(); again > 700*time.Millisecond; again = send() {
		if time.Now().After(deadline) {
			t.Fatalf("512 KiB took %s after the fault was lifted, %s before", again, fast)
		}
	}
}

func TestRulesWithoutEffectAreAccepted(t *testing.T) {
	m := reference()
	m.Groups[0].Ingress = append(m.Groups[0].Ingress,
		Rule{Protocol: "tcp", FromPort: 1, ToPort: 2, Groups: []string{"sg-deleted"}},
		Rule{Protocol: "icmpv6", CIDRs: anywhere()}, Rule{Protocol: "50", CIDRs: anywhere()},
		Rule{Protocol: "tcp", FromPort: 0, ToPort: 65535, CIDRs: []netip.Prefix{prefix("10.9.0.0/16"), prefix("10.9.1.0/24")}})
	n := open(t, m)
	serve(t, n.NamespacePath("edge"), "10.0.1.10:80")
	mustDial(t, n.NamespacePath("app"), "10.0.1.10:80", "10.0.2.10")
}

func TestPortZeroIsNotAllPorts(t *testing.T) {
	m := reference()
	m.Groups[0].Ingress = []Rule{{Protocol: "tcp", CIDRs: anywhere()}}
	n := open(t, m)
	serve(t, n.NamespacePath("edge"), "10.0.1.10:80")
	mustNotDial(t, n.NamespacePath("app"), "10.0.1.10:80")
}

func TestMachineTakesOverAnAddress(t *testing.T) {
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

func TestValidateNamesWhatIsInvalid(t *testing.T) {
	for want, change := range map[string]func(*Model){
		"is taken by":     func(m *Model) { m.Machines[1].Address = m.Machines[0].Address },
		"duplicate id":    func(m *Model) { m.Machines[1].ID = "edge" },
		"is reserved":     func(m *Model) { m.Machines[1].Address = addr("10.0.1.1") },
		"overlaps":        func(m *Model) { m.Subnets[0].CIDR = prefix("10.0.0.0/16") },
		"no group":        func(m *Model) { m.Machines[1].Groups = []string{"absent"} },
		"no subnet":       func(m *Model) { m.Machines[1].Subnet = "absent" },
		"bad protocol":    func(m *Model) { m.Groups[0].Ingress[0].Protocol = "tcp; drop" },
		"bad port range":  func(m *Model) { m.Groups[0].Ingress[0].FromPort = 81 },
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

func TestValidLeavesOutInvalidParts(t *testing.T) {
	m := reference()
	m.Subnets = append(m.Subnets, Subnet{ID: "again", CIDR: m.Subnets[0].CIDR})
	m.Machines = append(m.Machines, Machine{ID: "late", Subnet: "again", Address: addr("10.0.1.99")})
	valid, invalid := m.Valid()
	if err := valid.validate(); err != nil {
		t.Error(err)
	}
	if want := reference(); len(valid.Machines) != len(want.Machines) || len(valid.Subnets) != len(want.Subnets) || len(valid.Groups) != len(want.Groups) {
		t.Errorf("got %d machines, %d subnets and %d groups", len(valid.Machines), len(valid.Subnets), len(valid.Groups))
	}
	for _, id := range []string{"again", "late"} {
		if err := invalid[id]; err == nil || !strings.Contains(err.Error(), "overlaps") {
			t.Errorf("%s: got error %v, want one about the overlap", id, err)
		}
	}
}

func TestHostNamespaceIsUntouchedAndNothingIsLeft(t *testing.T) {
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
