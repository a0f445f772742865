//go:build linux

package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/redis/go-redis/v9"

	"github.com/xeroops/xeroops/cli/internal/wheel"
	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/pep"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/internal/wheelfile"
)

const (
	bucket   = "uploads-" + moto.Account
	password = "the-deploy-password"
	// proxyTo makes this test's binary a command for --via.
	proxyTo  = "XEROOPS_TEST_PROXY_TO"
	deadline = 20 * time.Second
)

func TestMain(m *testing.M) {
	if address := os.Getenv(proxyTo); address != "" {
		conn, err := net.Dial("tcp4", address)
		if err != nil {
			fmt.Fprintln(os.Stderr, "no way through:", err)
			os.Exit(1)
		}
		go func() {
			_, _ = io.Copy(conn, os.Stdin)
			_ = conn.(*net.TCPConn).CloseWrite()
		}()
		_, _ = io.Copy(os.Stdout, conn)
		os.Exit(0)
	}
	code := m.Run()
	if server, err := startMoto(); err == nil {
		server.Stop()
	}
	os.Exit(code)
}

// startMoto starts one for all tests; each begins with an empty account.
var startMoto = sync.OnceValues(func() (*moto.Server, error) {
	return moto.Start(context.Background(), moto.Options{})
})

// world is what the CLI works with: moto's S3 with a cluster's objects, and a
// Redis with users as on the management node, reached through --via.
type world struct {
	t     *testing.T
	s3    *s3.Client
	redis string // address
	nodes *redis.Client
	dir   string // of the project
	house string // wheelhouse
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if _, err := wheel.FindPython(t.Context()); err != nil {
		t.Skip(err)
	}
	w := &world{t: t, redis: startRedis(t)}
	server, err := startMoto()
	if err == nil {
		err = server.Reset(t.Context())
	}
	if errors.Is(err, moto.ErrMissing) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": server.URL, "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
		cluster.EnvCluster: "", cluster.EnvUploadsBucket: "", cluster.EnvVia: "env " + proxyTo + "=" + w.redis + " " + os.Args[0],
	} {
		t.Setenv(name, value)
	}
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.s3 = s3.NewFromConfig(cfg)
	if _, err := w.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket),
		CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}}); err != nil {
		t.Fatal(err)
	}
	w.fillBucket()
	w.nodes = registry.Open(w.redis, registry.UserNode, "node")
	t.Cleanup(func() { _ = w.nodes.Close() })
	w.setJSON(registry.PythonKey("app1"), registry.Python{Version: "3.13", Platform: "manylinux_2_41_x86_64",
		Distributions: map[pep.Name]pep.Version{"fastapi": "0.115.11", "elements": "1.0.0"}})
	w.dir, w.house = t.TempDir(), t.TempDir()
	if err := os.CopyFS(w.dir, os.DirFS("testdata/service")); err != nil {
		t.Fatal(err)
	}
	file, content := wheelfile.Wheel{Name: "greeting", Version: "1.2", Tag: wheelfile.PurePython}.Make()
	if err := os.WriteFile(filepath.Join(w.house, file), content, 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

func poll(t *testing.T, what string, met func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !met(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, deadline)
		}
	}
}

