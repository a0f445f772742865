//go:build linux

package etcdmember

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/envfile"
	"github.com/xeroops/xeroops/internal/pki"
	"github.com/xeroops/xeroops/internal/testkit/debiantree"
	"github.com/xeroops/xeroops/node/internal/atomicfile"
	"github.com/xeroops/xeroops/node/internal/nodetls"
)

// fixture runs the etcd of several nodes, each on its own loopback address.
type fixture struct {
	t         *testing.T
	nodes     []Node
	dirs      map[string]string
	cmds      map[string]*exec.Cmd
	authority *pki.Authority
	files     string // directory of certificates
}

func newFixture(t *testing.T, block int, names ...string) *fixture {
	t.Helper()
	debiantree.Path(t)
	f := &fixture{t: t, dirs: map[string]string{}, cmds: map[string]*exec.Cmd{}, files: t.TempDir()}
	var err error
	if f.authority, err = pki.NewAuthority("test", pki.Etcd, time.Now()); err != nil {
		t.Fatal(err)
	}
	f.write("ca", pki.Generations{f.authority}.Bundle())
	for n, name := range names {
		// Concurrent runs of these tests have other addresses.
		f.nodes = append(f.nodes, Node{name, fmt.Sprintf("127.%d.%d.%d", 64+os.Getpid()%64, os.Getpid()/64%256, block*8+n+1)})
		f.dirs[name] = t.TempDir()
		f.issue(f.authority, f.nodes[n])
	}
	t.Cleanup(func() {
		for name := range f.cmds {
			f.kill(name)
		}
	})
	return f
}

// issue writes a certificate of a node.
func (f *fixture) issue(by *pki.Authority, n Node) {
	f.t.Helper()
	certificate, err := by.Issue(pki.Identity{Cluster: "test", Node: n.Name, Role: cluster.RoleDB, Address: netip.MustParseAddr(n.Address)}, time.Now())
	if err != nil {
		f.t.Fatal(err)
	}
	content, err := certificate.PEM()
	if err != nil {
		f.t.Fatal(err)
	}
	f.write(n.Name, content)
}

