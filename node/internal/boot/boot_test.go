package boot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/hashicorp/go-hclog"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/envfile"
	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/pki"
	"github.com/xeroops/xeroops/internal/testkit/mototest"
	"github.com/xeroops/xeroops/node/internal/configure"
	"github.com/xeroops/xeroops/node/internal/instance"
	"github.com/xeroops/xeroops/node/internal/instance/imdstest"
	"github.com/xeroops/xeroops/node/internal/topology"
	"github.com/xeroops/xeroops/node/internal/volume"
)

// deadline is how long a condition may take that usually takes less than a second.
const deadline = 30 * time.Second

// fixture is the boot of app1 with a real S3 API, a metadata service and its files in a
// temporary directory.
type fixture struct {
	*Boot
	metadata *imdstest.Service
	front    *fakeaws.Front
	dir      string
	config   map[string]string
	secrets  map[string]string
}

// buckets counts the buckets of the S3 API that the package's tests share. Each test has
// one of its own.
var buckets atomic.Int32

func TestMain(m *testing.M) { os.Exit(mototest.Main(m)) }

func newFixture(t *testing.T) *fixture {
	t.Helper()
	front, err := fakeaws.Start(fakeaws.Options{Upstream: mototest.Shared(t).URL})
	check(t, err)
	t.Cleanup(func() { _ = front.Close() })
	f := &fixture{front: front, metadata: imdstest.Start(t), dir: t.TempDir(),
		config:  map[string]string{cluster.EnvNode: "app1", "LOG_LEVEL": "info and more"},
		secrets: map[string]string{"REDIS_NODE_PASSWORD": "node-password-1", "POSTGRES_APP_PASSWORD": "pa$$word \"2\""}}
	i := instance.Instance{Node: "app1", Role: cluster.RoleApp, Address: "10.0.2.10", Cluster: "production", Region: "eu-west-1", UploadsBucket: fmt.Sprintf("uploads-%d", buckets.Add(1))}
	metadata := instance.Metadata(f.metadata.Endpoint)
	client := i.S3By(metadata, func(o *s3.Options) { o.BaseEndpoint, o.UsePathStyle = &front.URL, true })
	f.Boot = &Boot{Instance: i, Metadata: metadata, S3: client, Files: f.files(), Log: hclog.New(&hclog.LoggerOptions{Output: testLog{t}})}
	f.begin()
	f.status.object.Interval = 0
	_, err = client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &i.UploadsBucket,
		CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraintEuWest1}})
	check(t, err)
	return f
}

func (f *fixture) files() Files {
	in := func(name string) string { return filepath.Join(f.dir, name) }
	return Files{Environment: in("environment"), Credentials: in("run/credentials.env"), Applications: in("run/applications.env"),
		Topology: topology.Files{Topology: in("run/topology.json"), Hosts: in("hosts")}, Units: in("units"), Changed: in("run/changed-units")}
}

// testLog writes to the test's log.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) put(t *testing.T, key, text string) {
	t.Helper()
	_, err := f.S3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &f.Instance.UploadsBucket, Key: &key, Body: strings.NewReader(text)})
	check(t, err)
}

// publish uploads the objects that the provider uploads for this node.
func (f *fixture) publish(t *testing.T) {
	t.Helper()
	config, err := envfile.Format(f.config)
	check(t, err)
	secrets, err := envfile.Format(f.secrets)
	check(t, err)
	sample, err := configure.Sample(cluster.RoleApp)
	check(t, err)
	sample.Topology.Cluster = f.Instance.Cluster
	text, err := json.Marshal(sample.Topology)
	check(t, err)
	layout := f.Instance.Layout()
	f.put(t, layout.InstanceConfig("app1"), config)
	f.put(t, layout.Credentials(cluster.RoleApp), secrets)
	f.put(t, layout.Topology(), string(text))
	f.put(t, layout.Certificate(cluster.RoleApp, "app1"), sample.TLS.Certificates[pki.Nodes])
	f.put(t, layout.AuthorityBundle(string(pki.Nodes)), sample.TLS.Bundles[pki.Nodes])
}