func (w *world) fillBucket() {
	layout := cluster.Layout{Cluster: "production"}
	topology, err := json.Marshal(cluster.Topology{Schema: cluster.TopologySchema, Cluster: "production", Nodes: []cluster.TopologyNode{
		{Name: "app1", Role: cluster.RoleApp, Address: "127.0.0.1"},
		{Name: "app2", Role: cluster.RoleApp, Address: "127.0.0.1"},
		{Name: "management", Role: cluster.RoleManagement, Address: "127.0.0.1"},
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.put(layout.Topology(), string(topology))
	w.put(layout.Credentials(cluster.RoleManagement), "REDIS_DEPLOY_PASSWORD=\""+password+"\"\n")
}

func (w *world) put(key, content string) {
	w.t.Helper()
	if _, err := w.s3.PutObject(w.t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &key, Body: strings.NewReader(content)}); err != nil {
		w.t.Fatal(err)
	}
}

// publish puts a version of notes into the bucket, past the CLI.
func (w *world) publish(version string) {
	w.t.Helper()
	const content = "a wheel"
	file := "notes-" + version + "-py3-none-any.whl"
	manifest, _, err := bundle.Manifest{
		Schema: bundle.Schema, Application: "notes", Version: version, CreatedAt: time.Now(), Python: "3.13", Platform: "manylinux_2_41_x86_64", App: "notes.main:app",
		Port: 8001, RoutePrefix: "/api/notes", HealthPath: "/healthz", Workers: 1,
		Wheels: []bundle.Wheel{{File: file, SHA256: bundle.Sum([]byte(content)), Size: int64(len(content))}},
	}.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	w.put(bundle.Key("notes", version, file), content)
	w.put(bundle.Key("notes", version, bundle.ManifestName), string(manifest))
}

// desire makes a version of notes the desired one, past the CLI.
func (w *world) desire(version, by string) {
	w.t.Helper()
	operator := registry.Open(w.redis, registry.UserDeploy, password)
	defer operator.Close()
	if _, err := registry.Publish(w.t.Context(), operator, "notes", registry.Desired{Version: version, PublishedBy: by}); err != nil {
		w.t.Error(err)
	}
}

// keys lists what is below a prefix.
func (w *world) keys(prefix string) []string {
	w.t.Helper()
	out, err := w.s3.ListObjectsV2(w.t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String(bucket), Prefix: &prefix})
	if err != nil {
		w.t.Fatal(err)
	}
	var keys []string
	for _, o := range out.Contents {
		keys = append(keys, strings.TrimPrefix(*o.Key, prefix))
	}
	return keys
}

func (w *world) object(key string) string {
	w.t.Helper()
	out, err := w.s3.GetObject(w.t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: &key})
	if err != nil {
		w.t.Fatal(err)
	}
	defer out.Body.Close()
	content, err := io.ReadAll(out.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(content)
}

func (w *world) modified(key string) time.Time {
	w.t.Helper()
	out, err := w.s3.HeadObject(w.t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: &key})
	if err != nil {
		w.t.Fatal(err)
	}
	return *out.LastModified
}

func (w *world) delete(key string) {
	w.t.Helper()
	if _, err := w.s3.DeleteObject(w.t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: &key}); err != nil {
		w.t.Fatal(err)
	}
}

// remove removes a key of the registry.
func (w *world) remove(key string) {
	w.t.Helper()
	if err := w.nodes.Del(w.t.Context(), key).Err(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) setJSON(key string, value any) {
	w.t.Helper()
	content, err := json.Marshal(value)
	if err == nil {
		err = w.nodes.Set(w.t.Context(), key, content, 0).Err()
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// edit changes a file of the project.
func (w *world) edit(file, old, replacement string) {
	w.t.Helper()
	path := filepath.Join(w.dir, file)
	content, err := os.ReadFile(path)
	if err == nil {
		if !strings.Contains(string(content), old) {
			w.t.Fatalf("%s has no %q", file, old)
		}
		err = os.WriteFile(path, []byte(strings.Replace(string(content), old, replacement, 1)), 0o600)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// heartbeat writes a node's entry, with the applications that it runs.
func (w *world) heartbeat(name string, applications ...registry.Application) {
	w.t.Helper()
	w.setJSON(registry.NodeKey(name), registry.Node{Schema: registry.Schema, Name: name, Role: cluster.RoleApp, State: registry.NodeReady, Applications: applications})
}

// subscribe is an app node: it takes each published version through all phases, to
// the end that fate says.
func (w *world) subscribe(name string, fate func(version string) (registry.Phase, string)) {
	w.t.Helper()
	w.heartbeat(name)
	subscription := w.nodes.Subscribe(w.t.Context(), registry.DeploymentChannel)
	if _, err := subscription.Receive(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = subscription.Close() })
	go func() {
		for message := range subscription.Channel() {
			var d registry.Deployment
			if json.Unmarshal([]byte(message.Payload), &d) != nil {
				continue
			}
			end, why := fate(d.Version)
			for _, phase := range []registry.Phase{registry.PhaseDownloading, registry.PhaseInstalling, registry.PhaseTrying, end} {
				p := registry.Progress{Node: name, Phase: phase, ElapsedMS: 10}
				if phase == registry.PhaseFailed {
					p.Error, p.Running = why, "0.9"
				}
				content, err := json.Marshal(p)
				if err != nil {
					return
				}
				_ = w.nodes.HSet(context.Background(), registry.ProgressKey(d.Service, d.Version), name, content).Err()
			}
		}
	}()
}

func healthy(string) (registry.Phase, string) { return registry.PhaseHealthy, "" }
