//go:build linux

package command

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/registry"
)

func TestDeployPublishesABundleAndFollowsTheNodes(t *testing.T) {
	f := newFixture(t)
	f.subscribe("app1", healthy)
	f.subscribe("app2", healthy)

	f.run("deploy", f.dir, "--wheelhouse", f.house).expect(t, 0, "app1: healthy", "app2: healthy", "previous version: none")

	// Without the image's distributions and those for other systems.
	keys := f.keys("wheels/notes/1.0.0/")
	if want := []string{"bundle.json", "greeting-1.2-py3-none-any.whl", "notes-1.0.0-py3-none-any.whl"}; !slices.Equal(keys, want) {
		t.Errorf("the bundle has %v, want %v", keys, want)
	}
	desired, err := registry.ReadDesired(t.Context(), f.nodes, "notes")
	if err != nil {
		t.Fatal(err)
	}
	if desired.Version != "1.0.0" || desired.PublishedBy == "" {
		t.Errorf("desired is %+v", desired)
	}

	// The same content again is the same version.
	f.run("deploy", f.dir, "--wheelhouse", f.house).expect(t, 0, "uploaded already", "app2: healthy")

	// Other content needs another version.
	f.edit("src/notes/main.py", "None", "1")
	f.run("deploy", f.dir, "--wheelhouse", f.house).expect(t, exitFailed, "notes-1.0.0-py3-none-any.whl has other content", "raise the project's version")

	f.edit("pyproject.toml", `version = "1.0.0"`, `version = "1.1.0"`)
	f.run("deploy", f.dir, "--wheelhouse", f.house).expect(t, 0, "previous version: 1.0.0")
}

func TestDeployChangesNothingAfterAnError(t *testing.T) {
	f := newFixture(t)
	deploy := func(more ...string) []string {
		return append([]string{"deploy", f.dir, "--wheelhouse", f.house}, more...)
	}
	f.heartbeat("app1", registry.Application{Name: "orders", Port: 8001, RoutePrefix: "/api/orders", State: registry.AppRunning})
	f.run(deploy()...).expect(t, exitUsage, "port 8001 is used by orders on app1")
	f.edit("pyproject.toml", "port = 8001", "port = 8002")
	f.edit("pyproject.toml", "/api/notes", "/api/orders")
	f.run(deploy()...).expect(t, exitUsage, "route_prefix /api/orders is used by orders on app1")
	f.edit("pyproject.toml", "/api/orders", "/api/notes")

	f.edit("pyproject.toml", "notes.main:app", "notes.mian:app")
	f.run(deploy()...).expect(t, exitUsage, "has no module notes.mian")
	f.edit("pyproject.toml", "notes.mian:app", "notes.main:app")

	f.edit("backend.py", "import pathlib", "import pathlib, nonsense")
	f.run(deploy()...).expect(t, exitFailed, "No module named 'nonsense'")
	f.edit("backend.py", ", nonsense", "")

	f.edit("pyproject.toml", "greeting>=1", "greeting>=2")
	f.run(deploy()...).expect(t, exitFailed, "greeting>=2", "--wheelhouse")
	f.edit("pyproject.toml", "greeting>=2", "greeting>=1")

	f.run("deploy", f.dir, "--wheelhouse", f.dir+"/nowhere").expect(t, exitUsage, "not a directory")
	f.run("deploy", t.TempDir()).expect(t, exitUsage, "no such file")
	f.run("deploy", "one", "two").expect(t, exitUsage, "accepts at most 1 arg")
	f.run("deploy", "--nonsense").expect(t, exitUsage, "--help")
	f.run("depoly").expect(t, exitUsage, "did you mean deploy?")
	f.run("nonsense").expect(t, exitUsage, "see xeroops --help")
	f.run(deploy("--cluster", "other")...).expect(t, exitUnreachable, `no cluster "other"`)
	f.run(deploy("--uploads-bucket", "other")...).expect(t, exitUnreachable, "list clusters in bucket other")
	f.run(deploy("--via", "sh -c 'echo connection refused >&2; exit 7'")...).expect(t, exitUnreachable, "(exit status 7): connection refused;", "try that command alone")
	f.run(deploy("--via", "")...).expect(t, exitUnreachable, "connect to the VPN")

	f.remove(registry.PythonKey("app1"))
	f.run(deploy()...).expect(t, exitUnreachable, "no app node has reported the Python of its image")
	f.put(cluster.Layout{Cluster: "production"}.OperatorCredentials(registry.UserDeploy), "REDIS_DEPLOY_PASSWORD=other\n")
	f.run(deploy()...).expect(t, exitUnreachable, "has not applied a rotation or an update yet")

	if keys := f.keys("wheels/"); len(keys) > 0 {
		t.Errorf("uploaded are %v", keys)
	}
}

