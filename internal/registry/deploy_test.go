//go:build linux

package registry

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/testkit/debiantree"
)

// startRedis starts the Redis of Debian 13, whose default user may run every
// command.
func startRedis(t *testing.T) *redis.Client {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close() // the server listens on it
	_, port, _ := net.SplitHostPort(address)
	server := debiantree.CommandIn(t, t.TempDir(), "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Wait() }) // killed when the test ends
	client := Open(address, "", "")
	t.Cleanup(func() { _ = client.Close() })
	for end := time.Now().Add(30 * time.Second); client.Ping(t.Context()).Err() != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("Redis does not respond")
		}
	}
	return client
}

func TestPublishRecordsThePreviousVersion(t *testing.T) {
	c := startRedis(t)
	messages := c.Subscribe(t.Context(), DeploymentChannel)
	defer messages.Close()
	if _, err := messages.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ version, previous string }{
		{"1", ""}, {"2", "1"}, {"2", "1"}, {"3", "2"}, {"2", "3"},
	} {
		d, err := Publish(t.Context(), c, "notes", Desired{Version: step.version, SHA256: "sum"})
		if err != nil {
			t.Fatal(err)
		}
		if d.Previous != step.previous {
			t.Errorf("before %s it was %q, want %q", step.version, d.Previous, step.previous)
		}
		if read, err := ReadDesired(t.Context(), c, "notes"); err != nil || read != d {
			t.Errorf("read %+v, %v, want %+v", read, err, d)
		}
		m, err := messages.ReceiveMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf(`{"service":"notes","version":%q,"sha256":"sum"}`, step.version); m.Payload != want {
			t.Errorf("published %s, want %s", m.Payload, want)
		}
	}
	if names, err := ReadApplications(t.Context(), c); err != nil || len(names) != 1 || names[0] != "notes" {
		t.Errorf("applications are %v, %v", names, err)
	}
}

func TestPreviousSkipsVersionsThatFailedEverywhere(t *testing.T) {
	c := startRedis(t)
	report := func(version string, phases ...Phase) {
		for n, phase := range phases {
			if err := WriteProgress(t.Context(), c, "notes", version, Progress{Node: fmt.Sprint("app", n), Phase: phase}, time.Minute); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, step := range []struct {
		version, previous string
		then              []Phase
	}{
		{"1", "", []Phase{PhaseHealthy, PhaseHealthy}},
		{"2", "1", []Phase{PhaseFailed, PhaseFailed}},
		{"3", "1", []Phase{PhaseFailed, PhaseHealthy}},
		{"4", "3", []Phase{PhaseFailed}},
		{"3", "", nil}, // the rollback
	} {
		d, err := Publish(t.Context(), c, "notes", Desired{Version: step.version})
		if err != nil {
			t.Fatal(err)
		}
		if d.Previous != step.previous {
			t.Errorf("before %s it was %q, want %q", step.version, d.Previous, step.previous)
		}
		report(step.version, step.then...)
	}
}

func TestPublishResetsTheProgress(t *testing.T) {
	c := startRedis(t)
	for _, version := range []string{"1", "2"} {
		if err := WriteProgress(t.Context(), c, "notes", version, Progress{Node: "app1", Phase: PhaseFailed}, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Publish(t.Context(), c, "notes", Desired{Version: "2"}); err != nil {
		t.Fatal(err)
	}
	for version, left := range map[string]int{"1": 1, "2": 0} {
		if all, err := ReadProgress(t.Context(), c, "notes", version); err != nil || len(all) != left {
			t.Errorf("progress of %s is %v, %v", version, all, err)
		}
	}
}

func TestConcurrentPublishesFormAChain(t *testing.T) {
	c := startRedis(t)
	const publishers = 4
	var all sync.Map // previous by version
	var group sync.WaitGroup
	for n := range publishers {
		group.Go(func() {
			version := fmt.Sprint("v", n)
			d, err := Publish(t.Context(), c, "notes", Desired{Version: version})
			if err != nil {
				t.Error(err)
			}
			all.Store(version, d.Previous)
		})
	}
	group.Wait()
	desired, err := ReadDesired(t.Context(), c, "notes")
	if err != nil {
		t.Fatal(err)
	}
	length := 0
	for version := desired.Version; version != ""; length++ {
		previous, _ := all.Load(version)
		version, _ = previous.(string)
	}
	if length != publishers {
		t.Errorf("%s has %d previous versions, want %d", desired.Version, length-1, publishers-1)
	}
}

func TestInvalidEntryIsAnErrorOfReadNodesOnly(t *testing.T) {
	c := startRedis(t)
	if err := WriteNode(t.Context(), c, Node{Name: "app1", Role: cluster.RoleApp, State: NodeReady}, false); err != nil {
		t.Fatal(err)
	}
	if err := c.Set(t.Context(), NodeKey("app2"), "{", 0).Err(); err != nil {
		t.Fatal(err)
	}
	names := []string{"app1", "app2", "app3"}
	if entries, problems, err := ReadEntries(t.Context(), c, names); err != nil || len(problems) != 1 || len(entries) != 1 {
		t.Errorf("entries %v, problems %v, error %v", entries, problems, err)
	}
	if entries, err := ReadNodes(t.Context(), c, names); err == nil || entries != nil {
		t.Errorf("all entries: %v, %v", entries, err)
	}
	if entries, err := ReadNodes(t.Context(), c, []string{"app1", "app3"}); err != nil || len(entries) != 1 {
		t.Errorf("those that can be read: %v, %v", entries, err)
	}
}
