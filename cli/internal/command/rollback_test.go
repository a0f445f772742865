//go:build linux

package command

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/registry"
)

// newReleased returns a fixture with versions 1.0 and 1.1 of notes; 1.1 is desired.
func newReleased(t *testing.T) *fixture {
	f := newFixture(t)
	f.publish("1.0")
	f.publish("1.1")
	f.desire("1.0", "user/jane")
	f.desire("1.1", "user/jane")
	return f
}

func TestRollbackGoesBackAndForth(t *testing.T) {
	f := newReleased(t)
	f.subscribe("app1", healthy)
	f.subscribe("app2", healthy)
	f.run("rollback", "notes").expect(t, 0, "published notes 1.0; previous version: 1.1", "runs on 2 nodes")
	f.run("rollback", "notes").expect(t, 0, "published notes 1.1; previous version: 1.0")
	f.run("rollback", "notes", "1.0").expect(t, 0, "published notes 1.0; previous version: 1.1")
	f.run("rollback", "notes", "7").expect(t, exitFailed, "never published")
	f.run("rollback", "other").expect(t, exitFailed, "no such application")
	f.run("rollback").expect(t, exitUsage, "accepts between 1 and 2 arg")
	f.run("rollback", "Notes").expect(t, exitUsage, "application name")

	var versions []version
	listed := f.run("deployments", "notes", "--json")
	listed.expect(t, 0)
	if err := json.Unmarshal([]byte(listed.out), &versions); err != nil {
		t.Fatal(err)
	}
	if len(versions) != 2 || versions[0].Desired == versions[1].Desired || versions[0].Wheels != 1 {
		t.Errorf("versions are %+v", versions)
	}
	f.run("deployments", "nots").expect(t, 0, "nots has no versions")
	f.run("deployments").expect(t, 0, "notes", "1.1", "desired", "previous", "app1 deployed, not running, app2 deployed, not running")
	f.heartbeat("app1", registry.Application{Name: "notes", Version: "1.0", Port: 8001, RoutePrefix: "/api/notes", State: registry.AppRunning})
	f.heartbeat("app2", registry.Application{Name: "notes", Version: "1.1", Port: 8001, RoutePrefix: "/api/notes", State: registry.AppRunning})
	listed = f.run("deployments")
	for _, line := range strings.Split(listed.out, "\n") {
		if strings.Contains(line, " 1.1 ") && (!strings.HasSuffix(line, "  app2 running") || strings.Contains(line, "app1")) {
			t.Errorf("the former version, which app2 still runs: %s", line)
		}
		if strings.Contains(line, " 1.0 ") && !strings.HasSuffix(line, "app1 running, app2 deployed, not running") {
			t.Errorf("the desired version, which app1 runs: %s", line)
		}
	}
}

func TestRollbackNeedsAVersionBefore(t *testing.T) {
	f := newFixture(t)
	f.publish("1.0")
	f.desire("1.0", "user/jane")
	f.run("rollback", "notes").expect(t, exitFailed, "there is no version before 1.0")
}

func TestRolloutReportsEachNodesError(t *testing.T) {
	f := newReleased(t)
	f.subscribe("app1", healthy)
	f.subscribe("app2", func(string) (registry.Phase, string) {
		return registry.PhaseFailed, "ModuleNotFoundError: No module named 'greeting'"
	})
	r := f.run("rollback", "notes", "--json")
	r.expect(t, exitIncomplete, "app2 runs 0.9: ModuleNotFoundError")
	var o outcome
	if err := json.Unmarshal([]byte(r.out), &o); err != nil {
		t.Fatal(err)
	}
	if o.Healthy || len(o.Nodes) != 2 || o.SHA256 == "" {
		t.Errorf("the outcome is %+v", o)
	}
}

