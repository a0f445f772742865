package boot

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/hashicorp/go-hclog"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/envfile"
	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/node/internal/configure"
	"github.com/xeroops/xeroops/node/internal/instance"
	"github.com/xeroops/xeroops/node/internal/instance/imdstest"
	"github.com/xeroops/xeroops/node/internal/topology"
	"github.com/xeroops/xeroops/node/internal/volume"
)

// deadline is how long a test waits for what takes less than a second alone.
const deadline = 30 * time.Second

// rig is the boot of app1 against a real S3 API and a metadata service, with
// its files in a folder.
type rig struct {
	*Boot
	metadata *imdstest.Service
	front    *fakeaws.Front
	folder   string
	config   map[string]string
	secrets  map[string]string
}

// startMoto starts the S3 API that the package's tests share, each with a
// bucket of its own.
var startMoto = sync.OnceValues(func() (*moto.Server, error) {
	return moto.Start(context.Background(), moto.Options{})
})

func TestMain(m *testing.M) {
	code := m.Run()
	if server, err := startMoto(); err == nil {
		server.Stop()
	}
	os.Exit(code)
}

func newRig(t *testing.T) *rig {
	t.Helper()
	server, err := startMoto()
	if errors.Is(err, moto.ErrMissing) {
		t.Skip(err)
	}
	check(t, err)
	front, err := fakeaws.Start(fakeaws.Options{Upstream: server.URL})
	check(t, err)
	t.Cleanup(func() { _ = front.Close() })
	r := &rig{front: front, metadata: imdstest.Start(t), folder: t.TempDir(),
		config:  map[string]string{cluster.EnvNode: "app1", "LOG_LEVEL": "info and more"},
		secrets: map[string]string{"REDIS_NODE_PASSWORD": "node-password-1", "POSTGRES_APP_PASSWORD": "pa$$word \"2\""}}
	i := instance.Instance{Node: "app1", Role: cluster.RoleApp, Address: "10.0.2.10", Cluster: "production", Region: "eu-west-1", UploadsBucket: strings.ToLower(t.Name())}
	metadata := instance.Metadata(r.metadata.Endpoint)
	client := i.S3By(metadata, func(o *s3.Options) { o.BaseEndpoint, o.UsePathStyle = &front.URL, true })
	r.Boot = &Boot{Instance: i, Metadata: metadata, S3: client, Files: r.files(), Log: hclog.New(&hclog.LoggerOptions{Output: testLog{t}})}
	r.begin()
	r.status.object.Every = 0
	_, err = client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &i.UploadsBucket,
		CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraintEuWest1}})
	check(t, err)
	return r
}

func (r *rig) files() Files {
	in := func(name string) string { return filepath.Join(r.folder, name) }
	return Files{Environment: in("environment"), Credentials: in("run/credentials.env"), Applications: in("run/applications.env"),
		Topology: topology.Files{Topology: in("run/topology.json"), Hosts: in("hosts")}, Units: in("units"), Changed: in("run/changed-units")}
}

// testLog shows a log with the test.
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

func (r *rig) put(t *testing.T, key, text string) {
	t.Helper()
	_, err := r.S3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &r.Instance.UploadsBucket, Key: &key, Body: strings.NewReader(text)})
	check(t, err)
}

// publish puts into S3 what the provider puts there for this node.
func (r *rig) publish(t *testing.T) {
	t.Helper()
	config, err := envfile.Format(r.config)
	check(t, err)
	secrets, err := envfile.Format(r.secrets)
	check(t, err)
	sample, err := configure.Sample(cluster.RoleApp)
	check(t, err)
	sample.Topology.Cluster = r.Instance.Cluster
	text, err := json.Marshal(sample.Topology)
	check(t, err)
	layout := r.Instance.Layout()
	r.put(t, layout.InstanceConfig("app1"), config)
	r.put(t, layout.Credentials(cluster.RoleApp), secrets)
	r.put(t, layout.Topology(), string(text))
}