// report returns the boot report, or nil if there is none.
func (f *fixture) report(t *testing.T) *cluster.BootReport {
	t.Helper()
	out, err := f.S3.GetObject(context.WithoutCancel(t.Context()), &s3.GetObjectInput{Bucket: &f.Instance.UploadsBucket, Key: aws.String(f.Instance.Layout().Report("app1"))})
	var none *types.NoSuchKey
	if errors.As(err, &none) {
		return nil
	}
	check(t, err)
	report := &cluster.BootReport{}
	check(t, json.NewDecoder(out.Body).Decode(report))
	check(t, out.Body.Close())
	return report
}

// download runs the steps up to the topology, as Run does.
func (f *fixture) download(ctx context.Context) bool {
	for _, s := range f.steps()[:5] {
		if !f.complete(ctx, s) {
			return false
		}
	}
	return true
}

func (f *fixture) inBackground(t *testing.T) <-chan bool {
	t.Helper()
	done := make(chan bool, 1)
	go func() { done <- f.download(t.Context()) }()
	return done
}

func await(t *testing.T, done <-chan bool) {
	t.Helper()
	select {
	case ok := <-done:
		if !ok {
			t.Fatal("the boot ended early")
		}
	case <-time.After(deadline):
		t.Fatalf("the steps took longer than %s", deadline)
	}
}

// eventually polls until the report fulfils a condition.
func (f *fixture) eventually(t *testing.T, what string, condition func(*cluster.BootReport) bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !condition(f.report(t)); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %s for %s; the report is %+v", deadline, what, f.report(t))
		}
	}
}

func read(t *testing.T, path string, mode os.FileMode) string {
	t.Helper()
	info, err := os.Stat(path)
	check(t, err)
	if info.Mode() != mode {
		t.Errorf("%s has mode %o, want %o", path, info.Mode(), mode)
	}
	text, err := os.ReadFile(path)
	check(t, err)
	return string(text)
}

func TestStepsWriteSettingsCredentialsAndHosts(t *testing.T) {
	f := newFixture(t)
	f.publish(t)
	check(t, os.WriteFile(f.Files.Environment, []byte("PATH=\"/usr/bin\"\n"), 0o644))
	await(t, f.inBackground(t))

	environment := read(t, f.Files.Environment, 0o644)
	for _, want := range []string{"PATH=\"/usr/bin\"\n", "LOG_LEVEL=\"info and more\"\n", "INSTANCE_ROLE=\"app\"\n"} {
		if !strings.Contains(environment, want) {
			t.Errorf("/etc/environment lacks %s:\n%s", want, environment)
		}
	}
	if strings.Contains(environment, "PASSWORD") {
		t.Errorf("/etc/environment, which is world-readable, has a secret:\n%s", environment)
	}
	credentials, err := envfile.Parse(read(t, f.Files.Credentials, 0o600))
	check(t, err)
	if len(credentials) != 2 || credentials["POSTGRES_APP_PASSWORD"] != "pa$$word \"2\"" {
		t.Errorf("credentials.env: %v", credentials)
	}
	applications, err := envfile.Parse(read(t, f.Files.Applications, 0o600))
	check(t, err)
	if len(applications) != 1 || applications["POSTGRES_APP_PASSWORD"] == "" {
		t.Errorf("applications.env: %v", applications)
	}
	if hosts := read(t, f.Files.Topology.Hosts, 0o644); !strings.Contains(hosts, "10.0.4.31 db2.production.internal db2\n") {
		t.Errorf("/etc/hosts:\n%s", hosts)
	}
	if copied, err := f.Files.Topology.Read(); err != nil || len(copied.Nodes) != 7 {
		t.Errorf("topology.json: %+v, %v", copied, err)
	}
}