// TestANodeCantReachTheDevelopersMachine plays root on a node, who can write every
// key that nodes write.
func TestANodeCantReachTheDevelopersMachine(t *testing.T) {
	f := newFixture(t)
	deploy := func() ran { return f.run("deploy", f.dir, "--wheelhouse", f.house) }
	set := func(node string, distributions map[string]string, platform string) {
		f.setJSON(registry.PythonKey(node), map[string]any{"version": "3.13", "platform": platform, "distributions": distributions})
	}
	const platform = "manylinux_2_41_x86_64"
	evil := filepath.Join(t.TempDir(), "evil")
	for name, write := range map[string]func(){
		"an option as a name":    func() { set("app2", map[string]string{"--find-links=" + evil + "\n#": "1"}, platform) },
		"an option as a version": func() { set("app2", map[string]string{"fastapi": "0.115.11\n--no-binary=:all:"}, platform) },
		"a path as a platform":   func() { set("app2", nil, "manylinux_2_41_x86_64-/../../../../../../../.."+evil) },
	} {
		write()
		r := deploy()
		if r.code == 0 || !strings.Contains(r.stderr, "node app2 reported") {
			t.Errorf("%s: exit %d, %s", name, r.code, r.stderr)
		}
	}
	if _, err := os.Stat(evil); err == nil {
		t.Error("a node wrote a file on this machine")
	}
	if keys := f.keys("wheels/"); len(keys) > 0 {
		t.Errorf("uploaded are %v", keys)
	}

	// The report of a node that is not an app node is ignored.
	f.remove(registry.PythonKey("app2"))
	set("db1", map[string]string{"--no-binary": ":all:"}, "../..")
	f.subscribe("app1", healthy)
	f.subscribe("app2", func(string) (registry.Phase, string) {
		return registry.PhaseFailed, "it failed\x1b]0;title\a\nnotes 1.0.0 runs on 2 nodes\u202e"
	})
	r := deploy()
	r.expect(t, exitIncomplete, `it failed\u001b]0;title\u0007`)
	for _, args := range [][]string{{"status"}, {"deployments"}, {"status", "--json"}, {"deployments", "--json"}} {
		other := f.run(args...)
		r.out, r.stderr = r.out+other.out, r.stderr+other.stderr
	}
	if strings.ContainsAny(r.out+r.stderr, "\x1b\a\u202e") || strings.Contains(r.stderr, "\nnotes 1.0.0 runs on 2 nodes") {
		t.Errorf("printed %q and %q", r.out, r.stderr)
	}
}

func TestInterruptedDeployReportsItsStateAndContinues(t *testing.T) {
	f := newFixture(t)
	f.heartbeat("app1")
	f.heartbeat("app2")
	// interrupt deploys until the output contains a text.
	interrupt := func(moment string) ran {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		return f.runWatched(ctx, func(written string) {
			if strings.Contains(written, moment) {
				cancel()
			}
		}, "deploy", f.dir, "--wheelhouse", f.house)
	}
	interrupt("collecting").expect(t, exitInterrupted, "nothing was published or uploaded")
	interrupt("uploading").expect(t, exitInterrupted, "nothing was published; 0 of 2 wheels are uploaded")
	if keys := f.keys("wheels/notes/1.0.0/"); slices.Contains(keys, bundle.ManifestName) {
		t.Errorf("uploaded are %v", keys)
	}
	interrupt("waiting").expect(t, exitInterrupted, "notes 1.0.0 is published, and the nodes continue with it", "revert it with xeroops rollback notes")

	f.subscribe("app1", healthy)
	f.subscribe("app2", healthy)
	f.run("deploy", f.dir, "--wheelhouse", f.house).expect(t, 0, "uploaded already", "runs on 2 nodes")
}

