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

// patience is how long a test waits for what should take a few seconds: the host
// may be busy.
const patience = 2 * time.Minute

// rig is a small lab: a network with a name server and metadata, and machines
// whose instance ids are i-1 to i-N at 10.0.2.11 and so on.
type rig struct {
	t       *testing.T
	kind    *machine.Container
	net     *vpcnet.Network
	volumes *volume.Store
	layers  []string

	mu       sync.Mutex
	userData string
}

func newRig(t *testing.T, machines int) *rig {
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
	r := &rig{t: t, kind: rigKind(dir)}
	r.layers, err = baseimage.Build(context.Background(), baseimage.Base{})
	check(t, err)
	r.volumes, err = volume.NewStore(filepath.Join(dir, "volumes"))
	check(t, err)
	t.Cleanup(func() { check(t, r.volumes.DetachAll()) })
	r.net, err = vpcnet.Open(filepath.Join(dir, "net"))
	check(t, err)
	t.Cleanup(func() { check(t, r.net.Close()) })
	t.Cleanup(func() { check(t, r.kind.Clean()) })
	r.serve()
	r.applyModel(machines)
	return r
}

func rigKind(dir string) *machine.Container {
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

func (r *rig) applyModel(machines int) {
	everything := []vpcnet.Rule{{CIDRs: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}}
	m := vpcnet.Model{
		Subnets: []vpcnet.Subnet{{ID: "private", CIDR: netip.MustParsePrefix("10.0.2.0/24")}},
		Groups:  []vpcnet.Group{{ID: "all", Ingress: everything, Egress: everything}},
	}
	for i := 1; i <= machines; i++ {
		m.Machines = append(m.Machines, vpcnet.Machine{ID: id(i), Subnet: "private", Address: address(i), Groups: []string{"all"}, SourceDestCheck: true})
	}
	check(r.t, r.net.Apply(context.Background(), m))
}

// serve runs the lab's own metadata service and name server.
func (r *rig) serve() {
	ctx := context.Background()
	l, err := r.net.Listen(ctx, vpcnet.Router, "tcp4", vpcnet.MetadataAddress.String()+":80")
	check(r.t, err)
	dns, err := r.net.ListenPacket(ctx, vpcnet.Router, "udp4", vpcnet.DNSAddress.String()+":53")
	check(r.t, err)
	r.t.Cleanup(func() { l.Close(); dns.Close() })
	lookup := func(a netip.Addr) (imds.Instance, bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		return imds.Instance{ID: id(int(a.As4()[3]) - 10), Region: "eu-west-1", AvailabilityZone: "eu-west-1a", Type: "t3.micro",
			PrivateAddress: a, UserData: []byte(r.userData), Options: imds.Options{TokenRequired: true, TokenHopLimit: 1, CredentialLife: time.Hour}}, true
	}
	server := imds.New(lookup, imds.NewIssuer(time.Now), time.Now)
	zone := &labdns.Zone{S3: vpcnet.S3Address, Mirror: vpcnet.MirrorAddress, Private: func(string) (netip.Addr, bool) { return netip.Addr{}, false }}
	go func() { _ = server.Serve(l) }() // both end with their listeners
	go func() { _ = zone.ServeUDP(dns) }()
}

func (r *rig) spec(i int) machine.Spec {
	return machine.Spec{ID: id(i), Hostname: "host" + fmt.Sprint(i), Layers: r.layers, NetworkNamespace: r.net.NamespacePath(id(i))}
}

func (r *rig) start(spec machine.Spec) machine.Machine {
	r.t.Helper()
	m, err := r.kind.Start(context.Background(), spec)
	check(r.t, err)
	return m
}

func (r *rig) boot(spec machine.Spec) machine.Machine {
	r.t.Helper()
	m := r.start(spec)
	r.await("machine to be up", m.Ready())
	return m
}

func (r *rig) await(what string, c <-chan struct{}) {
	r.t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		log, _ := os.ReadFile(r.kind.ConsoleLog("i-1"))
		r.t.Fatalf("waited %s for %s; console of i-1:\n%s", patience, what, log)
	}
}

func (r *rig) powerOff(m machine.Machine) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	check(r.t, m.PowerOff(ctx))
	check(r.t, m.Err())
}

func (r *rig) try(id string, args ...string) (string, error) {
	r.t.Helper()
	cmd, err := r.kind.Command(context.Background(), id, args...)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return strings.TrimSpace(out.String()), err
}

func (r *rig) run(id string, args ...string) string {
	r.t.Helper()
	out, err := r.try(id, args...)
	if err != nil {
		r.t.Fatalf("%s: %v: %v: %s", id, args, err, out)
	}
	return out
}

// eventually polls a condition, which says what is still missing.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
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
