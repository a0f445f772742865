//go:build linux

package command

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
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
	"github.com/xeroops/xeroops/internal/testkit/mototest"
	"github.com/xeroops/xeroops/internal/wheelfile"
)

const (
	bucket         = "uploads-" + moto.Account
	password       = "the-deploy-password"
	statusPassword = "the-status-password"
	// proxyTo is an environment variable that makes the test binary a command for
	// --via; its value is the address to connect to.
	proxyTo  = "XEROOPS_TEST_PROXY_TO"
	deadline = 30 * time.Second
)

func TestMain(m *testing.M) {
	if address := os.Getenv(proxyTo); address != "" {
		conn, err := net.Dial("tcp4", address)
		if err != nil {
			fmt.Fprintln(os.Stderr, "connection failed:", err)
			os.Exit(1)
		}
		go func() {
			_, _ = io.Copy(conn, os.Stdin)
			_ = conn.(*net.TCPConn).CloseWrite()
		}()
		_, _ = io.Copy(os.Stdout, conn)
		os.Exit(0)
	}
	os.Exit(mototest.Main(m))
}

// fixture is a cluster as the CLI sees it: a bucket in moto with the cluster's
// objects, and a Redis with the management node's users, reached through --via.
type fixture struct {
	t     *testing.T
	moto  *moto.Server
	s3    *s3.Client
	redis string // address
	nodes *redis.Client
	dir   string // directory of the project
	house string // directory of the wheelhouse
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	if _, err := wheel.FindPython(t.Context()); err != nil {
		t.Skip(err)
	}
	f := &fixture{t: t, redis: startRedis(t)}
	server := mototest.Empty(t)
	f.moto = server
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": server.URL, "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
		cluster.EnvCluster: "", cluster.EnvUploadsBucket: "", cluster.EnvVia: "env " + proxyTo + "=" + f.redis + " " + os.Args[0],
	} {
		t.Setenv(name, value)
	}
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.s3 = s3.NewFromConfig(cfg)
	if _, err := f.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket),
		CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}}); err != nil {
		t.Fatal(err)
	}
	f.fillBucket()
	f.nodes = registry.Open(f.redis, registry.UserNode, "node")
	t.Cleanup(func() { _ = f.nodes.Close() })
	f.setJSON(registry.PythonKey("app1"), registry.Python{Version: "3.13", Platform: "manylinux_2_41_x86_64",
		Distributions: map[pep.Name]pep.Version{"fastapi": "0.115.11", "elements": "1.0.0"}})
	f.dir, f.house = t.TempDir(), t.TempDir()
	if err := os.CopyFS(f.dir, os.DirFS("testdata/service")); err != nil {
		t.Fatal(err)
	}
	file, content := wheelfile.Wheel{Name: "greeting", Version: "1.2", Tag: wheelfile.PurePython}.Make()
	if err := os.WriteFile(filepath.Join(f.house, file), content, 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

func poll(t *testing.T, what string, met func() bool) {
	t.Helper()
	started := time.Now()
	for ; !met(); time.Sleep(20 * time.Millisecond) {
		if time.Since(started) > deadline {
			t.Fatalf("%s: not within %s", what, deadline)
		}
	}
	t.Logf("%s after %s", what, time.Since(started).Round(time.Millisecond))
}

func (f *fixture) fillBucket() {
	layout := cluster.Layout{Cluster: "production"}
	topology, err := json.Marshal(cluster.Topology{Schema: cluster.TopologySchema, Cluster: "production", Nodes: []cluster.TopologyNode{
		{Name: "app1", Role: cluster.RoleApp, Address: "127.0.0.1"},
		{Name: "app2", Role: cluster.RoleApp, Address: "127.0.0.1"},
		{Name: "management", Role: cluster.RoleManagement, Address: "127.0.0.1"},
	}})
	if err != nil {
		f.t.Fatal(err)
	}
	f.put(layout.Topology(), string(topology))
	f.put(layout.OperatorCredentials(registry.UserDeploy), "REDIS_DEPLOY_PASSWORD=\""+password+"\"\n")
	f.put(layout.OperatorCredentials(registry.UserStatus), "REDIS_STATUS_PASSWORD="+statusPassword+"\n")
}

func (f *fixture) put(key, content string) {
	f.t.Helper()
	if _, err := f.s3.PutObject(f.t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &key, Body: strings.NewReader(content)}); err != nil {
		f.t.Fatal(err)
	}
}