func TestReportIsWrittenBeforeAnythingElse(t *testing.T) {
	f := newFixture(t)
	done := f.inBackground(t)
	f.eventually(t, "a report that names the missing object", func(report *cluster.BootReport) bool {
		return report != nil && report.State == cluster.BootBooting && report.InstanceID == imdstest.InstanceID && report.ImageID == imdstest.ImageID &&
			report.BootID != "" && strings.Contains(report.Error, "instance-config.env")
	})
	f.publish(t)
	await(t, done)
	if report := f.report(t); report.Error != "" {
		t.Errorf("after the steps: %+v, want no error", report)
	}
}

func TestBootWaitsForTheMetadataService(t *testing.T) {
	f := newFixture(t)
	f.publish(t)
	f.metadata.Away.Store(true)
	done := f.inBackground(t)
	for end := time.Now().Add(deadline); f.metadata.Refused.Load() < 3; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the metadata service got %d requests in %s, want 3", f.metadata.Refused.Load(), deadline)
		}
	}
	select {
	case <-done:
		t.Fatal("the boot went on without an identity")
	default:
	}
	f.metadata.Away.Store(false)
	await(t, done)
}

func TestBootWaitsForS3(t *testing.T) {
	f := newFixture(t)
	f.publish(t)
	check(t, f.front.Inject(fakeaws.Fault{Service: "s3", Effect: fakeaws.ServerError, Times: 10}))
	await(t, f.inBackground(t))
	f.status.setReady(t.Context())
	f.eventually(t, "the report", func(report *cluster.BootReport) bool {
		f.status.setReady(t.Context())
		return report != nil && report.State == cluster.BootReady && report.ReadyAt != nil
	})
}

func TestSecondRunWritesNoFile(t *testing.T) {
	f := newFixture(t)
	f.publish(t)
	await(t, f.inBackground(t))
	before := times(t, f.dir)
	f.begin()
	await(t, f.inBackground(t))
	for path, at := range times(t, f.dir) {
		if !at.Equal(before[path]) {
			t.Errorf("%s was written again", path)
		}
	}
}

func TestNextRunRefreshesUnitsThatWereNotRefreshed(t *testing.T) {
	files := Files{Changed: filepath.Join(t.TempDir(), "run", "changed-units")}
	first, second := &Boot{Files: files}, &Boot{Files: files}
	check(t, first.readChanged())
	check(t, first.addChanged([]string{"nginx.service", "haproxy.service"}))
	check(t, second.readChanged())
	if !maps.Equal(second.changed, unitSet{"nginx.service": true, "haproxy.service": true}) || !second.stale {
		t.Errorf("the second run has changed units %v, stale %t", second.changed, second.stale)
	}
	delete(second.changed, "nginx.service")
	check(t, second.writeChanged())
	third := &Boot{Files: files}
	check(t, third.readChanged())
	if !maps.Equal(third.changed, unitSet{"haproxy.service": true}) {
		t.Errorf("the third run has changed units %v", third.changed)
	}
}

// times returns the modification times of all files.
func times(t *testing.T, dir string) map[string]time.Time {
	t.Helper()
	at := map[string]time.Time{}
	check(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			at[path] = info.ModTime()
		}
		return err
	}))
	return at
}

func TestBootWaitsForTheVolume(t *testing.T) {
	f := newFixture(t)
	f.publish(t)
	await(t, f.inBackground(t))
	v := volume.Volume{ID: "vol-0123", Links: t.TempDir()}
	attached := make(chan error, 1)
	go func() { attached <- f.awaitAttached(t.Context(), v) }()
	f.eventually(t, "a report that names the volume", func(report *cluster.BootReport) bool { return strings.Contains(report.Error, "vol-0123") })
	check(t, os.Symlink("/dev/null", filepath.Join(v.Links, "nvme-Amazon_Elastic_Block_Store_vol0123")))
	select {
	case err := <-attached:
		check(t, err)
	case <-time.After(deadline):
		t.Fatal("the attached volume was not found")
	}
}

func TestBootEndsWithItsContext(t *testing.T) {
	f := newFixture(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	f.eventually(t, "a report", func(report *cluster.BootReport) bool { return report != nil })
	stop()
	select {
	case err := <-done:
		check(t, err)
	case <-time.After(deadline):
		t.Fatal("Run did not return")
	}
}
