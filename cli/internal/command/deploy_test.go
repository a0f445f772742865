//go:build linux

package command

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/xeroops/xeroops/internal/registry"
)

func location() *types.CreateBucketConfiguration {
	return &types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}
}

func TestDeployPublishesABundleAndFollowsTheNodes(t *testing.T) {
	w := newWorld(t)
	w.subscribe("app1", healthy)
	w.subscribe("app2", healthy)

	w.run("deploy", w.dir, "--wheelhouse", w.house).expect(t, 0, "app1: healthy", "app2: healthy", "before it was none")

	// What the image has and what another system would need is not in it.
	keys := w.keys("wheels/notes/1.0.0/")
	if want := []string{"bundle.json", "greeting-1.2-py3-none-any.whl", "notes-1.0.0-py3-none-any.whl"}; !slices.Equal(keys, want) {
		t.Errorf("the bundle has %v, want %v", keys, want)
	}
	desired, err := registry.ReadDesired(t.Context(), w.nodes, "notes")
	if err != nil {
		t.Fatal(err)
	}
	if desired.Version != "1.0.0" || desired.PublishedBy == "" {
		t.Errorf("desired is %+v", desired)
	}

	// The same again is the same version, and nothing to upload.
	w.run("deploy", w.dir, "--wheelhouse", w.house).expect(t, 0, "uploaded already", "app2: healthy")

	// Other content is not the same version.
	w.edit("src/notes/main.py", "None", "1")
	w.run("deploy", w.dir, "--wheelhouse", w.house).expect(t, exitFailed, "notes-1.0.0-py3-none-any.whl has other content", "raise the project's version")

	w.edit("pyproject.toml", `version = "1.0.0"`, `version = "1.1.0"`)
	w.run("deploy", w.dir, "--wheelhouse", w.house).expect(t, 0, "before it was 1.0.0")

	w.run("rollback", "notes").expect(t, 0, "published notes 1.0.0; before it was 1.1.0")
	w.run("rollback", "notes", "1.1.0").expect(t, 0, "published notes 1.1.0; before it was 1.0.0")
	w.run("rollback", "notes", "7").expect(t, exitFailed, "never published")
	w.run("rollback", "other").expect(t, exitFailed, "no such application")

	var versions []version
	listed := w.run("deployments", "notes", "--json")
	listed.expect(t, 0)
	if err := json.Unmarshal([]byte(listed.out), &versions); err != nil {
		t.Fatal(err)
	}
	if len(versions) != 2 || !versions[0].Desired && !versions[1].Desired || versions[0].Wheels != 2 {
		t.Errorf("versions are %+v", versions)
	}
	w.run("deployments").expect(t, 0, "notes", "1.1.0", "desired", "previous", "app1 healthy, app2 healthy")
}

func TestDeployEndsWithEachNodesOwnError(t *testing.T) {
	w := newWorld(t)
	w.subscribe("app1", healthy)
	w.subscribe("app2", func(string) (registry.Phase, string) {
		return registry.PhaseFailed, "ModuleNotFoundError: No module named 'greeting'"
	})
	r := w.run("deploy", w.dir, "--wheelhouse", w.house, "--json")
	r.expect(t, exitIncomplete, "app2 runs 0.9: ModuleNotFoundError")
	var o outcome
	if err := json.Unmarshal([]byte(r.out), &o); err != nil {
		t.Fatal(err)
	}
	if o.Healthy || len(o.Nodes) != 2 || o.SHA256 == "" {
		t.Errorf("the outcome is %+v", o)
	}
}

func TestDeployDoesNotWaitForANodeThatIsNotThere(t *testing.T) {
	w := newWorld(t)
	w.subscribe("app1", healthy)
	w.run("deploy", w.dir, "--wheelhouse", w.house).expect(t, exitIncomplete, "app2 sends no heartbeats; it takes the version up when it is back")
}

func TestDeployGivesUpOnANodeThatDoesNotEnd(t *testing.T) {
	w := newWorld(t)
	w.subscribe("app1", healthy)
	w.heartbeat("app2")
	w.run("deploy", w.dir, "--wheelhouse", w.house, "--timeout", "1s").expect(t, exitIncomplete, "app2 did not end within 1s")
}