// publish uploads a version of notes without the CLI.
func (f *fixture) publish(version string) {
	f.t.Helper()
	const content = "a wheel"
	file := "notes-" + version + "-py3-none-any.whl"
	manifest, _, err := bundle.Manifest{
		Schema: bundle.Schema, Application: "notes", Version: version, CreatedAt: time.Now(), Python: "3.13", Platform: "manylinux_2_41_x86_64", App: "notes.main:app",
		Port: 8001, RoutePrefix: "/api/notes", HealthPath: "/healthz", Workers: 1,
		Wheels: []bundle.Wheel{{File: file, SHA256: bundle.Sum([]byte(content)), Size: int64(len(content))}},
	}.Encode()
	if err != nil {
		f.t.Fatal(err)
	}
	f.put(bundle.Key("notes", version, file), content)
	f.put(bundle.Key("notes", version, bundle.ManifestName), string(manifest))
}

// desire makes a version of notes the desired one without the CLI.
func (f *fixture) desire(version, by string) {
	f.t.Helper()
	operator := registry.Open(f.redis, registry.UserDeploy, password)
	defer operator.Close()
	if _, err := registry.Publish(f.t.Context(), operator, "notes", registry.Desired{Version: version, PublishedBy: by}); err != nil {
		f.t.Error(err)
	}
}

// keys lists the objects below a prefix.
func (f *fixture) keys(prefix string) []string {
	f.t.Helper()
	out, err := f.s3.ListObjectsV2(f.t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String(bucket), Prefix: &prefix})
	if err != nil {
		f.t.Fatal(err)
	}
	var keys []string
	for _, o := range out.Contents {
		keys = append(keys, strings.TrimPrefix(*o.Key, prefix))
	}
	return keys
}

func (f *fixture) object(key string) string {
	f.t.Helper()
	out, err := f.s3.GetObject(f.t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: &key})
	if err != nil {
		f.t.Fatal(err)
	}
	defer out.Body.Close()
	content, err := io.ReadAll(out.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(content)
}

func (f *fixture) modified(key string) time.Time {
	f.t.Helper()
	out, err := f.s3.HeadObject(f.t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: &key})
	if err != nil {
		f.t.Fatal(err)
	}
	return *out.LastModified
}

func (f *fixture) delete(key string) {
	f.t.Helper()
	if _, err := f.s3.DeleteObject(f.t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: &key}); err != nil {
		f.t.Fatal(err)
	}
}

// remove removes a key from the registry.
func (f *fixture) remove(key string) {
	f.t.Helper()
	if err := f.nodes.Del(f.t.Context(), key).Err(); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) setJSON(key string, value any) {
	f.t.Helper()
	content, err := json.Marshal(value)
	if err == nil {
		err = f.nodes.Set(f.t.Context(), key, content, 0).Err()
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// edit changes a file of the project.
func (f *fixture) edit(file, old, replacement string) {
	f.t.Helper()
	path := filepath.Join(f.dir, file)
	content, err := os.ReadFile(path)
	if err == nil {
		if !strings.Contains(string(content), old) {
			f.t.Fatalf("%s has no %q", file, old)
		}
		err = os.WriteFile(path, []byte(strings.Replace(string(content), old, replacement, 1)), 0o600)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// heartbeat writes a node's entry, with the applications that it runs.
func (f *fixture) heartbeat(name string, applications ...registry.Application) {
	f.t.Helper()
	f.setJSON(registry.NodeKey(name), registry.Node{Schema: registry.Schema, Name: name, Role: cluster.RoleApp, State: registry.NodeReady, Applications: applications})
}

// subscribe simulates an app node, which takes each published version through all
// phases to the end that fate returns.
func (f *fixture) subscribe(name string, fate func(version string) (registry.Phase, string)) {
	f.t.Helper()
	f.heartbeat(name)
	subscription := f.nodes.Subscribe(f.t.Context(), registry.DeploymentChannel)
	if _, err := subscription.Receive(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = subscription.Close() })
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
				_ = f.nodes.HSet(context.Background(), registry.ProgressKey(d.Service, d.Version), name, content).Err()
			}
		}
	}()
}

func healthy(string) (registry.Phase, string) { return registry.PhaseHealthy, "" }
