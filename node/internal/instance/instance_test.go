package instance

import (
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/envfile"
	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/testkit/mototest"
	"github.com/xeroops/xeroops/node/internal/instance/imdstest"
)

var app1 = Instance{Node: "app1", Role: cluster.RoleApp, Address: "10.0.2.10", Cluster: "production", Region: "eu-west-1", UploadsBucket: "uploads-123456789012"}

func TestInstanceEnvRoundTrips(t *testing.T) {
	text, err := envfile.Format(app1.Env())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "instance.env")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := LoadFile(path); err != nil || got != app1 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestMissingInstanceEnvDiffersFromAnInvalidOne(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadFile(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: LoadFile() = %v, want ErrNotExist", err)
	}
	for _, text := range []string{"", "HOSTNAME=app1\n", "not an env file", "HOSTNAME=a\nINSTANCE_ROLE=cook\nSTATIC_IP=1\nXEROOPS_CLUSTER=c\nAWS_REGION=r\nXEROOPS_UPLOADS_BUCKET=u\n"} {
		path := filepath.Join(dir, "instance.env")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadFile(path); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: LoadFile() = %v, want an error other than ErrNotExist", text, err)
		}
	}
}

func TestMergeEnvironmentKeepsOtherLines(t *testing.T) {
	const debian = "# Debian's\nPATH=\"/usr/local/sbin:/usr/bin\"\nexport odd line"
	once, err := MergeEnvironment(debian, map[string]string{"A": "1", "OLD": "x"})
	if err != nil {
		t.Fatal(err)
	}
	twice, err := MergeEnvironment(once+"LATER=yes\n", map[string]string{"A": "2 words"})
	if err != nil {
		t.Fatal(err)
	}
	want := debian + "\nLATER=yes\n" + blockBegin + "A=\"2 words\"\n" + blockEnd
	if twice != want {
		t.Errorf("got\n%s\nwant\n%s", twice, want)
	}
	if again, _ := MergeEnvironment(want, map[string]string{"A": "2 words"}); again != want {
		t.Errorf("a second merge changed it:\n%s", again)
	}
}

func TestIdentityIsReadFromTheMetadataService(t *testing.T) {
	service := imdstest.Start(t)
	identity, err := app1.Identify(t.Context(), Metadata(service.Endpoint))
	if err != nil || identity.InstanceID != imdstest.InstanceID || identity.ImageID != imdstest.ImageID {
		t.Errorf("Identify() = %+v, %v", identity, err)
	}
	if service.Tokens.Load() == 0 || service.Unprotected.Load() > 0 {
		t.Errorf("%d requests for a token, %d requests without one; want at least 1 and 0", service.Tokens.Load(), service.Unprotected.Load())
	}
}

func TestUserDataOfAnotherNodeIsAnError(t *testing.T) {
	service := imdstest.Start(t)
	other := app1
	other.Address = "10.0.2.11"
	if _, err := other.Identify(t.Context(), Metadata(service.Endpoint)); err == nil || !strings.Contains(err.Error(), "10.0.2.11") {
		t.Errorf("Identify() = %v, want an error that names the address", err)
	}
}

func TestOnlyTheRolesCredentialsAreUsed(t *testing.T) {
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "AKIAENVIRONMENT", "AWS_SECRET_ACCESS_KEY": "x", "AWS_PROFILE": "none",
		"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1", "AWS_EC2_METADATA_DISABLED": "true"} {
		t.Setenv(name, value)
	}
	var authorization string
	bucket := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { authorization = r.Header.Get("Authorization") }))
	defer bucket.Close()
	service := imdstest.Start(t)
	client := app1.S3By(Metadata(service.Endpoint), func(o *s3.Options) { o.BaseEndpoint, o.UsePathStyle = &bucket.URL, true })
	if _, err := client.HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: aws.String("uploads")}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(authorization, *service.AccessKey.Load()) {
		t.Errorf("the request was signed by %q, want the role's credentials", authorization)
	}
}

func TestAStrangersBucketIsNeitherReadNorWritten(t *testing.T) {
	server := mototest.Start(t, moto.Options{})
	front, err := fakeaws.Start(fakeaws.Options{Upstream: server.URL, Fixups: fixups.All(fixups.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = front.Close() })
	const bucket, key = "uploads-" + moto.Account, "clusters/production/topology.json"
	stranger := mototest.StrangersBucket(t, front.URL, bucket, map[string]string{key: "{}"})
	client := app1.S3By(Metadata(imdstest.Start(t).Endpoint), func(o *s3.Options) { o.BaseEndpoint, o.UsePathStyle = &front.URL, true })
	if _, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String(key)}); !awswait.HasCode(err, "AccessDenied") {
		t.Errorf("read: got %v, want AccessDenied", err)
	}
	if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String("report")}); !awswait.HasCode(err, "AccessDenied") {
		t.Errorf("write: got %v, want AccessDenied", err)
	}
	if keys := mototest.Keys(t, stranger, bucket); !slices.Equal(keys, []string{key}) {
		t.Errorf("the stranger's bucket has %v", keys)
	}
}

func TestMissingRegistryPasswordIsAnError(t *testing.T) {
	t.Setenv(cluster.RedisNodePassword, "")
	if _, err := RegistryPassword(); err == nil || !strings.Contains(err.Error(), "REDIS_NODE_PASSWORD") {
		t.Errorf("RegistryPassword() = %v, want an error that names the variable", err)
	}
	t.Setenv(cluster.RedisNodePassword, "secret")
	if got, err := RegistryPassword(); err != nil || got != "secret" {
		t.Errorf("got %q, %v", got, err)
	}
}