func TestDeployKeepsUploadedWheelsAndReplacesPartialOnes(t *testing.T) {
	f := newFixture(t)
	f.subscribe("app1", healthy)
	f.subscribe("app2", healthy)
	const file = "wheels/notes/1.0.0/greeting-1.2-py3-none-any.whl"
	f.put(file, "part of a wheel, from a deploy that was killed")
	f.run("deploy", f.dir, "--wheelhouse", f.house).expect(t, 0)
	content, err := os.ReadFile(filepath.Join(f.house, "greeting-1.2-py3-none-any.whl"))
	if err != nil {
		t.Fatal(err)
	}
	if f.object(file) != string(content) {
		t.Error("the partial wheel is still there")
	}

	// Killed between the last wheel and the manifest.
	f.delete("wheels/notes/1.0.0/" + bundle.ManifestName)
	before := f.modified(file)
	f.run("deploy", f.dir, "--wheelhouse", f.house).expect(t, 0)
	if f.modified(file) != before {
		t.Error("an existing wheel was uploaded again")
	}
}

// beforeAWS passes every request to AWS to answer first; those that it does not
// answer go to moto.
func beforeAWS(t *testing.T, answer func(http.ResponseWriter, *http.Request) (answered bool)) {
	t.Helper()
	moto, err := url.Parse(os.Getenv("AWS_ENDPOINT_URL"))
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(moto)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !answer(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(front.Close)
	t.Setenv("AWS_ENDPOINT_URL", front.URL)
}

func TestDeployRestoresWheelsThatSomebodyElseOverwrote(t *testing.T) {
	f := newFixture(t)
	f.subscribe("app1", healthy)
	f.subscribe("app2", healthy)
	const file, other = "wheels/notes/1.0.0/notes-1.0.0-py3-none-any.whl", "built by another developer as the same version"
	// The other developer checked for the manifest just before it existed, and writes
	// one at the same time.
	manifests := 0
	beforeAWS(t, func(rw http.ResponseWriter, r *http.Request) (answered bool) {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, bundle.ManifestName) {
			f.put(file, other)
			if manifests++; manifests == 1 {
				rw.WriteHeader(http.StatusConflict)
				_, _ = io.WriteString(rw, "<Error><Code>ConditionalRequestConflict</Code></Error>")
				return true
			}
		}
		return false
	})
	f.run("deploy", f.dir, "--wheelhouse", f.house).expect(t, 0, "uploading")
	if f.object(file) == other {
		t.Error("the other developer's wheel remains after the deployment")
	}

	// Or wrote only after the deployment.
	f.put(file, other)
	f.run("deploy", f.dir, "--wheelhouse", f.house).expect(t, 0, "uploaded already")
	if f.object(file) == other {
		t.Error("the second deployment left the other developer's wheel")
	}
}

func TestTheCommandOfViaMayBeSlow(t *testing.T) {
	f := newFixture(t)
	slowly := func(seconds int) string { // longer than the timeout of a Redis command
		return fmt.Sprintf("sh -c 'sleep %d; exec %s'", seconds, os.Getenv(cluster.EnvVia))
	}
	f.run("deployments", "--via", slowly(4)).expect(t, 0)

	ctx, cancel := context.WithCancel(t.Context())
	defer time.AfterFunc(time.Second, cancel).Stop()
	started := time.Now()
	r := f.runWith(ctx, "status", "--via", slowly(60))
	r.expect(t, exitInterrupted)
	if r.stderr != "xeroops: interrupted\n" || r.out != "" {
		t.Errorf("interrupted, it printed %q and %q", r.out, r.stderr)
	}
	if took := time.Since(started); took > deadline {
		t.Errorf("it ended only after %s", took)
	}
}

func TestErrorsOfAWSExitAsUnreachable(t *testing.T) {
	f := newFixture(t)
	beforeAWS(t, func(rw http.ResponseWriter, r *http.Request) (answered bool) {
		if r.Method != http.MethodPut {
			return false
		}
		rw.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(rw, "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
		return true
	})
	f.run("deploy", f.dir, "--wheelhouse", f.house).expect(t, exitUnreachable, "upload ", "AccessDenied")
	t.Setenv("AWS_PROFILE", "nobody")
	f.run("status").expect(t, exitUnreachable, "nobody")
}

func TestPipDoesNotImportModulesOfTheProject(t *testing.T) {
	f := newFixture(t)
	f.subscribe("app1", healthy)
	f.subscribe("app2", healthy)
	if err := os.WriteFile(filepath.Join(f.dir, "queue.py"), []byte("raise SystemExit('imported from the project')\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(f.dir)
	f.run("deploy", "--wheelhouse", f.house).expect(t, 0, "runs on 2 nodes")
}