// report reads the boot report, which is nil if there is none.
func (r *rig) report(t *testing.T) *cluster.BootReport {
	t.Helper()
	out, err := r.S3.GetObject(context.WithoutCancel(t.Context()), &s3.GetObjectInput{Bucket: &r.Instance.UploadsBucket, Key: aws.String(r.Instance.Layout().Report("app1"))})
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
func (r *rig) download(ctx context.Context) bool {
	for _, s := range r.steps()[:4] {
		if !r.until(ctx, s) {
			return false
		}
	}
	return true
}

func (r *rig) inBackground(t *testing.T) <-chan bool {
	t.Helper()
	done := make(chan bool, 1)
	go func() { done <- r.download(t.Context()) }()
	return done
}

func await(t *testing.T, done <-chan bool) {
	t.Helper()
	select {
	case ok := <-done:
		if !ok {
			t.Fatal("it ended early")
		}
	case <-time.After(deadline):
		t.Fatalf("not done after %s", deadline)
	}
}

// eventually polls until the report is as wanted.
func (r *rig) eventually(t *testing.T, what string, wanted func(*cluster.BootReport) bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !wanted(r.report(t)); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %s for %s; the report is %+v", deadline, what, r.report(t))
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

func TestSettingsSecretsAndHostsArePutInPlace(t *testing.T) {
	r := newRig(t)
	r.publish(t)
	check(t, os.WriteFile(r.Files.Environment, []byte("PATH=\"/usr/bin\"\n"), 0o644))
	await(t, r.inBackground(t))

	environment := read(t, r.Files.Environment, 0o644)
	for _, want := range []string{"PATH=\"/usr/bin\"\n", "LOG_LEVEL=\"info and more\"\n", "INSTANCE_ROLE=\"app\"\n"} {
		if !strings.Contains(environment, want) {
			t.Errorf("/etc/environment lacks %s:\n%s", want, environment)
		}
	}
	if strings.Contains(environment, "PASSWORD") {
		t.Errorf("/etc/environment, which everybody reads, holds a secret:\n%s", environment)
	}
	credentials, err := envfile.Parse(read(t, r.Files.Credentials, 0o600))
	check(t, err)
	if len(credentials) != 2 || credentials["POSTGRES_APP_PASSWORD"] != "pa$$word \"2\"" {
		t.Errorf("credentials.env: %v", credentials)
	}
	applications, err := envfile.Parse(read(t, r.Files.Applications, 0o600))
	check(t, err)
	if len(applications) != 1 || applications["POSTGRES_APP_PASSWORD"] == "" {
		t.Errorf("applications.env: %v", applications)
	}
	if hosts := read(t, r.Files.Topology.Hosts, 0o644); !strings.Contains(hosts, "10.0.2.31 db2.production.internal db2\n") {
		t.Errorf("/etc/hosts:\n%s", hosts)
	}
	if copied, err := r.Files.Topology.Read(); err != nil || len(copied.Nodes) != 7 {
		t.Errorf("topology.json: %+v, %v", copied, err)
	}
}

func TestAReportIsThereBeforeAnythingElse(t *testing.T) {
	r := newRig(t)
	done := r.inBackground(t)
	r.eventually(t, "a report that names what is missing", func(report *cluster.BootReport) bool {
		return report != nil && report.State == cluster.BootBooting && report.InstanceID == imdstest.InstanceID && report.ImageID == imdstest.ImageID &&
			report.BootID != "" && strings.Contains(report.Error, "instance-config.env")
	})
	r.publish(t)
	await(t, done)
	if report := r.report(t); report.Error != "" {
		t.Errorf("once it is there: %+v", report)
	}
}

func TestBootWaitsForTheMetadataService(t *testing.T) {
	r := newRig(t)
	r.publish(t)
	r.metadata.Away.Store(true)
	done := r.inBackground(t)
	select {
	case <-done:
		t.Fatal("it went on without an identity")
	case <-time.After(2 * time.Second): // a few tries
	}
	r.metadata.Away.Store(false)
	await(t, done)
}

func TestBootWaitsForS3(t *testing.T) {
	r := newRig(t)
	r.publish(t)
	check(t, r.front.Inject(fakeaws.Fault{Service: "s3", Effect: fakeaws.ServerError, Times: 10}))
	await(t, r.inBackground(t))
	r.status.ready(t.Context())
	r.eventually(t, "the report", func(report *cluster.BootReport) bool {
		r.status.ready(t.Context())
		return report != nil && report.State == cluster.BootReady && report.ReadyAt != nil
	})
}

func TestASecondRunChangesNoFile(t *testing.T) {
	r := newRig(t)
	r.publish(t)
	await(t, r.inBackground(t))
	before := times(t, r.folder)
	r.begin()
	await(t, r.inBackground(t))
	for path, at := range times(t, r.folder) {
		if !at.Equal(before[path]) {
			t.Errorf("%s was written again", path)
		}
	}
}

func TestWhoWasNotToldOfAChangeIsToldByTheNextRun(t *testing.T) {
	files := Files{Changed: filepath.Join(t.TempDir(), "run", "changed-units")}
	first, second := &Boot{Files: files}, &Boot{Files: files}
	check(t, first.readChanged())
	check(t, first.note([]string{"nginx.service", "haproxy.service"}))
	check(t, second.readChanged())
	if !maps.Equal(second.changed, unitSet{"nginx.service": true, "haproxy.service": true}) || !second.stale {
		t.Errorf("the next run has %v to tell, stale %t", second.changed, second.stale)
	}
	delete(second.changed, "nginx.service")
	check(t, second.writeChanged())
	third := &Boot{Files: files}
	check(t, third.readChanged())
	if !maps.Equal(third.changed, unitSet{"haproxy.service": true}) {
		t.Errorf("the one after has %v to tell", third.changed)
	}
}

func times(t *testing.T, folder string) map[string]time.Time {
	t.Helper()
	at := map[string]time.Time{}
	check(t, filepath.Walk(folder, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			at[path] = info.ModTime()
		}
		return err
	}))
	return at
}