func (f *fixture) write(name string, content []byte) {
	f.t.Helper()
	if _, err := atomicfile.WriteFile(f.file(name), content, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) file(name string) string { return filepath.Join(f.files, name+".pem") }

func (f *fixture) decision(name string) Decision {
	i := slices.IndexFunc(f.nodes, func(n Node) bool { return n.Name == name })
	return Decision{Cluster: "test", Self: f.nodes[i], Nodes: f.nodes, DataDir: f.dirs[name], TLS: Files{Certificate: f.file(name), CA: f.file("ca")},
		PeerTimeout: 300 * time.Millisecond, RetryInterval: 200 * time.Millisecond, Log: hclog.NewNullLogger()}
}

// decide returns the settings that a node decides on.
func (f *fixture) decide(name string) map[string]string {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	text, err := f.decision(name).Settings(ctx)
	if err != nil {
		f.t.Errorf("%s: %v", name, err)
		return nil
	}
	settings, err := envfile.Parse(text)
	if err != nil {
		f.t.Errorf("%s: %v", name, err)
	}
	return settings
}

func (f *fixture) start(name string, settings map[string]string) {
	f.t.Helper()
	// All nodes share the loopback network.
	address := f.decision(name).Self.Address
	args := strings.ReplaceAll(settings["DAEMON_ARGS"], "127.0.0.1", address)
	cmd := debiantree.Command(f.t, "etcd", strings.Fields(args)...)
	cmd.Env = append(cmd.Env, "ETCD_DATA_DIR="+f.dirs[name], "ETCD_LOG_LEVEL=error")
	// On loopback every connection comes from 127.0.0.1, not from the peer's address.
	cmd.Env = append(cmd.Env, "ETCD_EXPERIMENTAL_PEER_SKIP_CLIENT_SAN_VERIFICATION=true")
	for key, value := range settings {
		if key == "ETCD_LISTEN_METRICS_URLS" {
			value = strings.ReplaceAll(value, "127.0.0.1", address)
		}
		cmd.Env = append(cmd.Env, key+"="+value)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.cmds[name] = cmd
	f.t.Cleanup(func() {
		if f.t.Failed() {
			f.t.Logf("etcd of %s: %s", name, out.Bytes())
		}
	})
}

func (f *fixture) kill(name string) {
	if cmd := f.cmds[name]; cmd != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		delete(f.cmds, name)
	}
}

func (f *fixture) startAllAtOnce() {
	var all sync.WaitGroup
	settings := make([]map[string]string, len(f.nodes))
	for i, n := range f.nodes {
		all.Go(func() { settings[i] = f.decide(n.Name) })
	}
	all.Wait()
	for i, n := range f.nodes {
		f.start(n.Name, settings[i])
	}
}

// awaitMembers waits until a node's etcd has so many members, all of them started.
func (f *fixture) awaitMembers(through string, want int) []Member {
	f.t.Helper()
	var list []Member
	f.await(fmt.Sprintf("%d members", want), func(ctx context.Context) (err error) {
		list, err = f.decision(through).agreedBy(ctx, f.decision(through).Self)
		if err == nil && (len(list) != want || slices.ContainsFunc(list, func(m Member) bool { return !m.started() })) {
			err = fmt.Errorf("members are %+v", list)
		}
		return err
	})
	return list
}

func (f *fixture) await(what string, condition func(context.Context) error) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	for {
		err := condition(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			f.t.Fatalf("waited for %s: %v", what, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func TestReplacedNodeJoinsACluster(t *testing.T) {
	f := newFixture(t, 1, "management", "db1", "db2")
	f.startAllAtOnce()
	before := f.awaitMembers("management", 3)

	f.kill("db1")
	f.dirs["db1"] = t.TempDir() // another instance of the same name
	settings := f.decide("db1")
	if settings["ETCD_INITIAL_CLUSTER_STATE"] != "existing" {
		t.Errorf("db1 starts with %v", settings)
	}
	f.start("db1", settings)
	after := f.awaitMembers("db1", 3)
	if id(before, "db1") == id(after, "db1") {
		t.Error("the replaced db1 has the id of the former member, whose data it lacks")
	}

	// A restart uses the existing data.
	f.kill("db1")
	f.start("db1", f.decide("db1"))
	if again := f.awaitMembers("db1", 3); id(again, "db1") != id(after, "db1") {
		t.Error("a restart made db1 another member")
	}
}

func id(list []Member, name string) string {
	for _, m := range list {
		if m.Name == name {
			return m.ID
		}
	}
	return ""
}

func TestMemberThatWasAddedButNotStartedJoins(t *testing.T) {
	f := newFixture(t, 2, "management", "db1", "db2")
	f.startAllAtOnce()
	f.awaitMembers("management", 3)
	f.kill("db2")
	f.dirs["db2"] = t.TempDir()
	f.decide("db2") // adds it, without starting it
	f.start("db2", f.decide("db2"))
	f.awaitMembers("db2", 3)
}

func TestMembershipIsUnchangedWithoutAQuorum(t *testing.T) {
	f := newFixture(t, 3, "management", "db1", "db2")
	f.startAllAtOnce()
	before := f.awaitMembers("management", 3)
	f.kill("db1")
	f.kill("db2")
	f.dirs["db1"] = t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if settings, err := f.decision("db1").Settings(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Settings() = %q, %v; want a timeout, since management alone has no quorum", settings, err)
	}

	f.start("db2", f.decide("db2")) // with its data
	f.start("db1", f.decide("db1"))
	if after := f.awaitMembers("db1", 3); id(before, "db2") != id(after, "db2") {
		t.Error("db2 became another member")
	}
}

func TestGatewayReplacesAMemberThatLeft(t *testing.T) {
	f := newFixture(t, 4, "management", "db1", "db2", "db3")
	f.startAllAtOnce()
	f.awaitMembers("db1", 3)
	if settings := f.decide("db3"); !strings.HasPrefix(settings["DAEMON_ARGS"], "gateway") {
		t.Errorf("a fourth node starts with %v", settings)
	}

	f.kill("db1")
	f.nodes = slices.DeleteFunc(f.nodes, func(n Node) bool { return n.Name == "db1" })
	f.kill("db3")
	f.start("db3", f.decide("db3"))
	list := f.awaitMembers("db3", 3)
	if id(list, "db3") == "" || id(list, "db1") != "" {
		t.Errorf("members are %+v", list)
	}
}

func TestClusterOfFewerThanThreeNodesHasOneMember(t *testing.T) {
	f := newFixture(t, 5, "management", "db1")
	f.startAllAtOnce()
	f.awaitMembers("management", 1)
}

func TestNodeWithOlderDatabasesWaitsForTheOthers(t *testing.T) {
	f := newFixture(t, 6, "management", "db1", "db2")
	d := f.decision("db1")
	d.HasOlderData, d.PeerTimeout = true, time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if settings, err := d.Settings(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Settings() = %q, %v; want it to wait", settings, err)
	}
	f.start("management", f.decide("management")) // which answers db1 that the cluster is new
	f.await("an answer of management", func(ctx context.Context) error {
		_, err := d.members(ctx, f.decision("management").Self)
		return err
	})
	text, err := d.Settings(t.Context())
	if err != nil || !strings.Contains(text, `STATE="new"`) {
		t.Errorf("Settings() = %q, %v; want a new cluster", text, err)
	}
}

func TestFirstMembersAreManagementAndTwoDatabases(t *testing.T) {
	for names, want := range map[string]string{
		"app1 db1 db2 db3 management": "management db1 db2",
		"db3 db1 management":          "management db1 db3",
		"app1 db1 management":         "management",
		"db1":                         "db1",
	} {
		var topology cluster.Topology
		for name := range strings.FieldsSeq(names) {
			topology.Nodes = append(topology.Nodes, cluster.TopologyNode{Name: name, Role: cluster.Role(strings.TrimRight(name, "123"))})
		}
		var got []string
		for _, n := range firstMembers(nodesWithEtcd(topology)) {
			got = append(got, n.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("of %s, %s are members, want %s", names, got, want)
		}
	}
}

// put writes a key through a node's etcd, as Patroni does, with the certificate of a
// member; "" is none.
func (f *fixture) put(through, certificate string) error {
	f.t.Helper()
	config, err := nodetls.Client(f.file("ca"), "")
	if certificate != "" && err == nil {
		config, err = nodetls.MutualClient(f.file("ca"), f.file(certificate))
	}
	if err != nil {
		f.t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}, Timeout: 10 * time.Second}
	res, err := client.Post(clientURL(f.decision(through).Self.Address)+"/v3/kv/put", "application/json", strings.NewReader(`{"key": "Zm9v", "value": "YmFy"}`))
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", res.Status)
	}
	return nil
}

func TestEtcdRefusesClientsAndPeersWithoutACertificateOfItsAuthority(t *testing.T) {
	f := newFixture(t, 7, "management", "db1", "db2")
	f.startAllAtOnce()
	f.awaitMembers("management", 3)
	if err := f.put("db1", "db1"); err != nil {
		t.Errorf("a member's certificate is refused: %v", err)
	}
	if err := f.put("db1", ""); err == nil {
		t.Error("a client without a certificate writes a key")
	}
	nodes, err := pki.NewAuthority("test", pki.Nodes, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	f.issue(nodes, Node{"app1", "127.0.0.1"})
	if err := f.put("db1", "app1"); err == nil {
		t.Error("a client with a certificate of the nodes' authority writes a key")
	}
	for _, url := range []string{clientURL(f.nodes[1].Address), peerURL(f.nodes[1].Address)} {
		plain := strings.Replace(url, "https://", "http://", 1)
		if res, err := http.Get(plain + "/members"); err == nil { //nolint:noctx // it ends with the test
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				t.Errorf("%s answers without TLS", plain)
			}
		}
	}
	stranger := f.decision("db1")
	stranger.TLS.Certificate = f.file("app1")
	if list, err := stranger.members(t.Context(), f.nodes[2]); err == nil {
		t.Errorf("a peer with a certificate of the nodes' authority is told the members %v", list)
	}
}

// Half of a certificate's lifetime must not need a restart of etcd.
func TestEtcdUsesARenewedCertificateWithoutARestart(t *testing.T) {
	f := newFixture(t, 8, "management", "db1", "db2")
	f.startAllAtOnce()
	f.awaitMembers("management", 3)
	serial := func() (serial string) {
		config, err := nodetls.MutualClient(f.file("ca"), f.file("management"))
		if err != nil {
			t.Fatal(err)
		}
		f.await("a handshake", func(ctx context.Context) error {
			conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", net.JoinHostPort(f.nodes[1].Address, clientPort))
			if err != nil {
				return err
			}
			defer func() { _ = conn.Close() }()
			serial = conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String()
			return nil
		})
		return serial
	}
	before := serial()
	if again := serial(); again != before {
		t.Fatalf("the certificate changes by itself: %s, %s", before, again)
	}
	f.issue(f.authority, f.nodes[1])
	if after := serial(); after == before {
		t.Error("etcd serves the former certificate")
	}
	if err := f.put("db1", "db1"); err != nil {
		t.Errorf("the renewed certificate is refused: %v", err)
	}
}