func TestOutputOfAnApplicationIsPrintedOnceAndEscaped(t *testing.T) {
	f := newReleased(t)
	f.subscribe("app1", healthy)
	f.subscribe("app2", func(string) (registry.Phase, string) {
		return registry.PhaseFailed, "the version exited while starting; last lines of its log:\nTraceback (most recent call last):\n  File x\nKeyError: '\x1b[31mTOKEN'\nApplication startup failed."
	})
	r := f.run("rollback", "notes")
	r.expect(t, exitIncomplete, "app2: failed (0s) the version exited while starting; last lines of its log:\n")
	if n := strings.Count(r.stderr, "KeyError: '\\u001b[31mTOKEN'"); n != 1 || strings.Contains(r.stderr, "\x1b") {
		t.Errorf("the exception is printed %d times, want once and escaped:\n%q", n, r.stderr)
	}
	f.run("deployments").expect(t, 0, "last lines of its log: … KeyError: '")
}

func TestRolloutWaitsUntilNodesGetRequests(t *testing.T) {
	f := newReleased(t)
	f.subscribe("app1", healthy)
	f.subscribe("app2", healthy)
	route := func(prefix string, ports map[string]int) {
		f.setJSON(registry.RoutesKey, registry.Routes{"notes": {Prefixes: []string{prefix}, Ports: ports}})
	}
	route("/api/former", map[string]int{"app1": 8001, "app2": 8001})
	f.run("rollback", "notes", "--timeout", "1s").expect(t, exitIncomplete, "app1 did not finish within 1s: still routing")
	route("/api/notes", map[string]int{"app1": 8001, "app2": 8000})
	routed := false
	f.runWatched(t.Context(), func(written string) {
		if strings.Contains(written, "app2: routing") && !routed {
			routed = true
			route("/api/notes", map[string]int{"app1": 8001, "app2": 8001})
		}
	}, "rollback", "notes").expect(t, 0, "app1: healthy", "app2: healthy")
	if !routed {
		t.Error("it did not wait for app2's route")
	}
}

func TestRolloutDoesNotWaitForAnAbsentNode(t *testing.T) {
	f := newReleased(t)
	f.subscribe("app1", healthy)
	f.run("rollback", "notes").expect(t, exitIncomplete, "app2 has no heartbeat; it deploys the version when it returns")
}

func TestRolloutStopsWaitingAtTheTimeout(t *testing.T) {
	f := newReleased(t)
	f.subscribe("app1", healthy)
	f.heartbeat("app2")
	f.run("rollback", "notes", "--timeout", "1s").expect(t, exitIncomplete, "app2 did not finish within 1s: still waiting")
}

func TestRolloutEndsWhenAnotherVersionIsPublishedMeanwhile(t *testing.T) {
	f := newReleased(t)
	f.heartbeat("app1")
	f.heartbeat("app2")
	done := false
	f.runWatched(t.Context(), func(written string) {
		if strings.Contains(written, "waiting") && !done {
			done = true
			f.desire("9", "user/joe")
		}
	}, "rollback", "notes").expect(t, exitIncomplete, "user/joe published version 9 of notes in the meantime")
}

func TestRolloutSurvivesLostConnections(t *testing.T) {
	f := newReleased(t)
	f.heartbeat("app1")
	f.heartbeat("app2")
	admin := registry.Open(f.redis, registry.UserAdmin, "REDIS_ADMIN_PASSWORD")
	defer admin.Close()
	cut := false
	f.runWatched(t.Context(), func(written string) {
		if !strings.Contains(written, "waiting") || cut {
			return
		}
		cut = true // the operators' connections, with no response for longer than the read timeout
		if err := admin.Do(t.Context(), "CLIENT", "KILL", "USER", registry.UserDeploy).Err(); err != nil {
			t.Error(err)
		}
		if err := admin.ClientPause(t.Context(), 5*time.Second).Err(); err != nil {
			t.Error(err)
		}
		go func() { // answered after the pause
			f.subscribe("app1", healthy)
			f.subscribe("app2", healthy)
			f.desire("1.0", "user/jane")
		}()
	}, "rollback", "notes").expect(t, 0, "registry does not respond, retrying", "registry responds again", "runs on 2 nodes")
}
