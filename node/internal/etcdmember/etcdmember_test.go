//go:build linux

package etcdmember

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/envfile"
	"github.com/xeroops/xeroops/internal/testkit/debiantree"
)

// rig runs the etcd of nodes, each on a loopback address of its own.
type rig struct {
	t     *testing.T
	nodes []Node
	dirs  map[string]string
	cmds  map[string]*exec.Cmd
}

func newRig(t *testing.T, block int, names ...string) *rig {
	t.Helper()
	debiantree.Path(t)
	r := &rig{t: t, dirs: map[string]string{}, cmds: map[string]*exec.Cmd{}}
	for n, name := range names {
		// Another process that runs these tests has other addresses.
		r.nodes = append(r.nodes, Node{name, fmt.Sprintf("127.%d.%d.%d", 64+os.Getpid()%64, os.Getpid()/64%256, block*8+n+1)})
		r.dirs[name] = t.TempDir()
	}
	t.Cleanup(func() {
		for name := range r.cmds {
			r.cut(name)
		}
	})
	return r
}

func (r *rig) decision(name string) Decision {
	i := slices.IndexFunc(r.nodes, func(n Node) bool { return n.Name == name })
	return Decision{Cluster: "test", Self: r.nodes[i], Nodes: r.nodes, DataDir: r.dirs[name],
		Patience: 300 * time.Millisecond, Retry: 200 * time.Millisecond, Log: hclog.NewNullLogger()}
}

// settle is the decision of a node; starting is its etcd with it.
func (r *rig) settle(name string) map[string]string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	text, err := r.decision(name).Settings(ctx)
	if err != nil {
		r.t.Errorf("%s: %v", name, err)
		return nil
	}
	settings, err := envfile.Parse(text)
	if err != nil {
		r.t.Errorf("%s: %v", name, err)
	}
	return settings
}

func (r *rig) start(name string, settings map[string]string) {
	r.t.Helper()
	// One loopback for all nodes here.
	args := strings.ReplaceAll(settings["DAEMON_ARGS"], "0.0.0.0", r.decision(name).Self.Address)
	cmd := debiantree.Command(r.t, "etcd", strings.Fields(args)...)
	cmd.Env = append(cmd.Env, "ETCD_DATA_DIR="+r.dirs[name], "ETCD_LOG_LEVEL=error")
	for key, value := range settings {
		if key == "ETCD_LISTEN_CLIENT_URLS" {
			value, _, _ = strings.Cut(value, ",")
		}
		cmd.Env = append(cmd.Env, key+"="+value)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.cmds[name] = cmd
	r.t.Cleanup(func() {
		if r.t.Failed() {
			r.t.Logf("etcd of %s: %s", name, out.Bytes())
		}
	})
}

func (r *rig) cut(name string) {
	if cmd := r.cmds[name]; cmd != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
		delete(r.cmds, name)
	}
}

func (r *rig) startAllAtOnce() {
	var all sync.WaitGroup
	settings := make([]map[string]string, len(r.nodes))
	for i, n := range r.nodes {
		all.Go(func() { settings[i] = r.settle(n.Name) })
	}
	all.Wait()
	for i, n := range r.nodes {
		r.start(n.Name, settings[i])
	}
}

// healthy waits until a node's etcd has so many members that have all started.
func (r *rig) healthy(through string, want int) []Member {
	r.t.Helper()
	var list []Member
	r.await(fmt.Sprintf("%d members", want), func(ctx context.Context) (err error) {
		list, err = agreed(ctx, r.decision(through).Self)
		if err == nil && (len(list) != want || slices.ContainsFunc(list, func(m Member) bool { return !m.started() })) {
			err = fmt.Errorf("members are %+v", list)
		}
		return err
	})
	return list
}

func (r *rig) await(what string, f func(context.Context) error) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 40*time.Second)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			r.t.Fatalf("no %s: %v", what, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func TestThreeFreshNodesMakeAClusterAndAReplacedOneJoinsIt(t *testing.T) {
	r := newRig(t, 1, "management", "db1", "db2")
	r.startAllAtOnce()
	before := r.healthy("management", 3)

	r.cut("db1")
	r.dirs["db1"] = t.TempDir() // another instance of the same name
	settings := r.settle("db1")
	if settings["ETCD_INITIAL_CLUSTER_STATE"] != "existing" {
		t.Errorf("db1 starts with %v", settings)
	}
	r.start("db1", settings)
	after := r.healthy("db1", 3)
	if id(before, "db1") == id(after, "db1") {
		t.Error("db1 is the member that it was, without what that member knew")
	}

	// Without a change, a restart goes by the data that is there.
	r.cut("db1")
	r.start("db1", r.settle("db1"))
	if again := r.healthy("db1", 3); id(again, "db1") != id(after, "db1") {
		t.Error("db1 became another member by a restart")
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

func TestAMemberThatDiedBetweenBeingAddedAndStartingJoinsAsAdded(t *testing.T) {
	r := newRig(t, 2, "management", "db1", "db2")
	r.startAllAtOnce()
	r.healthy("management", 3)
	r.cut("db2")
	r.dirs["db2"] = t.TempDir()
	r.settle("db2") // adds it; it is not started
	r.start("db2", r.settle("db2"))
	r.healthy("db2", 3)
}

func TestNothingIsChangedWithoutAQuorum(t *testing.T) {
	r := newRig(t, 3, "management", "db1", "db2")
	r.startAllAtOnce()
	before := r.healthy("management", 3)
	r.cut("db1")
	r.cut("db2")
	r.dirs["db1"] = t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if settings, err := r.decision("db1").Settings(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("db1 starts with %q, %v, though management alone can't take it in", settings, err)
	}

	r.start("db2", r.settle("db2")) // with its data
	r.start("db1", r.settle("db1"))
	if after := r.healthy("db1", 3); id(before, "db2") != id(after, "db2") {
		t.Error("db2 is another member")
	}
}

func TestNodesBeyondTheMembersAreGatewaysAndTakeThePlaceOfOneThatIsGone(t *testing.T) {
	r := newRig(t, 4, "management", "db1", "db2", "db3")
	r.startAllAtOnce()
	r.healthy("db1", 3)
	r.healthy("db3", 3) // through the gateway

	r.cut("db1")
	r.nodes = slices.DeleteFunc(r.nodes, func(n Node) bool { return n.Name == "db1" })
	r.cut("db3")
	r.start("db3", r.settle("db3"))
	list := r.healthy("db3", 3)
	if id(list, "db3") == "" || id(list, "db1") != "" {
		t.Errorf("members are %+v", list)
	}
}

func TestAClusterOfFewerThanThreeNodesHasOneMember(t *testing.T) {
	r := newRig(t, 5, "management", "db1")
	r.startAllAtOnce()
	r.healthy("db1", 1)
}

func TestANodeWhoseDatabasesAreOlderWaitsForTheOthersToSpeak(t *testing.T) {
	r := newRig(t, 6, "management", "db1", "db2")
	d := r.decision("db1")
	d.Outlived, d.Patience = true, time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if settings, err := d.Settings(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %q, %v, want it to wait", settings, err)
	}
	r.start("management", r.settle("management")) // is new, and says so to db1
	r.await("answer of management", func(ctx context.Context) error {
		_, err := members(ctx, r.decision("management").Self)
		return err
	})
	text, err := d.Settings(t.Context())
	if err != nil || !strings.Contains(text, `STATE="new"`) {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestMembersAreManagementAndTheFirstTwoDatabases(t *testing.T) {
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
