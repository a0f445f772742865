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
	w := newWorld(t)
	w.subscribe("app1", healthy)
	w.subscribe("app2", healthy)

	w.run("deploy", w.dir, "--wheelhouse", w.house).expect(t, 0, "app1: healthy", "app2: healthy", "previous version: none")

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
	w.run("deploy", w.dir, "--wheelhouse", w.house).expect(t, 0, "previous version: 1.0.0")
}

func TestDeployChangesNothingWhenSomethingIsWrong(t *testing.T) {
	w := newWorld(t)
	deploy := func(more ...string) []string {
		return append([]string{"deploy", w.dir, "--wheelhouse", w.house}, more...)
	}
	w.heartbeat("app1", registry.Application{Name: "orders", Port: 8001, RoutePrefix: "/api/orders", State: registry.AppRunning})
	w.run(deploy()...).expect(t, exitUsage, "port 8001 is used by orders on app1")
	w.edit("pyproject.toml", "port = 8001", "port = 8002")
	w.edit("pyproject.toml", "/api/notes", "/api/orders")
	w.run(deploy()...).expect(t, exitUsage, "route_prefix /api/orders is used by orders on app1")
	w.edit("pyproject.toml", "/api/orders", "/api/notes")

	w.edit("pyproject.toml", "notes.main:app", "notes.mian:app")
	w.run(deploy()...).expect(t, exitUsage, "has no module notes.mian")
	w.edit("pyproject.toml", "notes.mian:app", "notes.main:app")

	w.edit("backend.py", "import pathlib", "import pathlib, nonsense")
	w.run(deploy()...).expect(t, exitFailed, "No module named 'nonsense'")
	w.edit("backend.py", ", nonsense", "")

	w.edit("pyproject.toml", "greeting>=1", "greeting>=2")
	w.run(deploy()...).expect(t, exitFailed, "greeting>=2", "--wheelhouse")
	w.edit("pyproject.toml", "greeting>=2", "greeting>=1")

	w.run("deploy", w.dir, "--wheelhouse", w.dir+"/nowhere").expect(t, exitUsage, "not a directory")
	w.run("deploy", t.TempDir()).expect(t, exitUsage, "no such file")
	w.run("deploy", "one", "two").expect(t, exitUsage, "accepts at most 1 arg")
	w.run("deploy", "--nonsense").expect(t, exitUsage, "--help")
	w.run("depoly").expect(t, exitUsage, "did you mean deploy?")
	w.run("nonsense").expect(t, exitUsage, "see xeroops --help")
	w.run(deploy("--cluster", "other")...).expect(t, exitUnreachable, `no cluster "other"`)
	w.run(deploy("--uploads-bucket", "other")...).expect(t, exitUnreachable, "list clusters in bucket other")
	w.run(deploy("--via", "sh -c 'echo no way through >&2; exit 7'")...).expect(t, exitUnreachable, "(exit status 7): no way through;", "try that command alone")
	w.run(deploy("--via", "")...).expect(t, exitUnreachable, "connect to the VPN")

	w.remove(registry.PythonKey("app1"))
	w.run(deploy()...).expect(t, exitUnreachable, "no app node has reported the Python of its image")
	w.put(cluster.Layout{Cluster: "production"}.Credentials(cluster.RoleManagement), "REDIS_DEPLOY_PASSWORD=other\n")
	w.run(deploy()...).expect(t, exitUnreachable, "has not applied a rotation yet")

	if keys := w.keys("wheels/"); len(keys) > 0 {
		t.Errorf("uploaded are %v", keys)
	}
}

