//go:build linux

package command

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/registry"
)

// newReleased is a world with versions 1.0 and 1.1 of notes, the second desired.
func newReleased(t *testing.T) *world {
	w := newWorld(t)
	w.publish("1.0")
	w.publish("1.1")
	w.desire("1.0", "user/jane")
	w.desire("1.1", "user/jane")
	return w
}

func TestRollbackGoesBackAndForth(t *testing.T) {
	w := newReleased(t)
	w.subscribe("app1", healthy)
	w.subscribe("app2", healthy)
	w.run("rollback", "notes").expect(t, 0, "published notes 1.0; previous version: 1.1", "runs on 2 nodes")
	w.run("rollback", "notes").expect(t, 0, "published notes 1.1; previous version: 1.0")
	w.run("rollback", "notes", "1.0").expect(t, 0, "published notes 1.0; previous version: 1.1")
	w.run("rollback", "notes", "7").expect(t, exitFailed, "never published")
	w.run("rollback", "other").expect(t, exitFailed, "no such application")
	w.run("rollback").expect(t, exitUsage, "accepts between 1 and 2 arg")
	w.run("rollback", "Notes").expect(t, exitUsage, "application name")

	var versions []version
	listed := w.run("deployments", "notes", "--json")
	listed.expect(t, 0)
	if err := json.Unmarshal([]byte(listed.out), &versions); err != nil {
		t.Fatal(err)
	}
	if len(versions) != 2 || versions[0].Desired == versions[1].Desired || versions[0].Wheels != 1 {
		t.Errorf("versions are %+v", versions)
	}
	w.run("deployments", "nots").expect(t, 0, "nots has no versions")
	w.run("deployments").expect(t, 0, "notes", "1.1", "desired", "previous", "app1 healthy, app2 healthy")
}

func TestRollbackNeedsAVersionBefore(t *testing.T) {
	w := newWorld(t)
	w.publish("1.0")
	w.desire("1.0", "user/jane")
	w.run("rollback", "notes").expect(t, exitFailed, "there is no version before 1.0")
}

func TestRolloutEndsWithEachNodesOwnError(t *testing.T) {
	w := newReleased(t)
	w.subscribe("app1", healthy)
	w.subscribe("app2", func(string) (registry.Phase, string) {
		return registry.PhaseFailed, "ModuleNotFoundError: No module named 'greeting'"
	})
	r := w.run("rollback", "notes", "--json")
	r.expect(t, exitIncomplete, "app2 runs 0.9: ModuleNotFoundError")
	var o outcome
	if err := json.Unmarshal([]byte(r.out), &o); err != nil {
		t.Fatal(err)
	}
	if o.Healthy || len(o.Nodes) != 2 || o.SHA256 == "" {
		t.Errorf("the outcome is %+v", o)
	}
}

func TestRolloutDoesNotWaitForANodeThatIsNotThere(t *testing.T) {
	w := newReleased(t)
	w.subscribe("app1", healthy)
	w.run("rollback", "notes").expect(t, exitIncomplete, "app2 has no heartbeat; it deploys the version when it returns")
}

func TestRolloutGivesUpOnANodeThatDoesNotEnd(t *testing.T) {
	w := newReleased(t)
	w.subscribe("app1", healthy)
	w.heartbeat("app2")
	w.run("rollback", "notes", "--timeout", "1s").expect(t, exitIncomplete, "app2 did not finish within 1s: still waiting")
}

func TestRolloutEndsWhenAnotherVersionIsPublishedMeanwhile(t *testing.T) {
	w := newReleased(t)
	w.heartbeat("app1")
	w.heartbeat("app2")
	done := false
	w.runWatched(t.Context(), func(written string) {
		if strings.Contains(written, "waiting") && !done {
			done = true
			w.desire("9", "user/joe")
		}
	}, "rollback", "notes").expect(t, exitIncomplete, "user/joe published version 9 of notes in the meantime")
}

func TestRolloutOutlastsLostConnections(t *testing.T) {
	w := newReleased(t)
	w.heartbeat("app1")
	w.heartbeat("app2")
	admin := registry.Open(w.redis, registry.UserAdmin, "REDIS_ADMIN_PASSWORD")
	defer admin.Close()
	cut := false
	w.runWatched(t.Context(), func(written string) {
		if !strings.Contains(written, "waiting") || cut {
			return
		}
		cut = true // all connections of operators, and no answer for longer than the CLI waits for one
		if err := admin.Do(t.Context(), "CLIENT", "KILL", "USER", registry.UserDeploy).Err(); err != nil {
			t.Error(err)
		}
		if err := admin.ClientPause(t.Context(), 5*time.Second).Err(); err != nil {
			t.Error(err)
		}
		go func() { // its first command is answered when the pause is over
			w.subscribe("app1", healthy)
			w.subscribe("app2", healthy)
			w.desire("1.0", "user/jane")
		}()
	}, "rollback", "notes").expect(t, 0, "the registry does not answer, still trying", "the registry answers again", "runs on 2 nodes")
}
