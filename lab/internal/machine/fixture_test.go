//go:build linux

package machine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xeroops/xeroops/lab/internal/baseimage"
	"github.com/xeroops/xeroops/lab/internal/imds"
	"github.com/xeroops/xeroops/lab/internal/labdns"
	"github.com/xeroops/xeroops/lab/internal/machine"
	"github.com/xeroops/xeroops/lab/internal/volume"
	"github.com/xeroops/xeroops/lab/internal/vpcnet"
)

// timeout is the deadline for conditions that take seconds on an idle host.
const timeout = 2 * time.Minute

// fixture is a network with DNS and metadata service for machines with the ids i-1 to
// i-N and the addresses 10.0.2.11 and up.
type fixture struct {
	t       *testing.T
	kind    *machine.Container
	net     *vpcnet.Network
	volumes *volume.Store
	layers  []string

	mu       sync.Mutex
	userData string
}

func newFixture(t *testing.T, machines int) *fixture {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("machines need root")
	}
	for tool, pkg := range map[string]string{"systemd-nspawn": "systemd-container", "mmdebstrap": "mmdebstrap", "nft": "nftables"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not on PATH; install Debian's package %s", tool, pkg)
		}
	}
	dir := os.Getenv(supervisorDir)
	var err error
	if dir == "" {
		dir, err = os.MkdirTemp("", "lab") // short: a socket's path is limited
		check(t, err)
		t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	}
	f := &fixture{t: t, kind: fixtureKind(dir)}
	f.layers, err = baseimage.Build(context.Background(), baseimage.Base{})
	check(t, err)
	f.volumes, err = volume.NewStore(filepath.Join(dir, "volumes"))
	check(t, err)
	t.Cleanup(func() { check(t, f.volumes.DetachAll()) })
	f.net, err = vpcnet.Open(filepath.Join(dir, "net"))
	check(t, err)
	t.Cleanup(func() { check(t, f.net.Close()) })
	t.Cleanup(func() { check(t, f.kind.Clean()) })
	f.serve()
	f.applyModel(machines)
	return f
}

func fixtureKind(dir string) *machine.Container {
	return &machine.Container{
		RunDir: filepath.Join(dir, "run"), StateDir: filepath.Join(dir, "state"), CgroupName: filepath.Base(dir),
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func address(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 2, byte(10 + i)}) }
func id(i int) string          { return fmt.Sprintf("i-%d", i) }

func (f *fixture) applyModel(machines int) {
	everything := []vpcnet.Rule{{CIDRs: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}}
	m := vpcnet.Model{
		Subnets: []vpcnet.Subnet{{ID: "private", CIDR: netip.MustParsePrefix("10.0.2.0/24")}},
		Groups:  []vpcnet.Group{{ID: "all", Ingress: everything, Egress: everything}},
	}
	for i := 1; i <= machines; i++ {
		m.Machines = append(m.Machines, vpcnet.Machine{ID: id(i), Subnet: "private", Address: address(i), Groups: []string{"all"}, SourceDestCheck: true})
	}
	check(f.t, f.net.Apply(context.Background(), m))
}

// serve starts the lab's metadata service and name server.
func (f *fixture) serve() {
	ctx := context.Background()
	l, err := f.net.Listen(ctx, vpcnet.Router, "tcp4", vpcnet.MetadataAddress.String()+":80")
	check(f.t, err)
	dns, err := f.net.ListenPacket(ctx, vpcnet.Router, "udp4", vpcnet.DNSAddress.String()+":53")
	check(f.t, err)
	f.t.Cleanup(func() { l.Close(); dns.Close() })
	lookup := func(a netip.Addr) (imds.Instance, bool) {
		f.mu.Lock()
		defer f.mu.Unlock()
		return imds.Instance{ID: id(int(a.As4()[3]) - 10), Region: "eu-west-1", AvailabilityZone: "eu-west-1a", Type: "t3.micro",
			PrivateAddress: a, UserData: []byte(f.userData), Options: imds.Options{TokenRequired: true, TokenHopLimit: 1, CredentialLife: time.Hour}}, true
	}
	server := imds.New(lookup, imds.NewIssuer(time.Now), time.Now)
	zone := &labdns.Zone{S3: vpcnet.S3Address, Mirror: vpcnet.MirrorAddress, Private: func(string) (netip.Addr, bool) { return netip.Addr{}, false }}
	go func() { _ = server.Serve(l) }() // both end with their listeners
	go func() { _ = zone.ServeUDP(dns) }()
}

func (f *fixture) spec(i int) machine.Spec {
	return machine.Spec{ID: id(i), Hostname: "host" + fmt.Sprint(i), Layers: f.layers, NetworkNamespace: f.net.NamespacePath(id(i))}
}

func (f *fixture) start(spec machine.Spec) machine.Machine {
	f.t.Helper()
	m, err := f.kind.Start(context.Background(), spec)
	check(f.t, err)
	return m
}

func (f *fixture) boot(spec machine.Spec) machine.Machine {
	f.t.Helper()
	m := f.start(spec)
	f.await("machine to be up", m.Ready())
	return m
}

func (f *fixture) await(what string, c <-chan struct{}) {
	f.t.Helper()
	select {
	case <-c:
	case <-time.After(timeout):
		log, _ := os.ReadFile(f.kind.ConsoleLog("i-1"))
		f.t.Fatalf("waited %s for %s; console of i-1:\n%s", timeout, what, log)
	}
}

func (f *fixture) powerOff(m machine.Machine) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	check(f.t, m.PowerOff(ctx))
	check(f.t, m.Err())
}

func (f *fixture) try(id string, args ...string) (string, error) {
	f.t.Helper()
	cmd, err := f.kind.Command(context.Background(), id, args...)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return strings.TrimSpace(out.String()), err
}

func (f *fixture) run(id string, args ...string) string {
	f.t.Helper()
	out, err := f.try(id, args...)
	if err != nil {
		f.t.Fatalf("%s: %v: %v: %s", id, args, err, out)
	}
	return out
}

// eventually calls a function until it returns no error.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

var errWaiting = errors.New("still waiting")