func TestTheReportIsWrittenOnAChangeOnly(t *testing.T) {
	r := newRig(t)
	r.publish(t)
	await(t, r.inBackground(t))
	r.status.ready(t.Context())
	at := func() string {
		out, err := r.S3.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &r.Instance.UploadsBucket, Key: aws.String(r.Instance.Layout().Report("app1"))})
		check(t, err)
		return aws.ToString(out.ETag)
	}
	first := at()
	check(t, r.front.Inject(fakeaws.Fault{Service: "s3", Action: "PutObject", Effect: fakeaws.ServerError, Times: -1}))
	for range 3 {
		r.status.services([]cluster.ServiceReport{})
		r.status.ready(t.Context())
	}
	r.front.ClearFaults()
	if r.status.object.pause != nil {
		t.Error("it tried to write a report that had not changed")
	}
	r.status.services([]cluster.ServiceReport{{Name: "nginx", State: "active"}})
	r.status.ready(t.Context())
	if at() == first {
		t.Error("a change was not written")
	}
}

func TestDetailsOfOneStateAreReportedNowAndThen(t *testing.T) {
	r := newRig(t)
	r.publish(t)
	await(t, r.inBackground(t))
	r.status.object.Every = time.Hour
	r.status.trouble(t.Context(), "first") // the pause begins with the report of this
	r.status.trouble(t.Context(), "second")
	if report := r.report(t); report.Error != "first" {
		t.Errorf("in between: %+v", report)
	}
	r.status.ready(t.Context())
	if report := r.report(t); report.State != cluster.BootReady {
		t.Errorf("another state: %+v", report)
	}
}