// TestANodeCantReachTheDevelopersMachine is root on any node, who can write every
// key that nodes write.
func TestANodeCantReachTheDevelopersMachine(t *testing.T) {
	w := newWorld(t)
	deploy := func() ran { return w.run("deploy", w.dir, "--wheelhouse", w.house) }
	set := func(node string, distributions map[string]string, platform string) {
		w.setJSON(registry.PythonKey(node), map[string]any{"version": "3.13", "platform": platform, "distributions": distributions})
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
	if keys := w.keys("wheels/"); len(keys) > 0 {
		t.Errorf("uploaded are %v", keys)
	}

	// What a node that is not an app node writes counts for nothing.
	w.remove(registry.PythonKey("app2"))
	set("db1", map[string]string{"--no-binary": ":all:"}, "../..")
	w.subscribe("app1", healthy)
	w.subscribe("app2", func(string) (registry.Phase, string) {
		return registry.PhaseFailed, "it failed\x1b]0;title\a\nnotes 1.0.0 runs on 2 nodes\u202e"
	})
	r := deploy()
	r.expect(t, exitIncomplete, `it failed\u001b]0;title\u0007`)
	for _, args := range [][]string{{"status"}, {"deployments"}, {"status", "--json"}, {"deployments", "--json"}} {
		other := w.run(args...)
		r.out, r.stderr = r.out+other.out, r.stderr+other.stderr
	}
	if strings.ContainsAny(r.out+r.stderr, "\x1b\a\u202e") || strings.Contains(r.stderr, "\nnotes 1.0.0 runs on 2 nodes") {
		t.Errorf("printed %q and %q", r.out, r.stderr)
	}
}

func TestInterruptedDeploySaysHowThingsAreAndGoesOn(t *testing.T) {
	w := newWorld(t)
	w.heartbeat("app1")
	w.heartbeat("app2")
	// interrupt deploys until something is written that begins the moment to be tried.
	interrupt := func(moment string) ran {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		return w.runWatched(ctx, func(written string) {
			if strings.Contains(written, moment) {
				cancel()
			}
		}, "deploy", w.dir, "--wheelhouse", w.house)
	}
	interrupt("collecting").expect(t, exitInterrupted, "nothing was published or uploaded")
	interrupt("uploading").expect(t, exitInterrupted, "nothing was published; 0 of 2 wheels are uploaded")
	if keys := w.keys("wheels/notes/1.0.0/"); slices.Contains(keys, bundle.ManifestName) {
		t.Errorf("uploaded are %v", keys)
	}
	interrupt("waiting").expect(t, exitInterrupted, "notes 1.0.0 is published, and the nodes continue with it", "revert it with xeroops rollback notes")

	w.subscribe("app1", healthy)
	w.subscribe("app2", healthy)
	w.run("deploy", w.dir, "--wheelhouse", w.house).expect(t, 0, "uploaded already", "runs on 2 nodes")
}

func TestDeployLeavesWhatIsUploadedAndMendsWhatIsHalf(t *testing.T) {
	w := newWorld(t)
	w.subscribe("app1", healthy)
	w.subscribe("app2", healthy)
	const file = "wheels/notes/1.0.0/greeting-1.2-py3-none-any.whl"
	w.put(file, "half of a wheel, from a deploy that was killed")
	w.run("deploy", w.dir, "--wheelhouse", w.house).expect(t, 0)
	content, err := os.ReadFile(filepath.Join(w.house, "greeting-1.2-py3-none-any.whl"))
	if err != nil {
		t.Fatal(err)
	}
	if w.object(file) != string(content) {
		t.Error("the half wheel is still there")
	}

	// Killed between the last wheel and the manifest.
	w.delete("wheels/notes/1.0.0/" + bundle.ManifestName)
	before := w.modified(file)
	w.run("deploy", w.dir, "--wheelhouse", w.house).expect(t, 0)
	if w.modified(file) != before {
		t.Error("what was there was uploaded again")
	}
}

// beforeAWS has answer see every request to AWS first; those that it does not answer
// go on to moto.
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

func TestDeployMendsWheelsThatSomebodyElseWroteOver(t *testing.T) {
	w := newWorld(t)
	w.subscribe("app1", healthy)
	w.subscribe("app2", healthy)
	const file, other = "wheels/notes/1.0.0/notes-1.0.0-py3-none-any.whl", "what another developer built of the same version"
	// The other one looked for the manifest just before it was there, and writes one
	// at the same moment.
	manifests := 0
	beforeAWS(t, func(rw http.ResponseWriter, r *http.Request) (answered bool) {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, bundle.ManifestName) {
			w.put(file, other)
			if manifests++; manifests == 1 {
				rw.WriteHeader(http.StatusConflict)
				_, _ = io.WriteString(rw, "<Error><Code>ConditionalRequestConflict</Code></Error>")
				return true
			}
		}
		return false
	})
	w.run("deploy", w.dir, "--wheelhouse", w.house).expect(t, 0, "uploading")
	if w.object(file) == other {
		t.Error("the other's wheel is there after the deployment")
	}

	// Or was so slow that it wrote when the deployment was over.
	w.put(file, other)
	w.run("deploy", w.dir, "--wheelhouse", w.house).expect(t, 0, "uploaded already")
	if w.object(file) == other {
		t.Error("the same again left the other's wheel")
	}
}

func TestTheCommandOfViaMayTakeItsTime(t *testing.T) {
	w := newWorld(t)
	slowly := func(seconds int) string { // longer than any other command of Redis may take
		return fmt.Sprintf("sh -c 'sleep %d; exec %s'", seconds, os.Getenv(cluster.EnvVia))
	}
	w.run("deployments", "--via", slowly(4)).expect(t, 0)

	ctx, cancel := context.WithCancel(t.Context())
	defer time.AfterFunc(time.Second, cancel).Stop()
	began := time.Now()
	r := w.runWith(ctx, "status", "--via", slowly(20))
	r.expect(t, exitInterrupted)
	if r.stderr != "xeroops: interrupted\n" || r.out != "" {
		t.Errorf("interrupted, it said %q and %q", r.out, r.stderr)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it ended %s after it was interrupted", took)
	}
}

func TestWhatAWSRefusesIsNoFailureOfTheProject(t *testing.T) {
	w := newWorld(t)
	beforeAWS(t, func(rw http.ResponseWriter, r *http.Request) (answered bool) {
		if r.Method != http.MethodPut {
			return false
		}
		rw.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(rw, "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
		return true
	})
	w.run("deploy", w.dir, "--wheelhouse", w.house).expect(t, exitUnreachable, "upload ", "AccessDenied")
	t.Setenv("AWS_PROFILE", "nobody")
	w.run("status").expect(t, exitUnreachable, "nobody")
}

func TestTheProjectsModulesAreNotPips(t *testing.T) {
	w := newWorld(t)
	w.subscribe("app1", healthy)
	w.subscribe("app2", healthy)
	if err := os.WriteFile(filepath.Join(w.dir, "queue.py"), []byte("raise SystemExit('this is no queue of pip')\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(w.dir)
	w.run("deploy", "--wheelhouse", w.house).expect(t, 0, "runs on 2 nodes")
}
