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
	f.run("deployments").expect(t, 0, "notes", "1.1", "desired", "previous", "app1 healthy, app2 healthy")
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