func TestNoReportIsWrittenInAnotherInstancesName(t *testing.T) {
	r := newRig(t)
	r.metadata.Address = "10.0.2.77"
	if err := r.identify(t.Context()); err == nil {
		t.Fatal("it took another's user-data")
	}
	r.status.trouble(t.Context(), "anything")
	if report := r.report(t); report != nil {
		t.Errorf("got %+v", report)
	}
}

func TestAVolumeThatIsAttachedLaterIsWaitedFor(t *testing.T) {
	r := newRig(t)
	r.publish(t)
	await(t, r.inBackground(t))
	v := volume.Volume{ID: "vol-0123", Links: t.TempDir()}
	attached := make(chan error, 1)
	go func() { attached <- r.awaitAttached(t.Context(), v) }()
	r.eventually(t, "a report that names the volume", func(report *cluster.BootReport) bool { return strings.Contains(report.Error, "vol-0123") })
	check(t, os.Symlink("/dev/null", filepath.Join(v.Links, "nvme-Amazon_Elastic_Block_Store_vol0123")))
	select {
	case err := <-attached:
		check(t, err)
	case <-time.After(deadline):
		t.Fatal("it was not seen")
	}
}

func TestNoSecretIsReported(t *testing.T) {
	r := newRig(t)
	r.publish(t)
	await(t, r.inBackground(t))
	r.status.services([]cluster.ServiceReport{{Name: "redis", State: "failed", Detail: "AUTH node node-password-1 failed"}})
	r.status.trouble(t.Context(), "redis: its journal ends:\nbad user pa$$word \"2\"")
	report := r.report(t)
	if text := report.Error + report.Services[0].Detail; strings.Contains(text, "node-password-1") || strings.Contains(text, "pa$$word") {
		t.Errorf("the report says %q", text)
	}
}

func TestFiveMinutesWithoutBeingReadyIsAFailure(t *testing.T) {
	for _, c := range []struct {
		was     cluster.BootState
		lasting time.Duration
		want    cluster.BootState
	}{
		{cluster.BootBooting, 299 * time.Second, cluster.BootBooting},
		{cluster.BootBooting, 300 * time.Second, cluster.BootFailed},
		{cluster.BootReady, 10 * time.Second, cluster.BootReady}, // a restart
		{cluster.BootReady, 10 * time.Minute, cluster.BootFailed},
		{cluster.BootFailed, 10 * time.Minute, cluster.BootFailed},
	} {
		if got := stateInTrouble(c.was, c.lasting); got != c.want {
			t.Errorf("%s, not ready for %s: %s, want %s", c.was, c.lasting, got, c.want)
		}
	}
}

func TestAFailedBootMayYetBeReady(t *testing.T) {
	r := newRig(t)
	r.publish(t)
	await(t, r.inBackground(t))
	r.status.wellAt = r.status.wellAt.Add(-patience)
	r.status.trouble(t.Context(), "nginx: unit nginx.service is failed")
	if report := r.report(t); report.State != cluster.BootFailed || report.ReadyAt != nil {
		t.Errorf("after five minutes: %+v", report)
	}
	r.status.ready(t.Context())
	if report := r.report(t); report.State != cluster.BootReady || report.ReadyAt == nil || report.Error != "" {
		t.Errorf("once it is ready: %+v", report)
	}
}

func TestTheClockThatIsSetAfterTheStartCounts(t *testing.T) {
	was := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	if got := corrected(was, was.Add(10*time.Second+300*time.Millisecond), 10*time.Second); !got.Equal(was) {
		t.Errorf("a clock that runs: %s", got)
	}
	if got := corrected(was, was.Add(time.Hour+10*time.Second), 10*time.Second); !got.Equal(was.Add(time.Hour)) {
		t.Errorf("a clock that was set by an hour: %s", got)
	}
}

func TestASignalEndsABootThatWaits(t *testing.T) {
	r := newRig(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.eventually(t, "a report", func(report *cluster.BootReport) bool { return report != nil })
	stop()
	select {
	case err := <-done:
		check(t, err)
	case <-time.After(deadline):
		t.Fatal("it did not end")
	}
}
